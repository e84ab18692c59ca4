// See damage_notice.h.
#include "client/damage_notice.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <set>
#include <string_view>

#include "client/verb.h"

namespace longrun {
namespace {

// Questions whose answers are shown; what a submission finds damaged it may have written anew.
constexpr std::string_view kShown[] = {"ListSweeps", "GetSweep",  "GetRun", "GetResults",
                                       "GetSeries",  "PlanSweep", "Query"};

std::set<std::string>& Told() {
  static std::set<std::string> told;
  return told;
}

bool g_lacks = false;

}  // namespace

void NoticeDamage(const std::string& method, const std::vector<std::string>& objects) {
  const bool is_shown = std::ranges::find(kShown, method) != std::end(kShown);
  g_lacks = g_lacks || (is_shown && !objects.empty());
  for (const std::string& object : objects) {
    if (Told().insert(object).second) std::fprintf(stderr, "longrun: %s\n", object.c_str());
  }
}

const std::set<std::string>& DamageNoticed() { return Told(); }

int ExitCodeWithDamage(int code) { return code == kExitOk && g_lacks ? kExitPartial : code; }

}  // namespace longrun
