// See write_back.h.
#include "base/write_back.h"

#include <fcntl.h>

namespace longrun {
namespace {

constexpr std::int64_t kPieceBytes = std::int64_t{8} << 20;

}  // namespace

void WriteBack::Note(int fd, std::int64_t n_bytes) {
  if (n_bytes - n_begun_ < kPieceBytes) return;
  static_cast<void>(sync_file_range(fd, n_begun_, n_bytes - n_begun_, SYNC_FILE_RANGE_WRITE));
  n_begun_ = n_bytes;
}

}  // namespace longrun
