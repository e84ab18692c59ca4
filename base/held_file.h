// A file or folder by what it is, and not by its name: whether a path still stands for the file that
// it stood for. It is held open meanwhile, so that its number is given to no other file; by O_PATH, which
// takes no part in locks (closing it ends none of SQLite's).
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
  // False once `path` names nothing, or another file. True where that cannot be found out.
  bool IsAt(const std::string& path) const;
  bool IsInPlace() const { return IsAt(path_); }
  // Where it lies now; "" when it was deleted, or it cannot be found out.
  std::string PathNow() const;

 private:
  HeldFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
};

}  // namespace longrun
