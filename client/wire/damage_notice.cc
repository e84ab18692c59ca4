// See damage_notice.h.
#include "client/wire/damage_notice.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <set>
#include <string_view>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"

namespace longrun::client {
namespace {

// Calls whose answers are shown. Others do not count: a submission may have rewritten what
// it found damaged.
constexpr std::string_view kShown[] = {"ListSweeps", "GetSweep", "GetRun",    "GetResults",
                                       "GetSeries",  "GetLogs",  "PlanSweep", "Query"};

// Shared by all threads: `run` makes calls while its supervisor does.
struct Notices {
  std::mutex mutex;
  std::set<std::string> told;
  bool lacks = false;
};

Notices& All() {
  static Notices notices;
  return notices;
}

}  // namespace

void NoticeDamage(const std::string& method, const std::vector<std::string>& objects) {
  const bool is_shown = std::ranges::find(kShown, method) != std::end(kShown);
  Notices& all = All();
  const std::lock_guard lock(all.mutex);
  all.lacks = all.lacks || (is_shown && !objects.empty());
  for (const std::string& object : objects) {
    if (all.told.insert(object).second) SayLine(Str("longrun: ", object));
  }
}

std::set<std::string> DamageNoticed() {
  Notices& all = All();
  const std::lock_guard lock(all.mutex);
  return all.told;
}

int ExitCodeWithDamage(int code) {
  Notices& all = All();
  const std::lock_guard lock(all.mutex);
  // What was not found may be one of the damaged items, whichever call looked for it.
  const bool may_be_damaged = code == kExitNotFound && !all.told.empty();
  return may_be_damaged || (code == kExitOk && all.lacks) ? kExitPartial : code;
}

}  // namespace longrun::client
