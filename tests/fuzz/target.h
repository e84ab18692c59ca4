// A fuzz target takes any bytes. It returns when the product refused them or gave something that
// holds; it ends the process (LR_CHECK, a sanitizer) when it did not.
//
// A target is one file, a folder of small inputs in corpus/, and one line in CMakeLists.txt. `./dev
// test` replays the corpus and seeded mutations of it; `./dev soak fuzz` lets
// libFuzzer look further.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

// libFuzzer's name for it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// A target may have one: changes an input of `size` bytes in its place, and returns its new size.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t size_max, unsigned seed)
    __attribute__((weak));
// A target may have one: called after the last input of a replay.
extern "C" void LongrunFuzzFinish() __attribute__((weak));

namespace longrun {

inline std::string_view AsText(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// What every refusal owes its reader: words, in UTF-8, without control characters but newlines.
void CheckRefusal(const Status& status);

// A file of these bytes that lives as long as the object.
class FuzzInputFile {
 public:
  FuzzInputFile(const std::uint8_t* data, std::size_t size);
  ~FuzzInputFile();
  FuzzInputFile(const FuzzInputFile&) = delete;
  FuzzInputFile& operator=(const FuzzInputFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

}  // namespace longrun
