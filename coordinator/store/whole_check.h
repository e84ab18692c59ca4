// Checks that tables are complete, without trusting anything that may be damaged. A lookup by key
// or index shows only the rows that it can reach; with one flipped bit in a key or an index, a row
// exists but is not found. Removals depend on rows that are not found, so these tables are read
// completely first.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace longrun::coordinator {

class Connection;

// The first damaged object, for people.
struct Flaw {
  std::string object;  // "train task 5b0c77aa of run 3f2a91c0"
  std::string how;     // "does not match its stored checksum"
  std::string remedy;  // "restore a backup (docs/operating.md), or ..."
};

// The subject of a row of PRAGMA integrity_check, the least severe first. If a row has several
// lines, from the check of all pages, the worst counts.
enum class Complaint {
  kRow,        // a row's content, which its checksum judges
  kIndex,      // an index, which can be made again from the rows
  kOrder,      // the order of rows by keys; they can be written again (mend_rows.h)
  kStructure,  // cannot be repaired
};
Complaint ComplaintOf(std::string_view row);
// The first of its worst lines, for people. It translates SQLite's own name of an index:
// "index 1 of table task".
std::string PlainComplaint(std::string_view row);
// The first of the worst complaints about the table, or with "" about the whole database; kRow and
// "" where there is none. A wrong row is found by its checksum instead, and then only
// that row is left out.
Result<std::pair<Complaint, std::string>> WorstComplaint(Connection& connection,
                                                         const std::string& table = "");

// Checks that every row can be read and has its checksum, that rows are in the order of their keys,
// that indexes have exactly the rows of the table, and that everything to which a row refers
// exists. Reads each table for at most `limit_ms`.
Result<std::optional<Flaw>> FindFlaw(Connection& connection,
                                     std::span<const std::string_view> tables,
                                     std::int64_t limit_ms);

}  // namespace longrun::coordinator
