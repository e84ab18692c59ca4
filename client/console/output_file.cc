// See output_file.h.
#include "client/console/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/access.h"
#include "base/files.h"
#include "base/shortage.h"
#include "base/str.h"

namespace longrun::client {
namespace {

Status WriteTo(const std::string& path, std::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot write ", path));
  Status status;
  while (!bytes.empty() && status.ok()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      status = ErrnoStatus(errno, Str("cannot write ", path));
    }
  }
  if (close(fd) != 0 && status.ok()) status = ErrnoStatus(errno, Str("cannot write ", path));
  return status;
}

Status Write(const std::string& path, std::string_view bytes) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return WriteFileAtomic(path, bytes);
  const auto refused = [&](std::string_view why) {
    return Status(Code::kFailedPrecondition, Str("cannot write ", path, ": ", why));
  };
  if (S_ISDIR(info.st_mode)) return refused("it is a folder: give the name of a file in it");
  if (!S_ISREG(info.st_mode)) return WriteTo(path, bytes);
  if ((info.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0) {
    return refused("it is read-only: give another name, or remove it first");
  }
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  if (error) return refused(error.message());
  if (std::filesystem::exists(target.parent_path() / "database.id", error)) {
    return refused("it is in a state folder, whose files only longrun changes: give another name");
  }
  return WriteFileAtomic(target.string(), bytes);
}

}  // namespace

Status WriteOutputFile(const std::string& path, std::string_view bytes) {
  const Status written = Write(path, bytes);
  if (ShortageOf(written) != Shortage::kDisk) return written;
  return Status(written.code(),
                Str(written.message(), "; ", kMakeRoomThere, ", or name a file on another disk"));
}

}  // namespace longrun::client
