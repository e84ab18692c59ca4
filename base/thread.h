// Threads, where the system may refuse one: under a limit on processes or on the address space.
#pragma once

#include <functional>
#include <thread>

#include "base/status.h"

namespace longrun {

// A thread that runs `body`. Where none can be started the program ends as for an exception that
// leaves its `main` (program.h): threads started before it cannot be ended in order without it.
std::thread StartThread(std::function<void()> body);

// kResourceExhausted, with what to raise, unless `n_threads` more could run at this moment. Asked
// before a library starts threads of its own, which would abort.
Status CheckThreadRoom(int n_threads);

}  // namespace longrun
