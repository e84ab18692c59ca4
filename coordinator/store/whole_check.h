// Whether tables are whole, found without trusting what may be damaged. A lookup by key or index
// shows only rows that it can reach; one flipped bit in a key or an index, and a row is there and
// is not found. What is going to be removed is decided by what is not found, so these tables are
// read from end to end first.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace longrun {

class Connection;

// The first thing that is not whole, for people.
struct Flaw {
  std::string object;  // "train task 5b0c77aa of run 3f2a91c0"
  std::string how;     // "does not have the checksum that it is stored with"
  std::string remedy;  // "restore a backup (docs/operating.md), or ..."
};

// What a row of PRAGMA integrity_check is about, the least first. Of several lines, which the check of all
// pages has in one row, the worst counts.
enum class Complaint {
  kRow,        // what a row says, which its checksum judges
  kIndex,      // made again from the rows
  kOrder,      // of rows by their keys: written anew (mend_rows.h)
  kStructure,  // nobody can mend it
};
Complaint ComplaintOf(std::string_view row);
// The first of its worst lines, for people: SQLite's own name of an index says which table's it is,
// "index 1 of table task".
std::string PlainComplaint(std::string_view row);
// The first of the worst complaints about the table, or with "" about the whole database; kRow and "" where
// there is none. What a row says is judged by its checksum: then only that row stands still.
Result<std::pair<Complaint, std::string>> WorstComplaint(Connection& connection,
                                                         const std::string& table = "");

// Every row is read and has its checksum, rows are in the order of their keys, indexes have the
// rows that the table has, and what a row refers to is there. Reads each table for at most
// `limit_ms`.
Result<std::optional<Flaw>> FindFlaw(Connection& connection,
                                     std::span<const std::string_view> tables,
                                     std::int64_t limit_ms);

}  // namespace longrun
