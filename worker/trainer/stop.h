// SIGTERM and SIGINT ask the trainer to save its state and yield.
#pragma once

namespace longrun {

void InstallStopHandler();
bool StopRequested();

}  // namespace longrun
