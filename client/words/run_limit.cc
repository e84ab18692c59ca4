#include "client/words/run_limit.h"

#include <algorithm>

#include "base/str.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kShownInTable = 50;

}  // namespace

std::size_t RunLimit::Of(const std::string& output, std::size_t n_runs) const {
  const auto limit =
      static_cast<std::size_t>(given.value_or(output == "table" ? kShownInTable : 0));
  return limit == 0 ? n_runs : std::min(limit, n_runs);
}

void AddRunLimit(Verb& verb, RunLimit& limit) {
  verb.AddArgument("--limit", limit.given,
                   Str("show at most N runs of a sweep; 0: all (default: ", kShownInTable,
                       " in a table, else all)"))
      .Placeholder("N")
      .AtLeast(0);
}

}  // namespace longrun::client
