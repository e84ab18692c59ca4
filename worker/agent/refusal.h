// The failure class, for the coordinator, of an attempt that cannot be started here.
#pragma once

#include <string_view>

#include "base/status.h"

namespace longrun::agent {

// The class of an error that came before anything has run: "storage" (the task waits until there is
// room), "limit", "out_of_memory", "data"; "" for an error that may pass by itself.
std::string_view RefusalClass(const Status& status);

// Gives an error of writing the cache a code that blames this machine, whatever its code was: the
// checkpoint itself is not damaged.
Status CacheNotWritten(const Status& status);

}  // namespace longrun::agent
