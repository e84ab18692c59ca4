// Which other program keeps a coordinator from using the database of a state folder.
#pragma once

#include <optional>
#include <string>

namespace longrun::client {

struct DatabaseLocker {
  int pid = 0;       // 0: of another pid namespace
  std::string name;  // "sqlite3"; "" if not known
};

// The process that has locked the database against writing, other than `coordinator_pid`; nullopt
// if none has. A process that only reads keeps nobody out.
std::optional<DatabaseLocker> WhoLocksDatabase(const std::string& state, int coordinator_pid);

}  // namespace longrun::client
