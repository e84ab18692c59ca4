#include "client/words/run_of.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/str.h"
#include "base/utf8.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

constexpr std::size_t kShown = 20;
constexpr std::size_t kIdDigitsMin = 8;  // of the ids of runs, tasks and attempts
constexpr std::string_view kHowToList =
    "`longrun ls` lists the sweeps, and `longrun get SWEEP` the runs of a sweep";

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

Status NoSuchRun(const std::string& thing, const Status& otherwise) {
  if (otherwise.code() == Code::kNotFound) {
    return Status(Code::kNotFound, Str(otherwise.message(), "; ", kHowToList));
  }
  if (otherwise.code() != Code::kInvalidArgument || thing.size() >= kIdDigitsMin) return otherwise;
  return Status(Code::kNotFound,
                Str("there is no run or sweep ", Quoted(thing), " (the id of a run has ",
                    kIdDigitsMin, " digits or more); ", kHowToList));
}

}  // namespace longrun::client
