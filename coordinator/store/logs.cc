// See logs.h.
#include "coordinator/store/logs.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/files.h"
#include "base/random.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

constexpr std::string_view kEnding = ".log";
constexpr std::int64_t kOffsetMax = std::int64_t{1} << 56;  // longer than any log

}  // namespace

Result<std::string> LogStore::PathOf(const std::string& attempt) const {
  if (!IsUlid(attempt)) {
    return Status(Code::kInvalidArgument, Str("\"", attempt, "\" is not an attempt"));
  }
  return JoinPath(folder_, Str(attempt, kEnding));
}

Status LogStore::Append(const std::string& attempt, std::int64_t offset, std::string_view bytes) {
  ASSIGN_OR_RETURN(const std::string path, PathOf(attempt));
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(MakeFolders(folder_, 0700));
  const auto here = FileBytes(path);
  const std::int64_t n_here = here.ok() ? *here : 0;
  // After a restart our copy's own length is the best guess.
  std::int64_t& next = next_.try_emplace(attempt, n_here).first->second;
  if (offset < 0 || offset > kOffsetMax) return Status();
  const std::int64_t end = offset + static_cast<std::int64_t>(bytes.size());
  if (end <= next) return Status();
  std::string text;
  if (offset > next) {
    StrAppend(text, Str("\n[", offset - next, " bytes of the log did not arrive]\n"));
  } else {
    bytes.remove_prefix(static_cast<std::size_t>(next - offset));
  }
  text += bytes;
  next = end;
  if (n_here >= kLogBytesMax) return Status();
  if (n_here + static_cast<std::int64_t>(text.size()) >= kLogBytesMax) {
    text.resize(static_cast<std::size_t>(kLogBytesMax - n_here));
  }
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot open ", path));
  Status status;
  std::string_view rest = text;
  while (!rest.empty() && status.ok()) {
    const ssize_t n = write(fd, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      status = ErrnoStatus(errno, Str("cannot write ", path));
    } else {
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  close(fd);
  return status;
}

Result<std::string> LogStore::Read(const std::string& attempt, std::int64_t offset,
                                   std::size_t bytes_max) const {
  ASSIGN_OR_RETURN(const std::string path, PathOf(attempt));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    if (errno == ENOENT) return std::string();
    return ErrnoStatus(errno, Str("cannot open ", path));
  }
  std::string text(bytes_max, '\0');
  const ssize_t n = pread(fd, text.data(), text.size(), offset);
  const int error = errno;
  close(fd);
  if (n < 0) return ErrnoStatus(error, Str("cannot read ", path));
  text.resize(static_cast<std::size_t>(n));
  return text;
}

Result<std::vector<LogStore::Log>> LogStore::List() const {
  std::vector<Log> logs;
  if (!PathExists(folder_)) return logs;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder_));
  for (const std::string& name : names) {
    if (!name.ends_with(kEnding)) continue;
    std::string attempt = name.substr(0, name.size() - kEnding.size());
    if (!IsUlid(attempt)) continue;
    const Result<std::int64_t> n_bytes = FileBytes(JoinPath(folder_, name));
    if (!n_bytes.ok()) continue;  // another call removed it since
    logs.push_back({.attempt = std::move(attempt), .n_bytes = *n_bytes});
  }
  return logs;
}

Status LogStore::Remove(const std::string& attempt) {
  ASSIGN_OR_RETURN(const std::string path, PathOf(attempt));
  const std::lock_guard lock(mutex_);
  next_.erase(attempt);
  return RemoveAll(path);
}

}  // namespace longrun::coordinator
