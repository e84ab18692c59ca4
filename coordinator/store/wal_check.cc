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
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/open_file.h"
#include "base/str.h"

namespace longrun::coordinator {
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

// All bits of `bytes` that, if only this one is flipped, add `change` to the checksum, counted from
// the lowest bit of the first byte. The checksum is linear in the words, modulo 2^32: adding 1 to a
// word adds two Fibonacci numbers, which depend only on its position.
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

// The bit in which two texts of the same length differ, if there is only one.
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
// The part of a frame that its checksum covers.
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
  // `database`: null if it cannot be read.
  Reader(const OpenFile& file, const OpenFile* database, bool same_start)
      : file_(file), database_(database), same_start_(same_start) {}

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
        if (SharesSaltWith(frame)) Lose(0, "its whole content");
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
        ASSIGN_OR_RETURN(const bool is_needless, DatabaseHasAll(frame));
        if (is_needless) {
          flaws_.needless_from = OffsetOf(frame);
        } else {
          Lose(OffsetOf(frame), Str("its content from there on (", n_commits, " or more commits)"));
        }
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

  // The bit whose flip makes the header valid, and the first frame one of its log.
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
    kWhole,  // the next frame of this log, after the flipped bits that were found are flipped back
    kDamaged,  // the next frame of this log, in which a bit flipped, and several bits may be it
    kOther,    // a frame of another log, an unfinished one, or one damaged in several bits
  };

  Result<Frame> ReadFrame(std::int64_t frame) {
    const std::int64_t at = OffsetOf(frame);
    ASSIGN_OR_RETURN(std::string bytes, file_.ReadAt(at, static_cast<std::size_t>(FrameBytes())));
    if (std::ssize(bytes) < FrameBytes()) return Frame::kOther;
    const std::string content = ContentOf(bytes);
    const Checksum stored = ChecksumAt(bytes, 16), before = sum_;
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
    const bool is_certain =
        n_found == 1 && (in_stored ? IsCertain(*in_stored, true)
                                   : IsCertain(in_content.front(), header_.big_endian()));
    if (!is_certain) {
      ASSIGN_OR_RETURN(const bool is_known, TakeFromDatabase(at, bytes, before));
      if (is_known) return Frame::kWhole;
      damaged_ = {.stored = stored, .pages = {}};
      if (n_found > 0) damaged_.pages = PossiblePages(content, in_content);
      return n_found == 0 ? Frame::kOther : Frame::kDamaged;
    }
    if (in_stored) {
      NoteFlipped(at, bytes, 8 * 16 + *in_stored);
      return Frame::kWhole;
    }
    const std::size_t bit = in_content.front();
    NoteFlipped(at, bytes, bit + (bit < 8 * 8 ? 0 : 8 * (kFrameHeaderBytes - 8)));
    sum_ = stored;
    return Frame::kWhole;
  }

  // Given that exactly one bit flipped, and that only this bit explains the checksum: whether it is
  // certain that no other does. Fibonacci numbers modulo 2^n repeat after 3 * 2^(n-1) (Wall 1960),
  // so that the highest bits of several words add the same to the checksum.
  bool IsCertain(std::size_t bit, bool big_endian) const {
    const std::size_t byte = bit / 8 % 4;
    const std::size_t in_word = 8 * (big_endian ? 3 - byte : byte) + bit % 8;
    const std::size_t n_words = (8 + header_.page_bytes()) / 4;
    return (std::size_t{3} << (31 - in_word)) > n_words;
  }

  // The pages that a frame may be of, if one of these bits of its content is damaged.
  static std::set<std::uint32_t> PossiblePages(const std::string& content,
                                               const std::vector<std::size_t>& bits) {
    std::set<std::uint32_t> pages = {BigEndian(content, 0)};
    for (const std::size_t bit : bits) {
      if (bit >= 8 * sizeof(std::uint32_t)) continue;
      std::string number = content.substr(0, sizeof(std::uint32_t));
      Flip(number, bit);
      pages.insert(BigEndian(number, 0));
    }
    return pages;
  }

  // Fewer bytes if the database does not have the page.
  Result<std::string> PageInDatabase(std::uint32_t page) const {
    if (database_ == nullptr || page == 0) return std::string();
    return database_->ReadAt((std::int64_t{page} - 1) * header_.page_bytes(), header_.page_bytes());
  }

  // Looks for the page of a damaged frame in the database. True if the frame's checksum shows that
  // it is as it was there: then it is noted. `sum`: of the frames before.
  Result<bool> TakeFromDatabase(std::int64_t at, std::string_view frame, Checksum sum) {
    ASSIGN_OR_RETURN(const std::string page, PageInDatabase(BigEndian(frame, 0)));
    if (page.size() != header_.page_bytes()) return false;
    sum.Add(Str(frame.substr(0, 8), page), header_.big_endian());
    if (sum != ChecksumAt(frame, 16)) return false;
    flaws_.in_database.push_back({.offset = at + kFrameHeaderBytes, .was = page});
    sum_ = sum;
    return true;
  }

  // Whether the database has each page as the last commit of the log left it. `damaged`: the frame
  // that ReadFrame met last, whose page is not known.
  Result<bool> DatabaseHasAll(std::int64_t damaged) const {
    if (database_ == nullptr || damaged_.pages.empty()) return false;
    // The frames are read as they are stored, so none before may be damaged.
    if (!flaws_.flipped.empty() || !flaws_.in_database.empty()) return false;
    std::map<std::uint32_t, std::int64_t> last, uncommitted;  // page -> its last frame
    std::int64_t n_pages = 0;                                 // of the database
    // With the damaged frame's checksum as it is stored, or,
    // if it is damaged itself, as it must be.
    std::vector<Checksum> sums = {damaged_.stored, sum_};
    for (std::int64_t frame = 0; frame < n_frames_; ++frame) {
      ASSIGN_OR_RETURN(const std::string bytes,
                       file_.ReadAt(OffsetOf(frame), static_cast<std::size_t>(FrameBytes())));
      if (std::ssize(bytes) < FrameBytes() || SaltsOf(bytes) != header_.salts()) break;
      if (frame > damaged) {
        for (Checksum& sum : sums) sum.Add(ContentOf(bytes), header_.big_endian());
        std::erase_if(sums, [&](const Checksum& sum) { return sum != ChecksumAt(bytes, 16); });
        if (sums.empty()) {
          ASSIGN_OR_RETURN(const int n_commits, CountCommits(frame));
          if (n_commits > 0) return false;  // it is damaged, too
          break;                            // it is unfinished
        }
      }
      if (frame != damaged) uncommitted[BigEndian(bytes, 0)] = frame;
      if (BigEndian(bytes, 4) == 0) continue;
      n_pages = BigEndian(bytes, 4);
      for (const auto& [page, newest] : uncommitted) last[page] = newest;
      uncommitted.clear();
    }
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, database_->n_bytes());
    if (n_bytes != n_pages * header_.page_bytes()) return false;
    for (const auto& [page, frame] : last) {
      if (page > n_pages) continue;  // a later commit has removed it
      ASSIGN_OR_RETURN(const std::string there, PageInDatabase(page));
      ASSIGN_OR_RETURN(const std::string here,
                       file_.ReadAt(OffsetOf(frame) + kFrameHeaderBytes, header_.page_bytes()));
      if (there != here) return false;
    }
    return std::ranges::all_of(damaged_.pages, [&](std::uint32_t page) {
      const auto newest = last.find(page);
      return page == 0 || page > n_pages || (newest != last.end() && newest->second > damaged);
    });
  }

  // Counts the frames that end a transaction of this log, beginning with `from`.
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

  // For a damaged header: whether the first frame belongs to this log. After SQLite has started the
  // log again, the frames of the log before it follow, and both of their salts differ.
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
            "`); `longrun --state COPY doctor --deep` says whether a copy is undamaged, and "
            "`longrun run` measures missing results again"));
  }

  struct DamagedFrame {
    Checksum stored;                // its own
    std::set<std::uint32_t> pages;  // one of these is its page; empty: it may be any
  };

  const OpenFile& file_;
  const OpenFile* const database_;
  const bool same_start_;
  DamagedFrame damaged_;  // the last one that ReadFrame met
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

