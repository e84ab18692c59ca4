// Whether the log beside a database (longrun.db-wal) still has all that was committed into it.
// SQLite reads it up to the first frame whose checksum does not hold and takes what follows for an
// unfinished write: one flipped bit would lose all later commits without a word.
//
// A crash leaves an unfinished write at the end. A bad frame is damage when a whole transaction
// follows it: one, if the machine has not been started since the log was written, as a process that
// is killed leaves no gap; two, if it has, since a disk that loses power may keep the pages of its
// last write in any order. The last commit's own frame cannot be told from an unfinished one.
// Format: https://www.sqlite.org/fileformat2.html (4, "The Write-Ahead Log").
#pragma once

#include <string>

#include "base/status.h"

namespace longrun {

// kDataLoss names the log, the byte from which it cannot be read, how many commits follow and what
// to do. A log that is not there, or empty, is whole. For a database that no process has open.
Status CheckWal(const std::string& database_path);

// As CheckWal, for a log that lies in memory. `same_start`: written since the machine was started.
Status CheckWalBytes(const std::string& wal_path, const std::string& bytes, bool same_start);

}  // namespace longrun
