// Lets the disk write a large file while it grows, so that a sync at its end has little left to do.
#pragma once

#include <cstdint>

namespace longrun {

class WriteBack {
 public:
  // `n_bytes` of the file are written so far. Best effort: only a sync tells whether they are safe.
  void Note(int fd, std::int64_t n_bytes);

 private:
  std::int64_t n_begun_ = 0;  // bytes that the disk was told to write
};

}  // namespace longrun
