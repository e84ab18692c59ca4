// A note beside the database (longrun.db-mark) of how much was committed to its log. The log itself
// cannot show that its end, or all of it, is missing: SQLite assumes that everything that was
// committed is still there.
//
// The note is written after each commit, without waiting for the disk. The log has reached the disk
// by then, so after a kill or a loss of power it never has less than the newest note that survived.
// The note names a page that was only in the log, with the checksum of the bytes that the database
// had in that page's place. If the database has other bytes there, the log was moved into it or it
// was replaced by another database, and the note no longer counts.
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
  // Changes nothing. Ok if the note is missing, blank or damaged.
  static Status Check(const std::string& database_path);

  // Whether the file has other bytes than a note or the blanks that replace it, so that Check()
  // could not look for a lost log.
  static Result<bool> IsDamaged(const std::string& database_path);

  // Creates the file if necessary, and clears an earlier note.
  static Result<CommitMark> Open(const std::string& database_path);

  // Called after a commit on `db`; the log now has `n_frames` frames.
  Status Note(sqlite3* db, std::int64_t n_frames);
  // Called before the log is moved into the database.
  Status Clear();

 private:
  // The part of the note that stays the same until the log is moved.
  struct Base {
    std::string salts;         // of the log, 16 hex digits
    std::int64_t page_at = 0;  // byte in the database
    std::int64_t page_bytes = 0;
    std::uint32_t before = 0;  // CRC-32C of these bytes; bytes after the database's end are zeros
    std::int64_t database_bytes = 0;
  };

  CommitMark(std::string database_path, OpenFile file)
      : database_path_(std::move(database_path)), file_(std::move(file)) {}
  // The base for the newest frame; nullopt if the database already has the frame's page.
  Result<std::optional<Base>> FindBase(sqlite3* db, std::int64_t n_frames) const;

  std::string database_path_;
  OpenFile file_;
  std::optional<Base> base_;
  std::int64_t n_frames_ = 0;  // in the last note
  bool is_noted_ = false;
};

}  // namespace longrun::coordinator
