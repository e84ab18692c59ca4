// Checks that the log beside a database (longrun.db-wal) still has everything that was committed to it.
// SQLite reads it up to the first frame whose checksum is wrong and takes the rest for an unfinished write:
// one flipped bit would silently lose all later commits.
//
// A frame's checksum also covers all frames before it, and shows that a single bit flipped. It
// identifies the bit, which is then flipped back, unless it is one of the highest bits of a 32-bit
// word (9 in a page of 4096 bytes): that is damage. Two flipped bits can look like another single
// one, so check a repaired database.
//
// A crash leaves an unfinished write at the end. So a frame whose checksum is wrong in any other way
// is damage only if a whole transaction follows it: one, if the machine has not been started since
// the log was written, because a killed process leaves no gap; two otherwise, because a disk that
// loses power may keep the pages of its last write in any order. Several flipped bits in the last
// frame of the last commit look like an unfinished write; after another start of the machine, so do
// those in the rest of that commit and in the last frame of the commit before.
//
// Format: https://www.sqlite.org/fileformat2.html (4, "The Write-Ahead Log").
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

// A byte of the log as it was before one of its bits flipped.
struct WalByte {
  std::int64_t offset = 0;
  char was = 0;
  bool operator==(const WalByte&) const = default;
};

struct WalFlaws {
  std::vector<WalByte> flipped;
  // kDataLoss if there is other damage; it names the log, the byte from which it cannot be read,
  // how many commits follow, and what to do.
  Status lost;
};

// For a database that no process has open. A missing or empty log has no flaws. The status is that of reading
// the file.
Result<WalFlaws> FindWalFlaws(const std::string& database_path);

// The same; `same_start`: whether the log was written since the machine was started.
Result<WalFlaws> FindWalFlaws(const std::string& database_path, bool same_start);

// Flips such bits back, and adds a description of each to `repairs`. If the log has other damage, it changes
// nothing and returns WalFlaws::lost; kUnavailable if another process has the database open. This process must
// not have it open.
Status MendWal(const std::string& database_path, std::vector<std::string>& repairs);

}  // namespace longrun
