// What keeps this user from a file, and the command that changes it: asked after something was denied,
// so that the message names file and remedy wherever it was noticed.
#pragma once

#include <string>

#include "base/status.h"

namespace longrun {

// A denial (kPermissionDenied) of something in or above `folder`, told as what is in the way: "/x/a.db
// may not be read and written, its mode is 0400: chmod 600 /x/a.db (MESSAGE)". Any other status, and
// one for which nothing is found in the way, comes back as it is.
Status NamingDenied(Status status, const std::string& folder);

}  // namespace longrun
