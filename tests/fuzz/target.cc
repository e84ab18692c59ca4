// See target.h.
#include "tests/fuzz/target.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/str.h"

namespace longrun {

void CheckRefusal(const Status& status) {
  const std::string& message = status.message();
  LR_CHECK(!message.empty());
  LR_CHECK(IsUtf8(message));
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f;
  };
  LR_CHECK(std::ranges::none_of(message, is_control));
}

// In memory only: an input lives for a millisecond.
FuzzInputFile::FuzzInputFile(const std::uint8_t* data, std::size_t size)
    : fd_(memfd_create("longrun-fuzz", MFD_CLOEXEC)), path_(Str("/proc/self/fd/", fd_)) {
  LR_CHECK(fd_ >= 0);
  LR_CHECK(write(fd_, data, size) == static_cast<ssize_t>(size));
}

FuzzInputFile::~FuzzInputFile() { close(fd_); }

}  // namespace longrun
