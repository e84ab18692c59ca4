// SIGTERM and SIGINT ask the trainer to save its state and yield.
//
// The signals are blocked and polled, never handled: oneDNN's fp32 products sometimes use heap
// memory as their stack, and the frame of a handler would overwrite neighbouring memory.
#pragma once

namespace longrun::trainer {

// To be called before any other thread starts, since threads inherit the blocked signals.
void HoldStopSignals();
// Makes a stop signal end the program at once, until the first call of StopRequested(): while the
// inputs are read, there is nothing to save.
void EndWhenStopped();
// Both are thread-safe.
bool StopRequested();
bool StopRequestedWhileWaiting();  // the same, but false as long as a signal ends the program

}  // namespace longrun::trainer
