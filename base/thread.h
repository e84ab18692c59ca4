// Starting threads, which the system may refuse under a limit on processes or on the address space.
#pragma once

#include <functional>
#include <thread>

#include "base/status.h"

namespace longrun {

// Starts a thread that runs `body`. If the system refuses to start it, the program ends as after an
// exception that leaves its `main` (program.h): without the new thread, those already running could
// not be ended in order.
std::thread StartThread(std::function<void()> body);

// kResourceExhausted, with the limit to raise, unless `n_threads` more could run now. Call it
// before a library starts threads of its own, since the library would abort.
Status CheckThreadRoom(int n_threads);

}  // namespace longrun
