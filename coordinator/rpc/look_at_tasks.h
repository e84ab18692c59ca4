// A look at many tasks, some at a time, so that others need not wait.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/status.h"
#include "coordinator/core.h"

namespace longrun::coordinator {

// Calls `look` on the core's thread with some of `tasks` after the other, in their order, until it
// returns false or has seen all. What others post comes between two calls. Waits for the end; not
// to be called on the core's thread. kUnavailable as Core::LookAndWait.
Status LookAtTasks(Core& core, std::span<const std::string> tasks,
                   const std::function<bool(const State&, std::span<const std::string>)>& look);

}  // namespace longrun::coordinator
