// A file or folder identified by its inode and not by its name, to tell whether a path still leads
// to it. It is held open meanwhile, so that no other file gets its inode number. It is opened with
// O_PATH, which has no part in locks: closing it releases none of SQLite's.
#pragma once

#include <string>

#include "base/status.h"

namespace longrun {

class HeldFile {
 public:
  static Result<HeldFile> Open(const std::string& path);
  HeldFile(HeldFile&& other) noexcept;
  HeldFile& operator=(HeldFile&& other) noexcept;
  ~HeldFile();

  const std::string& path() const { return path_; }
  // False once `path` names nothing or another file. True if that cannot be determined.
  bool IsAt(const std::string& path) const;
  bool IsInPlace() const { return IsAt(path_); }
  // Its path now; "" if it was deleted or its path cannot be determined.
  std::string PathNow() const;

 private:
  HeldFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
};

}  // namespace longrun
