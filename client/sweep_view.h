// How a sweep stands, as lines: used by watch, run, submit --wait and get.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "client/connection.h"

namespace longrun {

// One line per run that is not finished, with state, progress, loss, sparkline and ETA, under a
// headline; from a message of WatchSweep.
std::string RenderProgress(const Json& message);

// Shows the sweep until every task is terminal: redrawn on a terminal, else a line when something
// has changed by a tenth. `interrupted` is asked between messages; a stream that breaks off is taken
// up again while `keep_trying` (the coordinator may be starting again). Gives the last message;
// kCancelled when interrupted.
// `away`, when given, is called from time to time while nobody answers; `show` is given each message
// in place of the drawing.
Result<Json> FollowSweep(const std::string& state, const std::string& sweep, bool keep_trying,
                         const std::function<void()>& away = {},
                         const std::function<void(const Json&)>& show = {});

// Ctrl-C and SIGTERM set a flag instead of ending the program, from now on.
void CatchInterrupts();
bool Interrupted();

// What failed, with the reason and where to look, on stderr; from a message of WatchSweep.
void PrintFailures(const Json& message);

// The exit code that a sweep's end asks for, after its table was printed.
int SweepExitCode(const Json& info);

}  // namespace longrun
