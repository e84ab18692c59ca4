// A note beside the database (longrun.db-mark) of how much was committed to its log. The log itself
// cannot say that its end, or all of it, is missing: SQLite takes what it finds for everything that
// was committed.
//
// The note is written after each commit, without waiting for the disk. The log has reached the disk
// by then, so after a kill or a loss of power it never has less than the newest note that survived.
// The note no longer counts once the log was moved into the database, or another database was put
// in its place: it names a page that was only in the log, with the checksum of what the database
// had there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/open_file.h"
#include "base/status.h"

struct sqlite3;

namespace longrun::coordinator {

class CommitMark {
 public:
  // kDataLoss if the log of the database has less than was noted; the message says how to go on.
  // Changes nothing. A missing or unreadable note claims nothing.
  static Status Check(const std::string& database_path);

  // Makes the file. What was noted before no longer counts.
  static Result<CommitMark> Open(const std::string& database_path);

  // After a commit on `db`: the log now has `n_frames`.
  Status Note(sqlite3* db, std::int64_t n_frames);
  // Before the log is moved into the database.
  Status Clear();

 private:
  // What cannot change until the log is moved.
  struct Base {
    std::string salts;         // of the log, 16 hex digits
    std::int64_t page_at = 0;  // byte in the database
    std::int64_t page_bytes = 0;
    std::uint32_t before = 0;  // CRC-32C of what the database has there; zeros after its end
    std::int64_t database_bytes = 0;
  };

  CommitMark(std::string database_path, OpenFile file)
      : database_path_(std::move(database_path)), file_(std::move(file)) {}
  // Of the newest frame; nothing if the database already has its page.
  Result<std::optional<Base>> FindBase(sqlite3* db, std::int64_t n_frames) const;

  std::string database_path_;
  OpenFile file_;
  std::optional<Base> base_;
  std::int64_t n_frames_ = 0;  // as noted last
  bool is_noted_ = false;
};

}  // namespace longrun::coordinator
