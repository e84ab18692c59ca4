// An open file of which parts are read and written in place: for files that are too large for the
// memory, or that others read meanwhile. To write a whole file, use WriteFileAtomic (files.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

class OpenFile {
 public:
  enum class Mode { kRead, kReadWrite };
  // kNotFound if there is no such file.
  static Result<OpenFile> Open(const std::string& path, Mode mode);
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;
  ~OpenFile();

  const std::string& path() const { return path_; }
  Result<std::int64_t> n_bytes() const;
  // Returns fewer bytes only at the end of the file.
  Result<std::string> ReadAt(std::int64_t offset, std::size_t n_bytes) const;
  Status WriteAt(std::int64_t offset, std::string_view bytes);
  Status Sync();

 private:
  OpenFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
};

}  // namespace longrun
