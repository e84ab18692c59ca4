// Who holds the lock of a state folder, or held it last:
//
//   STATE/coordinator.lock     PID crc32c=XXXXXXXX             the coordinator of a service
//                              PID momentary crc32c=XXXXXXXX   that of one command, with which it ends
//
// The lock itself is a FileLock on this file. The checksum protects the pid, which a message shows to
// a user, who may end that process.
#pragma once

#include <optional>
#include <string>

namespace longrun {

struct CoordinatorHolder {
  int pid = 0;
  bool is_momentary = false;
};

std::string CoordinatorLockPath(const std::string& state_folder);
std::string CoordinatorLockText(const CoordinatorHolder& holder);
// Nothing if the file does not exist, is being written, or is damaged.
std::optional<CoordinatorHolder> ReadCoordinatorLock(const std::string& state_folder);

}  // namespace longrun
