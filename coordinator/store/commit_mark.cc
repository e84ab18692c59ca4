// See commit_mark.h. The log's format: https://www.sqlite.org/fileformat2.html (4).
#include "coordinator/store/commit_mark.h"

#include <sqlite3.h>

#include <cstddef>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "sweeps/fields.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kNoteBytes = 256;
constexpr std::int64_t kLogHeaderBytes = 32;
constexpr std::int64_t kFrameHeaderBytes = 24;
constexpr std::size_t kSaltsAt = 16, kFrameSaltsAt = 8, kSaltBytes = 8;
constexpr std::size_t kPageBytesAt = 8;
constexpr std::int64_t kPageBytesMax = 65536;

std::string PathOf(const std::string& database_path) { return database_path + "-mark"; }
std::string LogOf(const std::string& database_path) { return database_path + "-wal"; }

std::int64_t BigEndian(std::string_view bytes, std::size_t at) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::string HexOf(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

struct Log {
  std::string salts;  // hex; "" without a whole header
  std::int64_t page_bytes = 0;
  std::int64_t n_frames = 0;
};

Result<Log> ReadLog(const std::string& database_path) {
  const auto file = OpenFile::Open(LogOf(database_path), OpenFile::Mode::kRead);
  if (file.status().code() == Code::kNotFound) return Log();
  RETURN_IF_ERROR(file.status());
  ASSIGN_OR_RETURN(const std::string header, file->ReadAt(0, kLogHeaderBytes));
  if (std::ssize(header) < kLogHeaderBytes) return Log();
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, file->n_bytes());
  Log log = {.salts = HexOf(std::string_view(header).substr(kSaltsAt, kSaltBytes)),
             .page_bytes = BigEndian(header, kPageBytesAt)};
  if (log.page_bytes > 0) {
    log.n_frames = (n_bytes - kLogHeaderBytes) / (kFrameHeaderBytes + log.page_bytes);
  }
  return log;
}

// What the database has of a page, and its size.
struct InDatabase {
  std::uint32_t sum = 0;
  std::int64_t n_bytes = 0;
  bool operator==(const InDatabase&) const = default;
};

// Of a database that no connection of this process has open: to close the file would end its locks.
Result<InDatabase> ReadDatabase(const std::string& database_path, std::int64_t at,
                                std::int64_t page_bytes) {
  ASSIGN_OR_RETURN(const OpenFile file, OpenFile::Open(database_path, OpenFile::Mode::kRead));
  ASSIGN_OR_RETURN(std::string bytes, file.ReadAt(at, static_cast<std::size_t>(page_bytes)));
  bytes.resize(static_cast<std::size_t>(page_bytes));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, file.n_bytes());
  return InDatabase{.sum = Crc32c(bytes), .n_bytes = n_bytes};
}

// The same through an open connection.
Result<InDatabase> ReadDatabase(sqlite3* db, std::int64_t at, std::int64_t page_bytes) {
  sqlite3_file* file = nullptr;
  int code = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  std::string bytes(static_cast<std::size_t>(page_bytes), '\0');
  sqlite3_int64 n_bytes = 0;
  if (code == SQLITE_OK) code = file->pMethods->xFileSize(file, &n_bytes);
  if (code == SQLITE_OK) {
    code = file->pMethods->xRead(file, bytes.data(), static_cast<int>(page_bytes), at);
  }
  if (code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ) {
    return InDatabase{.sum = Crc32c(bytes), .n_bytes = n_bytes};
  }
  return Status(Code::kInternal, Str("cannot read the database: ", sqlite3_errstr(code)));
}

struct ReadMark {
  bool is_blank = true;    // missing, without a note, or lost when the machine lost power
  std::string salts = {};  // "" if there is no note, or it is damaged
  std::int64_t n_frames = 0, page_at = 0, page_bytes = 0, before = 0, database_bytes = 0;
  bool operator==(const ReadMark&) const = default;
};

Result<ReadMark> Read(const std::string& database_path) {
  const auto file = OpenFile::Open(PathOf(database_path), OpenFile::Mode::kRead);
  if (file.status().code() == Code::kNotFound) return ReadMark();
  RETURN_IF_ERROR(file.status());
  ASSIGN_OR_RETURN(const std::string bytes, file->ReadAt(0, kNoteBytes));
  // A file whose size reached the disk before its bytes did has zeros.
  const ReadMark none = {.is_blank = bytes.find_first_not_of(std::string_view(" \0", 2)) ==
                                     std::string::npos};
  const std::size_t end = bytes.find('\n');
  if (end == std::string::npos) return none;
  const std::string_view line = std::string_view(bytes).substr(0, end);
  const std::size_t gap = line.rfind(' ');
  if (gap == std::string_view::npos) return none;
  if (line.substr(gap + 1) != Str(Crc32c(line.substr(0, gap)))) return none;
  const Result<Json> note = ParseJson(std::string(line.substr(0, gap)));
  if (!note.ok() || !note->is_object()) return none;
  ReadMark mark = {.is_blank = false};
  JsonFields fields(*note, "note");
  fields.String("salts", mark.salts).Int("frames", mark.n_frames).Int("before", mark.before);
  fields.Int("page_at", mark.page_at).Int("page_bytes", mark.page_bytes);
  fields.Int("database_bytes", mark.database_bytes);
  const bool is_sound =
      fields.Done().ok() && mark.page_bytes >= 1 && mark.page_bytes <= kPageBytesMax;
  return is_sound ? mark : none;
}

}  // namespace

