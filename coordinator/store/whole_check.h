// Checks that tables are complete, without trusting anything that may be damaged. A lookup by key
// or index shows only the rows that it can reach: after a bit flips in a key or an index, a row may
// exist but not be found. A removal relies on a row not being found, so the tables are first read
// completely.
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

// The subject of a row of PRAGMA integrity_check, the least severe first. The check of all pages
// gives a row of several lines, of which the worst counts.
enum class Complaint {
  kRow,        // a row's content, which its checksum judges
  kIndex,      // an index, which can be made again from the rows
  kOrder,      // the order of rows by keys; they can be written again (mend_rows.h)
  kStructure,  // cannot be repaired
};
Complaint ComplaintOf(std::string_view row);
// The first of the row's worst lines, for people. SQLite's own name of an index is translated:
// "index 1 of table task".
std::string PlainComplaint(std::string_view row);
// The first of the worst complaints about the table, or about the whole database with "". Returns
// kRow and "" if there are no complaints, or only about the content of rows: a wrong row is found
// by its checksum, and then only that row is left out.
Result<std::pair<Complaint, std::string>> WorstComplaint(Connection& connection,
                                                         const std::string& table = "");

// Checks that every row can be read and has its checksum, that rows are in the order of their keys,
// that indexes have exactly the rows of the table, and that everything to which a row refers
// exists. Reads each table for at most `limit_ms`.
Result<std::optional<Flaw>> FindFlaw(Connection& connection,
                                     std::span<const std::string_view> tables,
                                     std::int64_t limit_ms);

}  // namespace longrun::coordinator
