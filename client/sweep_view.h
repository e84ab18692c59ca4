// How a sweep stands, as lines: used by watch, run, submit --wait and get.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/connection.h"

namespace longrun {

class Daemons;

// One line per run, with state, progress, loss, sparkline and ETA, under a headline; from a message of
// WatchSweep. At most `n_lines` in all: then those at work come first, the others are counted.
std::string RenderProgress(const Json& message,
                           std::size_t n_lines = std::numeric_limits<std::size_t>::max());

// "time left: about 3min (2min to 6min) on 2 slots", from `time_left` of a message; "" where nothing is
// known of it.
std::string TimeLeftText(const Json& message);

// At most `n_max` of all runs, in their order: what is at work or failed before what waits, and that before
// what is done.
std::vector<std::size_t> RunsToShow(const Json& runs, std::size_t n_max);

// When a sweep (SweepInfo) was first submitted, as its id says; `submitted_ms` is of the last time.
std::string FirstSubmitted(const Json& info);

// The matrix axes beside position and train_length that tell the runs apart, by path; of the runs of a
// message of GetSweep or WatchSweep.
std::set<std::string> OtherAxes(const Json& runs);

// "rope lr=0.001 seed=2": the run's position, and what else tells it from the others.
std::string RunName(const Json& run, const Json& runs);

// What a reader of a log wants to see again only when it has moved: state, and tenths of progress. `last`
// is what it was before.
std::string Milestone(const Json& run, const std::string& last);
// "1a2b3c4d rope 64: train 240/600 steps, loss 2.512, 8000 tokens/s, ETA 2min"
std::string ChangeLine(const Json& run, const std::set<std::string>& other_axes);
// "a RUNNING  3 of 8 tasks done, 2 running, 0 failed", from SweepInfo.
std::string Headline(const Json& info);
// READY or BLOCKED, and never begun.
bool IsWaiting(const Json& run);
bool IsDone(const Json& run);

// Shows the sweep until every task is terminal: redrawn on a terminal, else a line when something
// has changed by a tenth. What keeps it from going on is said once, once a minute, and that it is over. A stream that breaks off is taken up again (the coordinator may be starting
// again). Gives the last message; kCancelled when interrupted; kFailedPrecondition when the state folder
// is deleted or moved meanwhile, or the command's own daemons can do no more.
struct FollowOptions {
  // The daemons of this command, when it has any: then the sweep is put before all others, and they are
  // waited for as long as they may come back.
  std::function<const Daemons*()> own = {};
  std::function<void()> away = {};                  // called from time to time while nobody answers
  std::function<void(const Json&)> show = {};       // is given each message in place of the drawing
  std::function<Status(const Json&)> give_up = {};  // asked after each message; an error is the end
};
Result<Json> FollowSweep(const std::string& state, const std::string& sweep,
                         const FollowOptions& options = {});

// kFailedPrecondition with the reason for each task when nothing runs, and nothing that is left to do
// fits any slot
// of the workers that are there.
Status NothingFits(const Json& message);

// Ctrl-C, SIGTERM, SIGHUP and SIGPIPE set a flag instead of ending the program, from now on.
void CatchInterrupts();
bool Interrupted();

// What keeps work from going on (`notices` of a message), a line each on stderr.
void PrintNotices(const Json& notices);

// What failed, with the reason and where to look, on stderr; from a message of WatchSweep.
void PrintFailures(const Json& message);

// What is left to say when a sweep has ended: what failed. The exit code.
int ShowEnd(const Json& message);
// How a sweep stands while nothing runs, from a message of GetSweep; the exit code.
int ShowNow(const Json& message);

}  // namespace longrun
