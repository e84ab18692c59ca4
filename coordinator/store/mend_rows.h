// Repairs damaged rows as far as that takes no guess. For a connection that does not write
// checksums yet (row_sum.h); tables without checksums stay unchanged. Each table is written in its
// own transaction.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

class Connection;

// A row whose key has a flipped bit is out of order: a search that meets it finds neither it nor
// the rows after it, and a row that is not found may be written a second time. A flipped bit in
// another unique column can give two rows the same value, which their index cannot hold. This
// function writes the rows of each such table again in the order of their keys, and damaged indexes
// from the rows. A row that does not match its checksum is repaired if the checksum identifies the
// flipped bit; else it stays damaged, with a free value if another row has its key. If two
// different valid rows have one key, the newer one counts if their rowids show which that is; the
// other stays as a damaged row. Damaged rows are reported, and nothing is lost silently. Both
// functions add descriptions of what they did to `repairs`.
Status PutInOrder(Connection& connection, std::vector<std::string>& repairs);

// Repairs the rows that do not match their checksums, if the checksum identifies the flipped bit:
// in place, or by writing the table again where a damaged key or index hides a row. Returns true if
// every row is valid, before or after. `only`: of this table, "" for all.
Result<bool> MendRows(Connection& connection, std::vector<std::string>& repairs,
                      std::string_view only = "");

}  // namespace longrun::coordinator
