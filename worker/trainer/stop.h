// SIGTERM and SIGINT ask the trainer to save its state and yield.
//
// They are held back and looked for, never handled: oneDNN's fp32 products use memory of the heap as
// their stack for a while, and the frame of a handler would be written over its neighbours.
#pragma once

namespace longrun {

// Before any other thread is started: each inherits what is held back.
void HoldStopSignals();
bool StopRequested();

}  // namespace longrun
