// SIGTERM and SIGINT ask the trainer to save its state and yield.
//
// They are held back and looked for, never handled: oneDNN's fp32 products use memory of the heap as
// their stack for a while, and the frame of a handler would be written over its neighbours.
#pragma once

namespace longrun {

// Before any other thread is started: each inherits what is held back.
void HoldStopSignals();
// Until StopRequested() is asked for the first time, a stop signal ends the program at once: while the inputs
// are read, there is nothing to save.
void EndWhenStopped();
bool StopRequested();

}  // namespace longrun
