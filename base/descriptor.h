// Owns a file descriptor, which it closes.
#pragma once

#include <unistd.h>

#include <utility>

namespace longrun {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}  // negative: none
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Close() {
    if (const int fd = Release(); fd >= 0) close(fd);
  }

 private:
  int fd_;
};

}  // namespace longrun
