// A file in memory, for what a child process prints: it needs no folder, and no room on a disk.
#pragma once

#include <string>
#include <utility>

#include "base/descriptor.h"
#include "base/status.h"

namespace longrun {

class MemoryFile {
 public:
  // kResourceExhausted, or the system's error, if there is none to be had.
  static Result<MemoryFile> Make();
  MemoryFile(MemoryFile&& other) noexcept
      : file_(other.file_.Release()), path_(std::move(other.path_)) {}

  // By which this process and its children open it as long as this object exists.
  const std::string& path() const { return path_; }

 private:
  explicit MemoryFile(int fd);

  Descriptor file_;
  std::string path_;
};

}  // namespace longrun
