#include "client/words/run_of.h"

#include <algorithm>
#include <vector>

#include "base/str.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

constexpr std::size_t kShown = 20;

}  // namespace

Result<std::string> RunOf(RetryingClient& client, const std::string& thing, const RunWanted& wanted,
                          const Status& otherwise) {
  const Result<v1::GetSweepResponse> sweep = client.GetSweep(thing);
  if (!sweep.ok()) return otherwise;
  const Runs& runs = sweep->runs();
  if (runs.size() == 1) return runs[0].run_key();
  std::vector<const v1::RunInfo*> serve;
  serve.reserve(static_cast<std::size_t>(runs.size()));
  for (const v1::RunInfo& run : runs) {
    if (wanted.serves == nullptr || wanted.serves(run)) serve.push_back(&run);
  }
  std::string text = Str("\"", thing, "\" is a sweep of ", runs.size(), " runs: ");
  if (serve.empty()) return Status(Code::kFailedPrecondition, text + wanted.unless);
  text += "name one of them";
  RunNames names(runs);
  for (std::size_t i = 0; i < std::min(serve.size(), kShown); ++i) {
    text += Str("\n  longrun ", wanted.verb, " ", ShortId(serve[i]->run_key()),
                wanted.rest.empty() ? "" : " ", wanted.rest, "  ", names.Of(*serve[i]));
  }
  if (serve.size() > kShown) {
    text += Str("\n  and ", serve.size() - kShown, " more: `longrun get ", thing, "`");
  }
  return Status(Code::kInvalidArgument, text);
}

}  // namespace longrun::client
