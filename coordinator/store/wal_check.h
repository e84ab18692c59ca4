// Whether the log beside a database (longrun.db-wal) still has all that was committed into it.
// SQLite reads it up to the first frame whose checksum does not hold and takes what follows for an
// unfinished write: one flipped bit would lose all later commits without a word.
//
// A frame's checksum covers all frames before it too, and a bit that flipped changes it in its own way: most
// bits can be found so and flipped back; of the 9 highest ones of each 32-bit word it tells only that one of
// them flipped, which is damage. A crash leaves an unfinished write at the end, so a frame that is wrong in
// any other way is damage when a whole transaction follows it: one, if the machine has not been started since
// the log was written, as a process that is killed leaves no gap; two, if it has, since a disk that loses
// power may keep the pages of its last write in any order. Several flipped bits in the last commit's own
// frame cannot be told from an unfinished one.
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
  // kDataLoss where there is damage besides: names the log, the byte from which it cannot be read,
  // how many commits follow and what to do.
  Status lost;
};

// For a database that no process has open. A log that is not there, or empty, has no flaws. The status is of
// reading the file.
Result<WalFlaws> FindWalFlaws(const std::string& database_path);

// The same; `same_start`: whether the log was written since the machine was started.
Result<WalFlaws> FindWalFlaws(const std::string& database_path, bool same_start);

// Flips such bits back, and adds to `repairs` what was done, for people. Where the log has other damage,
// nothing is changed and the error is WalFlaws::lost.
Status MendWal(const std::string& database_path, std::vector<std::string>& repairs);

}  // namespace longrun
