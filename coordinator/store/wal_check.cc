// See wal_check.h.
#include "coordinator/store/wal_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/open_file.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kHeaderBytes = 32;
constexpr std::int64_t kFrameHeaderBytes = 24;
constexpr std::uint32_t kMagic = 0x377f0682;  // its last bit: checksums of big-endian words
constexpr std::uint32_t kFormat = 3007000;
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

  Checksum operator-(const Checksum& other) const {
    return {.first = first - other.first, .second = second - other.second};
  }

  // The two words as they are stored.
  std::string AsBigEndian() const {
    std::string bytes;
    for (const std::uint32_t word : {first, second}) {
      for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(word >> shift & 0xff);
    }
    return bytes;
  }

  static std::uint32_t Word(std::string_view bytes, std::size_t at, bool big_endian) {
    const std::uint32_t value = BigEndian(bytes, at);
    return big_endian ? value : __builtin_bswap32(value);
  }
};

Checksum ChecksumAt(std::string_view bytes, std::size_t at) {
  return {.first = BigEndian(bytes, at), .second = BigEndian(bytes, at + 4)};
}

void Flip(std::string& bytes, std::size_t bit) {
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
}

// The bits of `bytes` of which each one's flip adds `change` to their checksum, counted from the lowest one of
// the first byte. A checksum is linear in its words, modulo 2^32: 1 more in a word adds two Fibonacci numbers,
// which depend on its place only.
std::vector<std::size_t> BitsThatAdd(const Checksum& change, std::string_view bytes,
                                     bool big_endian) {
  std::vector<std::size_t> bits;
  Checksum of_one = {.first = 0, .second = 1};  // what 1 in the second word of a pair adds
  for (std::size_t end = bytes.size(); end >= 8; end -= 8) {
    const Checksum of_words[] = {{.first = of_one.second, .second = of_one.first + of_one.second},
                                 of_one};
    for (std::size_t w = 0; w < 2; ++w) {
      const std::size_t at = end - 8 + 4 * w;
      const std::uint32_t word = Checksum::Word(bytes, at, big_endian);
      for (std::size_t bit = 0; bit < 32; ++bit) {
        const std::uint32_t value = std::uint32_t{1} << bit;
        const std::uint32_t added = (word & value) != 0 ? 0 - value : value;
        if (added * of_words[w].first != change.first) continue;
        if (added * of_words[w].second != change.second) continue;
        bits.push_back(8 * (at + (big_endian ? 3 - bit / 8 : bit / 8)) + bit % 8);
      }
    }
    of_one = {.first = of_one.first + of_one.second, .second = of_one.first + 2 * of_one.second};
  }
  return bits;
}

// The bit in which two texts of one length differ, if it is the only one.
std::optional<std::size_t> BitApart(std::string_view a, std::string_view b) {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto bits = static_cast<unsigned char>(a[i] ^ b[i]);
    if (bits == 0) continue;
    if (found || !std::has_single_bit(bits)) return std::nullopt;
    found = 8 * i + static_cast<std::size_t>(std::countr_zero(bits));
  }
  return found;
}

std::string_view SaltsOf(std::string_view frame) { return frame.substr(8, 8); }
// What its checksum covers.
std::string ContentOf(std::string_view frame) {
  return Str(frame.substr(0, 8), frame.substr(kFrameHeaderBytes));
}

struct Header {
  std::string bytes;

  bool IsWhole() const {
    Checksum sum;
    sum.Add(std::string_view(bytes).substr(0, 24), big_endian());
    return (BigEndian(bytes, 0) & ~1u) == kMagic && sum == ChecksumAt(bytes, 24);
  }
  bool IsPlausible() const {
    return BigEndian(bytes, 4) == kFormat && page_bytes() >= kPageBytesMin &&
           page_bytes() <= kPageBytesMax && std::has_single_bit(page_bytes());
  }
  bool big_endian() const { return (BigEndian(bytes, 0) & 1) != 0; }
  std::uint32_t page_bytes() const { return BigEndian(bytes, 8); }
  std::string_view salts() const { return std::string_view(bytes).substr(16, 8); }
};

class Reader {
 public:
  Reader(const OpenFile& file, bool same_start) : file_(file), same_start_(same_start) {}

