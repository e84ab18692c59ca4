// What changes in the state of a sweep only because time passes.
#pragma once

#include "client/wire/messages.h"

namespace longrun::client {

// The message without the times that a task and a worker have left, and without the time since a
// worker was heard from. Whether there is a deadline is kept.
v1::WatchSweepResponse WithoutCountdowns(v1::WatchSweepResponse message);

}  // namespace longrun::client
