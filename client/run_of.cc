#include "client/run_of.h"

#include "base/str.h"
#include "client/render.h"
#include "client/sweep_view.h"

namespace longrun {
namespace {

constexpr std::size_t kShown = 20;

}  // namespace

Result<std::string> RunOf(Asker& asker, const std::string& thing, const std::string& verb,
                          const Status& otherwise) {
  const Result<Json> sweep = asker.Ask("GetSweep", {{"sweep", thing}});
  if (!sweep.ok()) return otherwise;
  const Json& runs = sweep->at("runs");
  if (runs.size() == 1) return runs[0].at("run_key").get<std::string>();
  std::string text = Str("\"", thing, "\" is a sweep of ", runs.size(), " runs: name one of them");
  for (std::size_t i = 0; i < std::min(runs.size(), kShown); ++i) {
    text += Str("\n  longrun ", verb, " ", ShortId(runs[i].at("run_key").get<std::string>()), "  ",
                RunName(runs[i], runs));
  }
  if (runs.size() > kShown) {
    text += Str("\n  and ", runs.size() - kShown, " more: `longrun get ", thing, "`");
  }
  return Status(Code::kInvalidArgument, text);
}

}  // namespace longrun
