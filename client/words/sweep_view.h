// The progress of a sweep as lines, for watch, run, submit --wait and get.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/wire/messages.h"

namespace longrun::client {

class Daemons;
struct TerminalSize;

using Runs = Repeated<v1::RunInfo>;

// The state of a sweep: a view of a message of WatchSweep or GetSweep, which must outlive it.
struct SweepProgress {
  // NOLINTNEXTLINE(google-explicit-constructor): a message is such a view.
  SweepProgress(const v1::WatchSweepResponse& message)
      : info(message.info()),
        runs(message.runs()),
        time_left(message.time_left()),
        workers(&message.workers()) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  SweepProgress(const v1::GetSweepResponse& message)
      : info(message.info()), runs(message.runs()), time_left(message.time_left()) {}

  const v1::SweepInfo& info;
  const Runs& runs;
  const v1::TimeLeft& time_left;
  const Repeated<v1::WorkerInfo>* workers = nullptr;  // null: not known
};

// A headline, and one line per run with state, progress, loss, sparkline and ETA. If these are more
// than `n_lines` lines, chooses runs as RunsToShow() does, and counts the others.
std::string RenderProgress(const SweepProgress& progress,
                           std::size_t n_lines = std::numeric_limits<std::size_t>::max());

// RenderProgress fitted to the window: leaves room for `after`, the text that comes below it, and
// cuts lines that would wrap.
std::string FitProgress(const SweepProgress& progress, const TerminalSize& window,
                        const std::string& after = "");

// "41s (33s to 52s)"; "41s" if both ends print alike.
std::string EstimateText(const std::string& likely, const std::string& low,
                         const std::string& high);

// "time left: about 3min (2min to 6min) on 2 slots"; "" if it is not known. A time that nobody can
// keep is not promised: of tasks without a slot, it only says how many there are, and that
// `longrun why SWEEP` says why. `sweep`: "" if it is not submitted.
std::string TimeLeftText(const v1::TimeLeft& left, const std::string& sweep);

// The indices of at most `n_max` runs, in their order. Runs that are working or have failed are
// chosen first, then waiting runs, then finished ones.
std::vector<int> RunsToShow(const Runs& runs, std::size_t n_max);

// The time of a sweep's first submission, from its id (`submitted_ms` of SweepInfo is the time of
// the last one).
std::string FirstSubmitted(const v1::SweepInfo& info);

// The paths of the matrix axes, other than position and train_length, that distinguish the runs of
// a message of GetSweep or WatchSweep.
std::set<std::string> OtherAxes(const Runs& runs);

// Names each of `runs`, which must outlive this: "rope lr=0.001 seed=2", the run's position and
// what else distinguishes it. The first call reads all runs.
class RunNames {
 public:
  explicit RunNames(const Runs& runs) : runs_(runs) {}
  std::string Of(const v1::RunInfo& run);

 private:
  const Runs& runs_;
  std::optional<std::set<std::string>> varying_axes_;
};

// The state and the tenths of progress of a run: a log shows the run again only when this changes.
// `last` is the previous value.
std::string Milestone(const v1::RunInfo& run, const std::string& last);
// "1a2b3c4d rope 64: train 240/600 steps, loss 2.512, 8000 tokens/s, ETA 2min"
std::string ChangeLine(const v1::RunInfo& run, const std::set<std::string>& other_axes);
// "a RUNNING  3 of 8 tasks done, 2 running, 0 failed", from SweepInfo.
std::string Headline(const v1::SweepInfo& info);
// The number of attempts at the task, without the offers that workers refused.
int TriesOf(const v1::TaskInfo& task);
// READY or BLOCKED, and never started.
bool IsWaiting(const v1::RunInfo& run);
bool IsDone(const v1::RunInfo& run);

// Shows the sweep until every task is terminal: redrawn on a terminal, else a line for each tenth
// of progress. Obstacles are reported once, then once a minute, and when they end. If the stream
// breaks, it is opened again (the coordinator may be restarting). Returns the last message;
// kCancelled if interrupted; kFailedPrecondition if the state folder is deleted or moved meanwhile,
// or the command's own daemons cannot continue.
struct FollowOptions {
  // Returns the daemons of this command, or null. With daemons of its own, the command puts the
  // sweep before all others, and keeps waiting as long as the daemons may come back.
  std::function<const Daemons*()> own = {};
  std::function<void()> away = {};  // called repeatedly while nobody answers
  std::function<void(const v1::WatchSweepResponse&)> show =
      {};  // called with each message; nothing is drawn then
  std::function<Status(const v1::WatchSweepResponse&)> give_up =
      {};  // called with each message before `show`; an error ends it
};
Result<v1::WatchSweepResponse> FollowSweep(const std::string& state, const std::string& sweep,
                                           const FollowOptions& options = {});

// Whether nothing is running, and no remaining task fits any slot of the present workers.
bool NothingFits(const v1::WatchSweepResponse& message);

// From now on Ctrl-C, SIGTERM, SIGHUP and SIGPIPE set a flag instead of ending the program.
void CatchInterrupts();
// From now on they end the program again.
void LetInterruptsEnd();
bool Interrupted();

// Prints obstacles to work (`notices` of a message), one per line, on stderr.
void PrintNotices(const Repeated<v1::Notice>& notices);

// The failed tasks, each with the reason and where to look. If there are many, shows the first ones
// and counts the others.
std::string FailedTasksText(const SweepProgress& progress);
// Prints FailedTasksText() on stderr.
void PrintFailures(const SweepProgress& progress);

// Prints the end of a sweep: its failures. Returns the exit code.
int ShowEnd(const v1::WatchSweepResponse& message);
// Prints the state of a sweep while no service runs, from a message of GetSweep, fitted to the
// terminal. Prints `after` below it unless the sweep has ended. Returns the exit code.
int ShowNow(const v1::GetSweepResponse& message, const std::string& after = "");

}  // namespace longrun::client
