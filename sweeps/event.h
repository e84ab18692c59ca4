// The journal: the records of a trainer, one per line, append-only.
// Writer and reader are side by side.
//
//   {"body":{...},"kind":"result","seq":7,"step":null,"t_ms":...,"crc":"1a2b3c4d"}
//
// `crc` is the CRC32C, as 8 hex digits, of the bytes before `,"crc"`; the rest is canonical JSON.
// An incomplete last line is ignored forever. The kinds and their bodies: record.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "base/status.h"
#include "sweeps/limits.h"
#include "sweeps/record.h"

namespace longrun {

// Completes the line whose bytes before the crc are `prefix`:
// canonical JSON without its closing brace.
std::string CloseJournalLine(std::string_view prefix);
// Parses a line without its newline; checks its crc and form.
Result<JournalRecord> ParseJournalLine(std::string_view line);
// Returns the record's body as canonical JSON, or the errors of ParseJournalLine.
Result<std::string> BodyOfJournalLine(std::string_view line);

// The counts and the digest that the record `final` states about the records before it. The writer
// computes them, and so does the reader, to check `final`.
class JournalTally {
 public:
  void Add(RecordKind kind, std::string_view line);  // without its newline
  FinalRecord Final() const;

 private:
  std::map<RecordKind, std::int64_t> counts_;
  Sha256 result_digest_;
};

inline constexpr std::string_view kJournalName = "journal.jsonl";  // in an attempt's folder

// The only writer of a journal. Not thread-safe.
class JournalWriter {
 public:
  // The file must not exist yet (kAlreadyExists): a journal is never reopened by another process.
  static Result<JournalWriter> Create(const std::string& path);
  JournalWriter(JournalWriter&&) noexcept;
  JournalWriter& operator=(JournalWriter&&) noexcept;
  ~JournalWriter();

  // Appends one record; fdatasync at once after checkpoint, result, failed and final, else at most
  // every 200 ms. kResourceExhausted if the disk is full and stays so (or the error of
  // SetWaitForRoom), kInvalidArgument for a line over kJournalLineBytesMax; then the record is not
  // written, and the next record gets its number.
  Status Append(RecordKind kind, const Json& body, std::optional<std::int64_t> step = std::nullopt);
  template <typename Body>
  requires requires { Body::kKind; }
  Status Append(const Body& body, std::optional<std::int64_t> step = std::nullopt) {
    return Append(Body::kKind, body.ToJson(), step);
  }
  Status Sync();
  // Called while the disk is full, after each try to write a record, with its error; `is_first`
  // after the first one. Ok: it is tried again. Otherwise the record is given up with the returned
  // error. Without it, all are given up at once.
  using WaitForRoom = std::function<Status(const Status& full, bool is_first)>;
  void SetWaitForRoom(WaitForRoom wait) { wait_for_room_ = std::move(wait); }
  // Writes the `final` record about the records appended so far.
  Status Finish();
  std::int64_t last_seq() const { return last_seq_; }

 private:
  JournalWriter() = default;

  Status WriteAt(std::int64_t offset, std::string_view bytes, bool& is_first);
  // Ok if what failed with this errno should be tried again; otherwise the error to return.
  Status AwaitRoom(int error_number, std::string_view what, bool& is_first) const;

  std::string path_;           // for messages
  WaitForRoom wait_for_room_;  // may be empty
  int fd_ = -1;
  std::int64_t n_bytes_ = 0;  // of whole lines
  std::string unsynced_;      // the last of these, which no sync has covered yet
  bool has_sync_failed_ = false;
  std::int64_t last_seq_ = 0;
  std::int64_t synced_ms_ = 0;
  JournalTally tally_;
};

// Follows a journal that another process writes. Returns only complete lines; an incomplete last
// line is left for the next call, and a journal that does not exist yet has nothing new. A complete
// line that is broken (crc, form, seq out of order, too long) is kDataLoss: neither it nor any
// later line is ever returned.
class JournalReader {
 public:
  explicit JournalReader(std::string path) : path_(std::move(path)) {}

  struct Line {
    JournalRecord record;
    std::string bytes;  // without the newline
  };
  // Returns up to records_max further records of at most bytes_max bytes (but at least one record,
  // if there is one); none if there is nothing new.
  Result<std::vector<Line>> Next(std::size_t records_max, std::size_t bytes_max);
  // Continues after record `seq` (0: from the start). Records up to it are not parsed again: record
  // n is line n.
  void Rewind(std::int64_t seq);
  std::int64_t last_seq() const { return last_seq_; }
  std::int64_t offset() const { return offset_; }  // of the first byte not yet returned

 private:
  void PassLine(std::size_t n_bytes);  // without its newline

  std::string path_;
  std::int64_t offset_ = 0;    // of the first byte not yet returned
  std::int64_t last_seq_ = 0;  // returned or skipped
  std::int64_t skip_to_ = 0;   // records up to this one are not returned
  // Where some of the records end that were read before, by their number.
  std::map<std::int64_t, std::int64_t> ends_ = {{0, 0}};
};

}  // namespace longrun