// Whether a process other than this one has the database open: each holds a lock on this byte of
// the index of the log ("the deadman switch" of SQLite's os_unix.c).
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
  const auto database = OpenFile::Open(database_path, OpenFile::Mode::kRead);
  return Reader(*file, database.ok() ? &*database : nullptr, same_start).Read();
}

Status MendWal(const std::string& database_path, std::vector<std::string>& repairs) {
  ASSIGN_OR_RETURN(const WalFlaws flaws, FindWalFlaws(database_path));
  RETURN_IF_ERROR(flaws.lost);
  if (flaws.flipped.empty() && flaws.in_database.empty() && !flaws.needless_from) return Status();
  // That process has read the log only up to the flipped bit, and would write over the rest.
  ASSIGN_OR_RETURN(const bool is_open, IsOpenElsewhere(database_path));
  if (is_open) {
    return Status(Code::kUnavailable, Str(WalOf(database_path),
                                          " is damaged, which cannot be repaired while another "
                                          "program has the database open: end it (`fuser ",
                                          database_path, "` shows it), then start again"));
  }
  if (flaws.needless_from) {
    const std::string path = WalOf(database_path);
    // What was compared may not have reached the disk yet: a kill can come before SQLite's sync.
    RETURN_IF_ERROR(SyncFile(database_path));
    if (truncate(path.c_str(), 0) != 0) return ErrnoStatus(errno, Str("cannot empty ", path));
    LogWarning("log_emptied", {{"file", path},
                               {"damaged_at_byte", Str(*flaws.needless_from)},
                               {"meaning", "the database has all that it held"}});
    repairs.push_back(Str(path, ", damaged at byte ", *flaws.needless_from,
                          ", emptied: the database already has all changes from it"));
    return SyncFile(path);
  }
  ASSIGN_OR_RETURN(OpenFile file, OpenFile::Open(WalOf(database_path), OpenFile::Mode::kReadWrite));
  for (const WalByte& byte : flaws.flipped) {
    RETURN_IF_ERROR(file.WriteAt(byte.offset, std::string_view(&byte.was, 1)));
    LogWarning("log_repaired", {{"file", file.path()}, {"byte", Str(byte.offset)}});
    repairs.push_back(Str("byte ", byte.offset, " of ", file.path(), ", one bit"));
  }
  for (const WalPage& page : flaws.in_database) {
    RETURN_IF_ERROR(file.WriteAt(page.offset, page.was));
    LogWarning("log_repaired", {{"file", file.path()}, {"page_at_byte", Str(page.offset)}});
    repairs.push_back(
        Str("the page at byte ", page.offset, " of ", file.path(), ", from the database"));
  }
  return file.Sync();
}

}  // namespace longrun::coordinator
