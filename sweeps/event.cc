// The journal's writer and reader.
//
// A line is canonical JSON whose last member is the crc: PREFIX ,"crc":"1a2b3c4d"} with PREFIX the
// JSON of the other members without its closing brace.
#include "sweeps/event.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/files.h"
#include "base/plain_json.h"
#include "base/shortage.h"
#include "base/str.h"
#include "sweeps/fields.h"

namespace longrun {
namespace {

constexpr std::string_view kCrcOpen = ",\"crc\":\"";
constexpr std::string_view kCrcClose = "\"}";
constexpr std::size_t kCrcBytes = kCrcOpen.size() + 8 + kCrcClose.size();
constexpr std::int64_t kSyncEveryMs = 200;
constexpr std::int64_t kRecordsPerMark = 1024;  // at most so many are read again after a rewind

std::string CrcHex(std::string_view bytes) {
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(Crc32c(bytes)));
  return digits;
}

// The last member of a line and its closing brace.
std::string CrcMember(std::string_view prefix) { return Str(kCrcOpen, CrcHex(prefix), kCrcClose); }

bool IsSyncedAtOnce(RecordKind kind) {
  return kind == RecordKind::kCheckpoint || kind == RecordKind::kResult ||
         kind == RecordKind::kFailed || kind == RecordKind::kFinal;
}

Status Broken(std::string_view what) { return Status(Code::kDataLoss, std::string(what)); }

}  // namespace

std::string CloseJournalLine(std::string_view prefix) { return Str(prefix, CrcMember(prefix)); }

namespace {

// The record of a line without its crc, which is checked first.
Result<std::string> RecordOfLine(std::string_view line) {
  if (line.size() > kJournalLineBytesMax) {
    return Broken(Str("a journal line has ", line.size(), " bytes; at most ", kJournalLineBytesMax,
                      " are allowed"));
  }
  if (line.size() <= kCrcBytes) return Broken("a journal line has no crc");
  const std::string_view prefix = line.substr(0, line.size() - kCrcBytes);
  if (line.substr(prefix.size()) != CrcMember(prefix)) {
    return Broken(
        Str("the crc of a journal line does not match; the line should end in ", CrcHex(prefix)));
  }
  return Str(prefix, "}");
}

// Whether a member's canonical text is an integer of at least `least`.
bool IsInt(std::string_view text, std::int64_t least) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && last == end && number >= least;
}

// The body of a record as our writer makes it, found without building the JSON;
// nullopt for any other record.
std::optional<std::string_view> PlainBody(std::string_view record) {
  constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::min();
  constexpr std::string_view kNames[] = {"body", "kind", "seq", "step", "t_ms"};
  const std::optional<MemberTexts> members = PlainMembers(record);
  if (!members || !std::ranges::equal(*members, kNames, {}, &MemberTexts::value_type::first)) {
    return std::nullopt;
  }
  const auto text = [&](std::size_t i) { return (*members)[i].second; };
  const bool is_record = text(0).starts_with('{') && text(1).starts_with('"') &&
                         FindEnum<RecordKind>(text(1).substr(1, text(1).size() - 2)) &&
                         IsInt(text(2), 1) && (text(3) == "null" || IsInt(text(3), kAny)) &&
                         IsInt(text(4), kAny);
  return is_record ? std::optional(text(0)) : std::nullopt;
}

// A record before its body is read.
struct RawRecord {
  JournalRecord record;  // without its body
  Json body;
};

Result<RawRecord> ParseRecord(std::string_view text) {
  Result<Json> json = ParseJson(text);
  if (!json.ok()) return Broken(Str("a journal line: ", json.status().message()));
  RawRecord raw;
  // Taken out first, since it may be large and `Member` copies.
  if (json->is_object() && json->contains("body")) raw.body = std::move(json->at("body"));
  std::string kind_name;
  Json step, taken;
  JsonFields fields(*json, "record");
  fields.Int("seq", raw.record.seq).String("kind", kind_name).Int("t_ms", raw.record.t_ms);
  fields.Member("step", step).Member("body", taken);
  if (Status status = fields.Done(); !status.ok()) return Broken(status.message());
  if (!step.is_null()) {
    Result<std::int64_t> number = GetInt(*json, "step", "record");
    if (!number.ok()) return Broken(number.status().message());
    raw.record.step = *number;
  }
  const std::optional<RecordKind> kind = FindEnum<RecordKind>(kind_name);
  if (raw.record.seq < 1 || !kind || !raw.body.is_object()) {
    return Broken(Str("a journal record with seq ", raw.record.seq, ", kind \"", kind_name,
                      "\" and a body of type ", raw.body.type_name(),
                      ": expected 1 or more, a known kind, and an object"));
  }
  raw.record.kind = *kind;
  return raw;
}

}  // namespace

