// See database_lock.h. SQLite's locks are POSIX locks on certain bytes:
//
//   longrun.db, bytes 0x40000000 to 0x400001FF     readers share them; an exclusive user, such as
//                                                  one with a rollback journal, locks them all
//     (https://www.sqlite.org/fileformat2.html, 1.3: the lock-byte page)
//   longrun.db-shm, bytes 120 to 122               for writing, for moving the log into the
//                                                  database, and for recovering the log
//     (https://www.sqlite.org/walformat.html, 2.3: the locks)
//
// The question needs no lock of ours. This process has no connection to the database, whose locks
// would end when the files are closed here.
#include "client/wire/database_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "base/descriptor.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun::client {
namespace {

constexpr off_t kDatabaseAt = 0x40000000, kDatabaseBytes = 512;
constexpr off_t kIndexAt = 120, kIndexBytes = 3;
constexpr std::string_view kCoordinator = "longrun-coordin";  // the 15 bytes that Linux keeps

// The process that has a lock for writing on the bytes; nullopt if there is none.
std::optional<int> WhoLocks(const std::string& path, off_t at, off_t n_bytes) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return std::nullopt;
  struct flock asked = {};
  asked.l_type = F_RDLCK;
  asked.l_whence = SEEK_SET;
  asked.l_start = at;
  asked.l_len = n_bytes;
  if (fcntl(file.get(), F_GETLK, &asked) != 0 || asked.l_type == F_UNLCK) return std::nullopt;
  return static_cast<int>(asked.l_pid);
}

}  // namespace

std::optional<DatabaseLocker> WhoLocksDatabase(const std::string& state, int coordinator_pid) {
  const std::string path = JoinPath(state, "longrun.db");
  std::optional<int> pid = WhoLocks(path, kDatabaseAt, kDatabaseBytes);
  if (!pid || *pid == coordinator_pid) pid = WhoLocks(path + "-shm", kIndexAt, kIndexBytes);
  if (!pid || *pid == coordinator_pid) return std::nullopt;
  if (*pid <= 0) return DatabaseLocker();
  const Result<std::string> comm = ReadFile(Str("/proc/", *pid, "/comm"), 4096);
  const std::string name = comm.ok() ? std::string(Trim(*comm)) : "";
  // A coordinator that has not written its name into the lock of the folder yet.
  if (name.starts_with(kCoordinator)) return std::nullopt;
  return DatabaseLocker{.pid = *pid, .name = name};
}

}  // namespace longrun::client
