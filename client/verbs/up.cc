// longrun up: keeps a coordinator and one worker running on the local state folder until Ctrl-C.
#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/connection.h"
#include "client/wire/embedded.h"
#include "client/words/sweep_news.h"
#include "client/words/sweep_view.h"
#include "sweeps/coordinator_address.h"

namespace longrun::client {
namespace {

constexpr int kPollMs = 100;
constexpr std::int64_t kNewsMs = 1000;
constexpr std::int64_t kAnswerMs = 1000;
// A list of many sweeps takes long to make, so the pause after it is this many times as long.
constexpr std::int64_t kPausePerAnswer = 50;

// Prints what has changed, and returns when to ask again. Without an answer nothing is said: the
// supervisor tells how the daemons are.
std::int64_t TellNews(const std::string& state, SweepNews& news) {
  const std::int64_t begin = BootMs();
  if (const Result<std::string> address = ReadCoordinatorAddress(state); address.ok()) {
    CoordinatorConnection connection{*address};
    v1::ListSweepsResponse sweeps;
    if (connection.Send(v1::ListSweepsRequest(), kAnswerMs, &sweeps).ok()) {
      for (const std::string& line : news.Of(sweeps)) SayLine(line);
    }
  }
  const std::int64_t now = BootMs();
  return now + std::max(kNewsMs, kPausePerAnswer * (now - begin));
}

// Where other machines reach the coordinator. LONGRUN_LISTEN may say so instead of --listen, and
// the port may be 0, for any that is free.
void SayWhereItListens(const std::string& state) {
  const Result<std::string> place = ReadFile(JoinPath(state, "coordinator.network"), 512);
  if (!place.ok()) return;
  const std::string_view text = Trim(*place);
  if (text.find(':') == std::string_view::npos) return;  // damaged
  SayLine(Str("up: listens on ", text, " for other machines: `longrun login HOST",
              text.substr(text.rfind(':')), "` connects one of them"));
}

int Up(const DaemonOptions& options, const std::string& state) {
  CatchInterrupts();
  const Result<std::unique_ptr<Daemons>> daemons = Daemons::Start(state, options, Interrupted);
  if (daemons.status().code() == Code::kCancelled) {
    SayLine("stopped before the service had started");
    return kExitOk;
  }
  if (!daemons.ok()) return Report(daemons.status());
  if (const Status working = (*daemons)->StartWorking(); !working.ok()) return Report(working);
  SayLine(Str("up: state in ", state, "; `longrun submit FILE` gives it work, Ctrl-C stops it"));
  SayWhereItListens(state);
  SweepNews news;
  std::int64_t next_news = 0;
  while (!Interrupted()) {
    if (const Status status = (*daemons)->Check(); !status.ok()) return Report(status);
    if (BootMs() >= next_news) next_news = TellNews(state, news);
    poll(nullptr, 0, kPollMs);
  }
  StopAtInterrupt(**daemons, "`longrun up` continues from here");
  return kExitOk;
}

}  // namespace

void AddUp(Verbs& verbs) {
  Verb verb = verbs.AddVerb("up", "keep a coordinator and one worker running, until Ctrl-C");
  verb.AddExamples({"longrun up", "longrun up --cpu-slots 1 --metrics 127.0.0.1:9411"});
  auto options = std::make_shared<DaemonOptions>();
  verb.AddArgument("--cpu-slots", options->cpu_slots,
                   "trainers to run at once on the CPU (default: one per core)")
      .Between(1, 1024);
  verb.AddArgument(
      "--metrics", options->metrics,
      "address of the coordinator's metrics page, 127.0.0.1:PORT (default: a free port)");
  verb.AddArgument("--listen", options->listen,
                   "also serve other machines, with TLS: HOST:PORT, such as 0.0.0.0:7443; needs "
                   "`longrun admin pki init`.\nThe limits for people on other machines are "
                   "environment variables, such as LONGRUN_REGISTERED_BYTES\n(see "
                   "`longrun-coordinator --help`)");
  verb.SetRun([&verbs, options] { return Up(*options, verbs.state); });
}

}  // namespace longrun::client