Result<JournalRecord> ParseJournalLine(std::string_view line) {
  ASSIGN_OR_RETURN(const std::string text, RecordOfLine(line));
  ASSIGN_OR_RETURN(RawRecord raw, ParseRecord(text));
  raw.record.body = ParseRecordBody(raw.record.kind, raw.record.step, std::move(raw.body));
  return std::move(raw.record);
}

Result<std::string> BodyOfJournalLine(std::string_view line) {
  ASSIGN_OR_RETURN(const std::string text, RecordOfLine(line));
  if (const auto plain = PlainBody(text)) return std::string(*plain);
  ASSIGN_OR_RETURN(const RawRecord raw, ParseRecord(text));
  return CanonicalJson(raw.body);
}

// ---- tally -------------------------------------------------------------------------------------

void JournalTally::Add(RecordKind kind, std::string_view line) {
  ++counts_[kind];
  if (kind == RecordKind::kResult) {
    result_digest_.Update(line);
    result_digest_.Update("\n");
  }
}

FinalRecord JournalTally::Final() const {
  Json counts = Json::object();
  for (const auto& [kind, count] : counts_) counts[EnumName(kind)] = count;
  Sha256 digest = result_digest_;
  return {.counts = std::move(counts), .digest = digest.FinishHex()};
}

// ---- writer ------------------------------------------------------------------------------------

Result<JournalWriter> JournalWriter::Create(const std::string& path) {
  JournalWriter writer;
  writer.path_ = path;
  writer.fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (writer.fd_ < 0) return ErrnoStatus(errno, Str("cannot create the journal ", path));
  RETURN_IF_ERROR(SyncFolder(FolderOf(path)));
  return writer;
}

JournalWriter::JournalWriter(JournalWriter&& other) noexcept
    : path_(std::move(other.path_)),
      wait_for_room_(std::move(other.wait_for_room_)),
      fd_(std::exchange(other.fd_, -1)),
      n_bytes_(other.n_bytes_),
      unsynced_(std::move(other.unsynced_)),
      has_sync_failed_(other.has_sync_failed_),
      last_seq_(other.last_seq_),
      synced_ms_(other.synced_ms_),
      tally_(std::move(other.tally_)) {}

JournalWriter& JournalWriter::operator=(JournalWriter&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  path_ = std::move(other.path_);
  wait_for_room_ = std::move(other.wait_for_room_);
  fd_ = std::exchange(other.fd_, -1);
  n_bytes_ = other.n_bytes_;
  unsynced_ = std::move(other.unsynced_);
  has_sync_failed_ = other.has_sync_failed_;
  last_seq_ = other.last_seq_;
  synced_ms_ = other.synced_ms_;
  tally_ = std::move(other.tally_);
  return *this;
}

JournalWriter::~JournalWriter() {
  if (fd_ >= 0) ::close(fd_);
}

Status JournalWriter::Append(RecordKind kind, const Json& body, std::optional<std::int64_t> step) {
  LR_CHECK(fd_ >= 0 && body.is_object());
  std::string line = CanonicalJson(Json{{"body", body},
                                        {"kind", EnumName(kind)},
                                        {"seq", last_seq_ + 1},
                                        {"step", step ? Json(*step) : Json()},
                                        {"t_ms", WallMs()}});
  line.pop_back();
  line = CloseJournalLine(line);
  if (line.size() > kJournalLineBytesMax) {
    return Status(Code::kInvalidArgument,
                  Str("a ", EnumName(kind), " record has ", line.size(),
                      " bytes; a journal line may have at most ", kJournalLineBytesMax));
  }
  line += '\n';
  bool is_first = true;
  RETURN_IF_ERROR(WriteAt(n_bytes_, line, is_first));
  n_bytes_ += static_cast<std::int64_t>(line.size());
  unsynced_ += line;
  last_seq_ += 1;
  tally_.Add(kind, std::string_view(line).substr(0, line.size() - 1));
  const bool due = BootMs() - synced_ms_ >= kSyncEveryMs;
  return due || IsSyncedAtOnce(kind) ? Sync() : Status();
}

