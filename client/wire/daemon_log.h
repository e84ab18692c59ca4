// What a daemon's log says of its end.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longrun::client {

// The last error in the lines of a log: the text of `error="..."`, or else the last line that is
// not information (LogInfo), which another daemon may write to the same log at the same time. "" if
// there is none. Only whole lines count, since a full disk may cut the last one.
std::string LastErrorIn(std::string_view text);

// The same for the end of a daemon's log. `begin`: the length of the log before the daemon started.
std::string LastError(const std::string& log, std::int64_t begin);

// Whether a coordinator brings the database up to date, by the lines of its log: it has begun a
// migration, and does not serve yet.
bool IsMigratingIn(std::string_view text);
// The same for the end of its log.
bool IsMigrating(const std::string& log);

}  // namespace longrun::client
