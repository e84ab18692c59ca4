// Checks that the log beside a database (longrun.db-wal) still has everything that was committed to
// it. SQLite reads the log up to the first frame whose checksum is wrong, and takes the rest for an
// unfinished write. So one flipped bit would silently lose all later commits.
//
// A frame's checksum also covers all frames before it, and shows whether a single bit flipped. The
// checksum identifies the bit, which is then flipped back, unless it is one of the highest bits of
// a 32-bit word (with pages of 4096 bytes, the highest 9). Such a frame counts as damaged. Two
// flipped bits can look like another single one, so a repaired database must be checked.
//
// A crash leaves an unfinished write at the end. So a frame whose checksum is wrong in any other
// way counts as damaged only if whole transactions follow it. One is enough if the machine has not
// been started since the log was written, because a killed process leaves no gap. Otherwise two are
// needed, because a disk that loses power may keep the pages of its last write in any order. So
// several flipped bits in the last frame of the last commit look like an unfinished write. After
// another start of the machine, so do flipped bits in the rest of that commit and in the last frame
// of the commit before it.
//
// After a checkpoint, pages of the log are in the database too. If the database still has the page
// of a damaged frame (the frame's checksum shows whether it is the same), the frame is written
// again from there, however many of its bits are damaged. If a later frame has replaced the page,
// and the database has all pages as the log's last commit left them, the log is not needed.
//
// Format: https://www.sqlite.org/fileformat2.html (4, "The Write-Ahead Log").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

// A byte of the log as it was before one of its bits flipped.
struct WalByte {
  std::int64_t offset = 0;
  char was = 0;
  bool operator==(const WalByte&) const = default;
};

// A page of the log as it was before it was damaged.
struct WalPage {
  std::int64_t offset = 0;
  std::string was;
};

struct WalFlaws {
  std::vector<WalByte> flipped;
  // The pages of other damaged frames, as the database has them.
  std::vector<WalPage> in_database;
  // The byte at which the log is damaged, if the database has everything that was committed to the
  // log. Emptying the log then loses nothing, and `lost` is ok.
  std::optional<std::int64_t> needless_from;
  // kDataLoss if there is other damage; it names the log, the byte from which it cannot be read,
  // how many commits follow, and what to do.
  Status lost;
};

// For a database that no process has open, this one included. A missing or empty log has no flaws.
// The returned error is only one of reading the files.
Result<WalFlaws> FindWalFlaws(const std::string& database_path);

// The same; `same_start`: whether the log was written since the machine was started.
Result<WalFlaws> FindWalFlaws(const std::string& database_path, bool same_start);

// Writes the bytes and pages of WalFlaws back, or empties a damaged log that is not needed, and
// adds descriptions to `repairs`. If the log has other damage, it changes nothing and returns
// WalFlaws::lost; kUnavailable if another process has the database open. This process must not have
// it open.
Status MendWal(const std::string& database_path, std::vector<std::string>& repairs);

}  // namespace longrun::coordinator