  Result<WalFlaws> Read() {
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, file_.n_bytes());
    if (n_bytes <= kHeaderBytes) return std::move(flaws_);
    ASSIGN_OR_RETURN(header_.bytes, file_.ReadAt(0, kHeaderBytes));
    if (std::ssize(header_.bytes) < kHeaderBytes) return std::move(flaws_);
    if (!header_.IsWhole() || !header_.IsPlausible()) {
      ASSIGN_OR_RETURN(const std::string frame, file_.ReadAt(kHeaderBytes, kFrameHeaderBytes));
      if (std::ssize(frame) < kFrameHeaderBytes) return std::move(flaws_);
      ASSIGN_OR_RETURN(const std::optional<std::size_t> bit, FlippedBitOfHeader());
      if (!bit) {
        if (SharesSaltWith(frame)) Lose(0, "all that it holds");
        return std::move(flaws_);
      }
      NoteFlipped(0, header_.bytes, *bit);
    }
    n_frames_ = (n_bytes - kHeaderBytes) / FrameBytes();
    sum_ = ChecksumAt(header_.bytes, 24);
    for (std::int64_t frame = 0; frame < n_frames_; ++frame) {
      ASSIGN_OR_RETURN(const Frame found, ReadFrame(frame));
      if (found == Frame::kWhole) continue;
      const bool is_damaged = found == Frame::kDamaged;
      ASSIGN_OR_RETURN(const int n_commits, CountCommits(is_damaged ? frame : frame + 1));
      if (n_commits >= (is_damaged || same_start_ ? 1 : 2)) {
        Lose(OffsetOf(frame), Str("what it holds from there on, ", n_commits, " or more commits,"));
      }
      break;
    }
    return std::move(flaws_);
  }

 private:
  static std::int64_t FrameBytes(const Header& header) {
    return kFrameHeaderBytes + header.page_bytes();
  }
  std::int64_t FrameBytes() const { return FrameBytes(header_); }
  std::int64_t OffsetOf(std::int64_t frame) const { return kHeaderBytes + frame * FrameBytes(); }

  // Flips it back in `bytes`, which lie at `offset` of the log.
  void NoteFlipped(std::int64_t offset, std::string& bytes, std::size_t bit) {
    Flip(bytes, bit);
    flaws_.flipped.push_back(
        {.offset = offset + static_cast<std::int64_t>(bit / 8), .was = bytes[bit / 8]});
  }

  // The bit that makes the header whole again and that of a log to which the first frame belongs.
  Result<std::optional<std::size_t>> FlippedBitOfHeader() const {
    for (std::size_t bit = 0; bit < 8 * kHeaderBytes; ++bit) {
      Header header = header_;
      Flip(header.bytes, bit);
      if (!header.IsWhole() || !header.IsPlausible()) continue;
      ASSIGN_OR_RETURN(const std::string frame,
                       file_.ReadAt(kHeaderBytes, static_cast<std::size_t>(FrameBytes(header))));
      if (std::ssize(frame) < FrameBytes(header) || SaltsOf(frame) != header.salts()) continue;
      Checksum sum = ChecksumAt(header.bytes, 24);
      sum.Add(ContentOf(frame), header.big_endian());
      if (sum == ChecksumAt(frame, 16)) return std::optional(bit);
    }
    return std::optional<std::size_t>();
  }

  enum class Frame {
    kWhole,    // the next one of this log, once the flipped bits that were found are flipped back
    kDamaged,  // the next one, of which a bit flipped; which one cannot be told
    kOther,    // of another log, unfinished, or damaged in several bits
  };

  Result<Frame> ReadFrame(std::int64_t frame) {
    const std::int64_t at = OffsetOf(frame);
    ASSIGN_OR_RETURN(std::string bytes, file_.ReadAt(at, static_cast<std::size_t>(FrameBytes())));
    if (std::ssize(bytes) < FrameBytes()) return Frame::kOther;
    const std::string content = ContentOf(bytes);
    const Checksum stored = ChecksumAt(bytes, 16);
    sum_.Add(content, header_.big_endian());
    const bool is_of_log = SaltsOf(bytes) == header_.salts();
    if (sum_ == stored) {
      if (is_of_log) return Frame::kWhole;
      const auto in_salts = BitApart(SaltsOf(bytes), header_.salts());
      if (!in_salts) return Frame::kOther;
      NoteFlipped(at, bytes, 8 * 8 + *in_salts);
      return Frame::kWhole;
    }
    if (!is_of_log) return Frame::kOther;
    const std::vector<std::size_t> in_content =
        BitsThatAdd(stored - sum_, content, header_.big_endian());
    const auto in_stored = BitApart(std::string_view(bytes).substr(16, 8), sum_.AsBigEndian());
    const std::size_t n_found = in_content.size() + (in_stored ? 1 : 0);
    if (n_found == 0) return Frame::kOther;
    const bool is_certain = in_stored ? IsCertain(*in_stored, true)
                                      : IsCertain(in_content.front(), header_.big_endian());
    if (n_found > 1 || !is_certain) return Frame::kDamaged;
    if (in_stored) {
      NoteFlipped(at, bytes, 8 * 16 + *in_stored);
      return Frame::kWhole;
    }
    const std::size_t bit = in_content.front();
    NoteFlipped(at, bytes, bit + (bit < 8 * 8 ? 0 : 8 * (kFrameHeaderBytes - 8)));
    sum_ = stored;
    return Frame::kWhole;
  }

  // Whether a bit whose flip, and no other's, explains the checksum is the one that flipped, provided that
  // only one did. Fibonacci numbers modulo 2^n repeat after 3 * 2^(n-1) (Wall 1960): what the highest bits of
  // words add does not tell which words they are of.
  bool IsCertain(std::size_t bit, bool big_endian) const {
    const std::size_t byte = bit / 8 % 4;
    const std::size_t in_word = 8 * (big_endian ? 3 - byte : byte) + bit % 8;
    const std::size_t n_words = (8 + header_.page_bytes()) / 4;
    return (std::size_t{3} << (31 - in_word)) > n_words;
  }

  // Frames that end a transaction of this log, from one on.
  Result<int> CountCommits(std::int64_t from) const {
    int n = 0;
    for (std::int64_t frame = from; frame < n_frames_; ++frame) {
      ASSIGN_OR_RETURN(const std::string bytes, file_.ReadAt(OffsetOf(frame), kFrameHeaderBytes));
      if (std::ssize(bytes) < kFrameHeaderBytes) break;
      const bool is_of_log = SaltsOf(bytes) == header_.salts();
      if (is_of_log && BigEndian(bytes, 4) != 0) ++n;
    }
    return n;
  }

  // Of a header that is not whole: whether its first frame is of this log. One that began anew has
  // other frames of the log before it, and both of its salts are others.
  bool SharesSaltWith(std::string_view frame) const {
    return BigEndian(header_.bytes, 16) == BigEndian(frame, 8) ||
           BigEndian(header_.bytes, 20) == BigEndian(frame, 12);
  }

  void Lose(std::int64_t offset, const std::string& lost) {
    const std::string& path = file_.path();
    flaws_.lost = Status(
        Code::kDataLoss,
        Str(path, " is damaged at byte ", offset, ": ", lost,
            " cannot be read any more. Restore a backup of the database (docs/operating.md). "
            "Without one, make two copies of the folder and see which keeps more: the database "
            "without its log (remove ",
            BaseName(path), "), or with only the intact beginning of the log (`truncate -s ",
            offset, " ", BaseName(path),
            "`); `longrun --state COPY doctor --deep` says whether it is whole, and `longrun run` "
            "measures what is missing"));
  }

  const OpenFile& file_;
  const bool same_start_;
  Header header_;
  std::int64_t n_frames_ = 0;
  Checksum sum_;  // of the frames before
  WalFlaws flaws_;
};

