// See wal_check.h.
#include "coordinator/store/wal_check.h"

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kHeaderBytes = 32;
constexpr std::size_t kFrameHeaderBytes = 24;
constexpr std::uint32_t kMagic = 0x377f0682;  // its last bit: checksums of big-endian words
constexpr std::uint32_t kPageBytesMin = 512;
constexpr std::uint32_t kPageBytesMax = 65536;
constexpr std::int64_t kClockSlackMs = 2'000;

std::uint32_t BigEndian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

struct Checksum {
  std::uint32_t first = 0, second = 0;
  bool operator==(const Checksum&) const = default;

  void Add(std::string_view bytes, bool big_endian) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first += Word(bytes, at, big_endian) + second;
      second += Word(bytes, at + 4, big_endian) + first;
    }
  }

 private:
  static std::uint32_t Word(std::string_view bytes, std::size_t at, bool big_endian) {
    const std::uint32_t value = BigEndian(bytes, at);
    return big_endian ? value : __builtin_bswap32(value);
  }
};

Checksum ChecksumAt(std::string_view bytes, std::size_t at) {
  return {.first = BigEndian(bytes, at), .second = BigEndian(bytes, at + 4)};
}

class Log {
 public:
  explicit Log(std::string_view bytes)
      : bytes_(bytes),
        page_bytes_(BigEndian(bytes, 8)),
        big_endian_((BigEndian(bytes, 0) & 1) != 0) {}

  bool IsHeaderWhole() const {
    Checksum sum;
    sum.Add(bytes_.substr(0, 24), big_endian_);
    return (BigEndian(bytes_, 0) & ~1u) == kMagic && sum == ChecksumAt(bytes_, 24);
  }
  bool HasPageSize() const {
    return page_bytes_ >= kPageBytesMin && page_bytes_ <= kPageBytesMax &&
           (page_bytes_ & (page_bytes_ - 1)) == 0;
  }
  std::size_t n_frames() const { return (bytes_.size() - kHeaderBytes) / FrameBytes(); }
  std::size_t OffsetOf(std::size_t frame) const { return kHeaderBytes + frame * FrameBytes(); }

  // The frames that SQLite reads.
  std::size_t n_whole() const {
    Checksum sum = ChecksumAt(bytes_, 24);
    std::size_t frame = 0;
    for (; frame < n_frames() && IsOfThisLog(frame); ++frame) {
      const std::size_t at = OffsetOf(frame);
      sum.Add(bytes_.substr(at, 8), big_endian_);
      sum.Add(bytes_.substr(at + kFrameHeaderBytes, page_bytes_), big_endian_);
      if (sum != ChecksumAt(bytes_, at + 16)) break;
    }
    return frame;
  }
  // Frames that end a transaction of this log, from one on.
  std::size_t n_commits(std::size_t from) const {
    std::size_t n = 0;
    for (std::size_t frame = from; frame < n_frames(); ++frame) {
      if (IsOfThisLog(frame) && BigEndian(bytes_, OffsetOf(frame) + 4) != 0) ++n;
    }
    return n;
  }
  // Of a header that is not whole: whether its frames are of this log. One that began anew has
  // other frames of the log before it, and both of its salts are others.
  bool SharesSaltWithFrames() const {
    if (bytes_.size() < kHeaderBytes + kFrameHeaderBytes) return false;
    return BigEndian(bytes_, 16) == BigEndian(bytes_, kHeaderBytes + 8) ||
           BigEndian(bytes_, 20) == BigEndian(bytes_, kHeaderBytes + 12);
  }

 private:
  std::size_t FrameBytes() const { return kFrameHeaderBytes + page_bytes_; }
  bool IsOfThisLog(std::size_t frame) const {
    return bytes_.substr(OffsetOf(frame) + 8, 8) == bytes_.substr(16, 8);
  }

  std::string_view bytes_;
  std::size_t page_bytes_;
  bool big_endian_;
};

Status Damaged(const std::string& path, std::size_t offset, const std::string& lost) {
  return Status(
      Code::kDataLoss,
      Str(path, " is damaged at byte ", offset, ": ", lost,
          " cannot be read any more. Restore a backup of the database "
          "(docs/operating.md). Without one, go on with what was committed before: `cp ",
          path, " ", path, ".damaged && truncate -s ", offset, " ", path,
          "`, then see `longrun doctor --deep`, and `longrun run` measures what is missing"));
}

// Whether a file was written since the machine was started; the clock may have been set since.
bool IsOfThisStart(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return false;
  const std::int64_t written_ms =
      static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1000 + info.st_mtim.tv_nsec / 1'000'000;
  return written_ms > WallMs() - BootMs() + kClockSlackMs;
}

}  // namespace

Status CheckWalBytes(const std::string& wal_path, const std::string& bytes, bool same_start) {
  if (bytes.size() <= kHeaderBytes) return Status();
  const Log log(bytes);
  if (!log.IsHeaderWhole()) {
    return log.SharesSaltWithFrames() ? Damaged(wal_path, 0, "all that it holds") : Status();
  }
  if (!log.HasPageSize()) return Damaged(wal_path, 0, "all that it holds");
  const std::size_t n_whole = log.n_whole();
  if (n_whole == log.n_frames()) return Status();
  const std::size_t n_commits = log.n_commits(n_whole + 1);
  if (n_commits < (same_start ? 1u : 2u)) return Status();
  return Damaged(wal_path, log.OffsetOf(n_whole),
                 Str("what it holds from there on, ", n_commits, " or more commits,"));
}

Status CheckWal(const std::string& database_path) {
  const std::string path = database_path + "-wal";
  const Result<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status().code() == Code::kNotFound ? Status() : bytes.status();
  return CheckWalBytes(path, *bytes, IsOfThisStart(path));
}

}  // namespace longrun