Status CommitMark::Check(const std::string& database_path) {
  ASSIGN_OR_RETURN(const ReadMark note, Read(database_path));
  if (note.salts.empty()) return Status();
  const auto is_untouched = [&] {  // since the note was written
    const auto now = ReadDatabase(database_path, note.page_at, note.page_bytes);
    return now.ok() && std::int64_t{now->sum} == note.before && now->n_bytes == note.database_bytes;
  };
  if (!is_untouched()) return Status();
  ASSIGN_OR_RETURN(const Log log, ReadLog(database_path));
  const bool is_same = log.salts == note.salts;
  if (is_same && log.n_frames >= note.n_frames) return Status();
  ASSIGN_OR_RETURN(const ReadMark note_after, Read(database_path));
  // A coordinator that starts or runs may move its log just now.
  if (note_after != note || !is_untouched()) return Status();
  const std::string path = LogOf(database_path);
  const std::string found = !PathExists(path) ? std::string(" is missing")
                            : is_same ? Str(" was cut short: it has ", log.n_frames, " of them")
                                      : std::string(" is another one, or its beginning is damaged");
  return Status(
      Code::kDataLoss,
      Str(note.n_frames, " pages were committed to the log of the database, but ", path, found,
          ". The database lacks the changes in these pages. Put the log back if you have it, or "
          "restore a backup (docs/operating.md). After restoring a backup, or to go on without the "
          "lost changes, remove ",
          PathOf(database_path), "; `longrun run` then measures the missing results again"));
}

Result<bool> CommitMark::IsDamaged(const std::string& database_path) {
  ASSIGN_OR_RETURN(const ReadMark mark, Read(database_path));
  return !mark.is_blank && mark.salts.empty();
}

Result<CommitMark> CommitMark::Open(const std::string& database_path) {
  const std::string path = PathOf(database_path);
  if (!PathExists(path)) RETURN_IF_ERROR(WriteFileAtomic(path, "", 0600));
  ASSIGN_OR_RETURN(OpenFile file, OpenFile::Open(path, OpenFile::Mode::kReadWrite));
  CommitMark mark(database_path, std::move(file));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, mark.file_.n_bytes());
  mark.is_noted_ = n_bytes > 0;
  RETURN_IF_ERROR(mark.Clear());
  return mark;
}

Result<std::optional<CommitMark::Base>> CommitMark::FindBase(sqlite3* db,
                                                             std::int64_t n_frames) const {
  ASSIGN_OR_RETURN(const Log log, ReadLog(database_path_));
  if (log.salts.empty() || n_frames < 1 || log.n_frames < n_frames) return std::optional<Base>();
  ASSIGN_OR_RETURN(const OpenFile file,
                   OpenFile::Open(LogOf(database_path_), OpenFile::Mode::kRead));
  const std::int64_t at = kLogHeaderBytes + (n_frames - 1) * (kFrameHeaderBytes + log.page_bytes);
  ASSIGN_OR_RETURN(const std::string frame,
                   file.ReadAt(at, static_cast<std::size_t>(kFrameHeaderBytes + log.page_bytes)));
  if (std::ssize(frame) < kFrameHeaderBytes + log.page_bytes) return std::optional<Base>();
  Base base = {.salts = log.salts,
               .page_at = (BigEndian(frame, 0) - 1) * log.page_bytes,
               .page_bytes = log.page_bytes};
  if (HexOf(std::string_view(frame).substr(kFrameSaltsAt, kSaltBytes)) != log.salts) {
    return std::optional<Base>();  // the frame is of an older log
  }
  ASSIGN_OR_RETURN(const InDatabase there, ReadDatabase(db, base.page_at, base.page_bytes));
  base.before = there.sum;
  base.database_bytes = there.n_bytes;
  const bool is_there = there.sum == Crc32c(std::string_view(frame).substr(kFrameHeaderBytes));
  return is_there ? std::optional<Base>() : std::optional(std::move(base));
}

Status CommitMark::Note(sqlite3* db, std::int64_t n_frames) {
  // Fewer frames: another program has moved the log, and it began again.
  if (n_frames <= n_frames_) base_.reset();
  n_frames_ = n_frames;
  if (!base_) {
    ASSIGN_OR_RETURN(base_, FindBase(db, n_frames));
    if (!base_) return Status();
  }
  const std::string note = CanonicalJson({{"salts", base_->salts},
                                          {"frames", n_frames},
                                          {"page_at", base_->page_at},
                                          {"page_bytes", base_->page_bytes},
                                          {"before", base_->before},
                                          {"database_bytes", base_->database_bytes}});
  std::string line = Str(note, " ", Crc32c(note), "\n");
  line.resize(kNoteBytes, ' ');
  is_noted_ = true;
  return file_.WriteAt(0, line);
}

Status CommitMark::Clear() {
  base_.reset();
  n_frames_ = 0;
  if (!std::exchange(is_noted_, false)) return Status();
  RETURN_IF_ERROR(file_.WriteAt(0, std::string(kNoteBytes, ' ')));
  return file_.Sync();  // else an old note could outlive the log after a loss of power
}

}  // namespace longrun::coordinator