// Whether a file was written since the machine was started; the clock may have been set since.
bool IsOfThisStart(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return false;
  const std::int64_t written_ms =
      static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1000 + info.st_mtim.tv_nsec / 1'000'000;
  return written_ms > WallMs() - BootMs() + kClockSlackMs;
}

// Whether a process other than this one has the database open: each holds a lock on this byte of the index
// of the log ("the deadman switch" of SQLite's os_unix.c).
Result<bool> IsOpenElsewhere(const std::string& database_path) {
  constexpr off_t kDeadmanSwitch = 128;
  const std::string path = database_path + "-shm";
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return false;
  if (fd < 0) return ErrnoStatus(errno, Str("cannot open ", path));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = kDeadmanSwitch;
  lock.l_len = 1;
  const int code = fcntl(fd, F_GETLK, &lock);
  const int error = errno;
  close(fd);
  if (code != 0) return ErrnoStatus(error, Str("cannot look at the locks of ", path));
  return lock.l_type != F_UNLCK;
}

std::string WalOf(const std::string& database_path) { return database_path + "-wal"; }

}  // namespace

Result<WalFlaws> FindWalFlaws(const std::string& database_path) {
  return FindWalFlaws(database_path, IsOfThisStart(WalOf(database_path)));
}

Result<WalFlaws> FindWalFlaws(const std::string& database_path, bool same_start) {
  const auto file = OpenFile::Open(WalOf(database_path), OpenFile::Mode::kRead);
  if (file.status().code() == Code::kNotFound) return WalFlaws();
  RETURN_IF_ERROR(file.status());
  return Reader(*file, same_start).Read();
}

Status MendWal(const std::string& database_path, std::vector<std::string>& repairs) {
  ASSIGN_OR_RETURN(const WalFlaws flaws, FindWalFlaws(database_path));
  RETURN_IF_ERROR(flaws.lost);
  if (flaws.flipped.empty()) return Status();
  // It has read the log up to the flipped bit, and SQLite would write over what follows.
  ASSIGN_OR_RETURN(const bool is_open, IsOpenElsewhere(database_path));
  if (is_open) {
    return Status(Code::kUnavailable,
                  Str(WalOf(database_path),
                      " has a flipped bit, which cannot be repaired while another "
                      "program has the database open: end it (`fuser ",
                      database_path, "` shows it), then start again"));
  }
  ASSIGN_OR_RETURN(OpenFile file, OpenFile::Open(WalOf(database_path), OpenFile::Mode::kReadWrite));
  for (const WalByte& byte : flaws.flipped) {
    RETURN_IF_ERROR(file.WriteAt(byte.offset, std::string_view(&byte.was, 1)));
    LogWarning("log_repaired", {{"file", file.path()}, {"byte", Str(byte.offset)}});
    repairs.push_back(Str("byte ", byte.offset, " of ", file.path(), ", one bit"));
  }
  return file.Sync();
}

}  // namespace longrun
