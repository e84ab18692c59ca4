#include "client/words/run_limit.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/str.h"
#include "base/units.h"

namespace longrun {
namespace {

constexpr std::int64_t kShownInTable = 50;

}  // namespace

std::size_t RunLimit::Of(const std::string& output, std::size_t n_runs) const {
  const auto limit =
      static_cast<std::size_t>(given.value_or(output == "table" ? kShownInTable : 0));
  return limit == 0 ? n_runs : std::min(limit, n_runs);
}

void AddRunLimit(CLI::App& verb, RunLimit& limit) {
  verb.add_option(
          "--limit", limit.given,
          Str("of a sweep only N runs; 0: all (default: ", kShownInTable, " in a table, else all)"))
      ->type_name("N")
      ->check(WholeNumberCheck(0), "NONNEGATIVE");
}

}  // namespace longrun
