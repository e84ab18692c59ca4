// Why an attempt cannot be started here, as the failure class that the coordinator is told.
#pragma once

#include <string_view>

#include "base/status.h"

namespace longrun {

// Of what went wrong before anything had run: "storage" (it waits until there is room), "limit",
// "out_of_memory", "data"; "" for what may pass by itself.
std::string_view RefusalClass(const Status& status);

// An error of writing the cache, in whatever code it came: it is this machine's, and no damage of the
// checkpoint that was to be kept there.
Status CacheNotWritten(const Status& status);

}  // namespace longrun