Status JournalWriter::Sync() {
  bool is_first = true;
  while (true) {
    // After a sync that failed, Linux may take the pages for written, and the next sync would
    // succeed without them.
    if (has_sync_failed_) {
      const std::int64_t begin = n_bytes_ - static_cast<std::int64_t>(unsynced_.size());
      RETURN_IF_ERROR(WriteAt(begin, unsynced_, is_first));
    }
    has_sync_failed_ = ::fdatasync(fd_) != 0;
    if (!has_sync_failed_) break;
    RETURN_IF_ERROR(AwaitRoom(errno, "cannot sync the journal ", is_first));
  }
  unsynced_.clear();
  synced_ms_ = BootMs();
  return Status();
}

// At a fixed offset, so that after a full disk the next record overwrites the torn one.
Status JournalWriter::WriteAt(std::int64_t offset, std::string_view bytes, bool& is_first) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      RETURN_IF_ERROR(AwaitRoom(n < 0 ? errno : ENOSPC, "cannot write the journal ", is_first));
      continue;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += n;
  }
  return Status();
}

Status JournalWriter::AwaitRoom(int error_number, std::string_view what, bool& is_first) const {
  Status error = ErrnoStatus(error_number, Str(what, path_));
  if (ShortageOf(error_number) != Shortage::kDisk || !wait_for_room_) return error;
  return wait_for_room_(error, std::exchange(is_first, false));
}

Status JournalWriter::Finish() { return Append(tally_.Final()); }

// ---- reader ------------------------------------------------------------------------------------

Result<std::vector<JournalReader::Line>> JournalReader::Next(std::size_t records_max,
                                                             std::size_t bytes_max) {
  std::vector<Line> lines;
  const Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open() && errno == ENOENT && offset_ == 0) return lines;
  if (!file.is_open()) return ErrnoStatus(errno, Str("cannot open the journal ", path_));
  struct stat about = {};
  if (::fstat(file.get(), &about) != 0) return ErrnoStatus(errno, Str("cannot read ", path_));
  if (about.st_size < offset_) {
    return Broken(Str("the journal ", path_, " has ", about.st_size, " bytes, but ", offset_,
                      " were read before: it was truncated"));
  }

  std::string buffer;  // the bytes from offset_ on
  std::size_t n_given = 0;
  std::array<char, 1u << 16> chunk;
  while (true) {
    std::size_t begin = 0;
    for (std::size_t end; (end = buffer.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string_view bytes(buffer.data() + begin, end - begin);
      if (last_seq_ < skip_to_) {
        PassLine(bytes.size());
        continue;
      }
      const bool full = lines.size() >= records_max || n_given + bytes.size() > bytes_max;
      if (full && !(lines.empty() && records_max > 0)) return lines;
      Result<JournalRecord> record = ParseJournalLine(bytes);
      if (record.ok() && record->seq != last_seq_ + 1) {
        record = Broken(Str("record ", record->seq, " was found where record ", last_seq_ + 1,
                            " was expected"));
      }
      if (!record.ok()) {
        if (!lines.empty()) return lines;  // the next call starts at this line and reports it
        return std::move(record).status().In(Str(path_, " at byte ", offset_));
      }
      PassLine(bytes.size());
      n_given += bytes.size();
      lines.push_back({.record = std::move(record).value(), .bytes = std::string(bytes)});
    }
    buffer.erase(0, begin);
    if (buffer.size() > kJournalLineBytesMax) {
      if (!lines.empty()) return lines;
      return Broken(Str(path_, " at byte ", offset_, ": a line of more than ", kJournalLineBytesMax,
                        " bytes"));
    }
    const ssize_t n =
        ::pread(file.get(), chunk.data(), chunk.size(),
                static_cast<off_t>(offset_ + static_cast<std::int64_t>(buffer.size())));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot read the journal ", path_));
    if (n == 0) return lines;
    buffer.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

void JournalReader::PassLine(std::size_t n_bytes) {
  offset_ += static_cast<std::int64_t>(n_bytes) + 1;
  last_seq_ += 1;
  if (last_seq_ % kRecordsPerMark == 0) ends_.emplace(last_seq_, offset_);
}

void JournalReader::Rewind(std::int64_t seq) {
  skip_to_ = seq;
  if (seq == last_seq_) return;
  std::tie(last_seq_, offset_) = *std::prev(ends_.upper_bound(seq));
}

}  // namespace longrun
