// The lock of a state folder, with the name of its holder:
//
//   STATE/coordinator.lock     PID crc32c=XXXXXXXX             the coordinator of a service
//                              PID momentary crc32c=XXXXXXXX   the coordinator of one command,
//                                                              which ends with the command
//                              empty                           nobody, or a holder that has not
//                                                              written its name yet
//
// A holder that was killed stays named until the next one takes the lock. The checksum protects the
// pid, which a message shows to a user, who may end that process.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/files.h"
#include "base/status.h"

namespace longrun {

struct CoordinatorHolder {
  int pid = 0;
  bool is_momentary = false;
};

std::string CoordinatorLockPath(const std::string& state_folder);
std::string CoordinatorLockText(const CoordinatorHolder& holder);
// Returns nullopt if the file does not exist, is empty, or is damaged.
std::optional<CoordinatorHolder> ReadCoordinatorLock(const std::string& state_folder);
// Whether a process of this machine has the pid. A killed holder's pid may be another
// process's by now.
bool IsAlive(const CoordinatorHolder& holder);

// The lock, held until the object is destroyed or the process dies.
class CoordinatorLock {
 public:
  // kUnavailable when another process holds it.
  static Result<CoordinatorLock> Acquire(const std::string& state_folder,
                                         const CoordinatorHolder& holder);
  CoordinatorLock(CoordinatorLock&&) noexcept = default;
  CoordinatorLock& operator=(CoordinatorLock&&) noexcept = default;
  ~CoordinatorLock();
  // Removes the holder's name while the lock is held, so that nobody takes it for the name of the
  // next holder. The destructor also does this; a process that ends without destructors must call
  // it.
  void RemoveName();

 private:
  explicit CoordinatorLock(FileLock lock) : lock_(std::move(lock)) {}
  FileLock lock_;
};

}  // namespace longrun
