// This process's user, why that user may not use a file, and the command that changes it. Called
// after a permission was denied, so that the message names the file and the remedy wherever the
// denial was noticed.
#pragma once

#include <string>

#include "base/status.h"

namespace longrun {

// Rewrites a denial (kPermissionDenied) of something in or above `folder` to name the obstacle:
// "/x/a.db may not be read and written, its mode is 0400: chmod 600 /x/a.db (MESSAGE)". Returns any
// other status unchanged, and also a denial whose cause is not found.
Status NamingDenied(Status status, const std::string& folder);

// The name of the user as whom this process runs; "user 1000" if that user has none.
const std::string& OwnUserName();

}  // namespace longrun
