// See coordinator_lock.h.
#include "sweeps/coordinator_lock.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/checked_line.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kBytesMax = 64;
constexpr std::string_view kMomentary = " momentary";

}  // namespace

std::string CoordinatorLockPath(const std::string& state_folder) {
  return JoinPath(state_folder, "coordinator.lock");
}

std::string CoordinatorLockText(const CoordinatorHolder& holder) {
  return CheckedLine(Str(holder.pid, holder.is_momentary ? kMomentary : ""));
}

std::optional<CoordinatorHolder> ReadCoordinatorLock(const std::string& state_folder) {
  const Result<std::string> bytes = ReadFile(CoordinatorLockPath(state_folder), kBytesMax);
  if (!bytes.ok()) return std::nullopt;
  const std::optional<std::string> line = ReadCheckedLine(*bytes);
  if (!line) return std::nullopt;
  std::string_view text = *line;
  CoordinatorHolder holder;
  holder.is_momentary = text.ends_with(kMomentary);
  if (holder.is_momentary) text.remove_suffix(kMomentary.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), holder.pid);
  if (error != std::errc() || end != text.data() + text.size() || holder.pid <= 0) {
    return std::nullopt;
  }
  return holder;
}

bool IsAlive(const CoordinatorHolder& holder) { return kill(holder.pid, 0) == 0 || errno == EPERM; }

Result<CoordinatorLock> CoordinatorLock::Acquire(const std::string& state_folder,
                                                 const CoordinatorHolder& holder) {
  const std::string path = CoordinatorLockPath(state_folder);
  ASSIGN_OR_RETURN(FileLock file, FileLock::Acquire(path, "the state folder's lock"));
  CoordinatorLock lock(std::move(file));
  const std::string text = CoordinatorLockText(holder);
  const int fd = lock.lock_.fd();
  if (ftruncate(fd, 0) != 0 ||
      pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno, Str("cannot write ", path));
  }
  return lock;
}

CoordinatorLock::~CoordinatorLock() { RemoveName(); }

void CoordinatorLock::RemoveName() {
  // If this fails, a name that is out of date stays, as after a kill.
  if (lock_.fd() >= 0) (void)!ftruncate(lock_.fd(), 0);
}

}  // namespace longrun
