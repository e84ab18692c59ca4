// `--limit N` of a verb that prints a line or more for each run of a sweep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "client/console/arguments.h"

namespace longrun::client {

// By default, a table shows at most 50 runs, and the formats for programs have all runs.
struct RunLimit {
  std::optional<std::int64_t> given = {};  // 0: all

  // The number of runs, out of `n_runs`, to print in the format `output`.
  std::size_t Of(const std::string& output, std::size_t n_runs) const;
};

// Adds --limit; `limit` must outlive the verb.
void AddRunLimit(Verb& verb, RunLimit& limit);

}  // namespace longrun::client
