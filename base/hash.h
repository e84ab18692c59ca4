// Hashes: SHA-256 for identity (content addresses), CRC32C to detect torn records, FNV-1a for
// streams of random numbers. All are plain C++ without libraries; SHA-256 and CRC32C use the CPU's
// instructions for them where it has any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

// kPlain takes the portable code even where the CPU has better instructions: for tests.
// Both give the same bits.
enum class HashPath { kBest, kPlain };
bool CpuHasSha();  // SHA-NI
bool CpuHasCrc();  // SSE 4.2

class Sha256 {
 public:
  explicit Sha256(HashPath path = HashPath::kBest);
  void Update(const void* data, std::size_t n_bytes);
  void Update(std::string_view text) { Update(text.data(), text.size()); }
  std::array<std::uint8_t, 32> Finish();  // call it once: it uses up the object
  std::string FinishHex();                // the same as 64 lower-case digits

 private:
  void Compress(const std::uint8_t* blocks, std::size_t n_blocks);

  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> block_{};
  std::uint64_t n_bytes_ = 0;
  bool with_cpu_ = false;
};

std::string Sha256Hex(std::string_view bytes);
Result<std::string> Sha256OfFile(const std::string& path);
// Of an open file, from where it is read next. `go_on` is asked before each MiB: an error of it
// ends the reading. kDataLoss: the disk cannot read the bytes.
Result<std::string> Sha256OfOpenFile(int fd, const std::string& path,
                                     const std::function<Status()>& go_on);
bool IsSha256Hex(std::string_view text);  // 64 digits of 0-9a-f

// Castagnoli; Crc32c("123456789") = 0xe3069283.
std::uint32_t Crc32c(std::string_view bytes, HashPath path = HashPath::kBest);
std::uint64_t Fnv1a64(std::string_view bytes);

// The shard format uses XXH3-64 too: model/data/shard.h.

}  // namespace longrun
