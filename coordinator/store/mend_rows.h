// Repairs damaged rows as far as possible without guessing. For a connection that does not write
// checksums yet (row_sum.h); tables without checksums stay unchanged. Each table is written in its
// own transaction.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

class Connection;

// A row whose key has a flipped bit is out of order: a search that reaches this row finds neither
// it nor the rows after it. A row that is not found may be written a second time. A flipped bit in
// another unique column can give two rows the same value, which their index cannot hold. PutInOrder
// writes the rows of each such table again in the order of their keys, and rebuilds damaged indexes
// from the rows. A row that does not match its checksum is repaired if the checksum identifies the
// flipped bit. Otherwise it stays damaged, and gets a free key if another row has its key. If two
// different valid rows have the same key, the newer one counts if their rowids show which one that
// is; the other stays as a damaged row. Damaged rows are reported, and nothing is lost silently.
// Both functions add descriptions of what they did to `repairs`.
Status PutInOrder(Connection& connection, std::vector<std::string>& repairs);

// Repairs each row that does not match its checksum, if the checksum identifies the flipped bit: in
// place, or by writing the table again if a damaged key or index hides the row. Returns true if
// every row is now valid. `only`: repairs only this table; "" for all tables.
Result<bool> MendRows(Connection& connection, std::vector<std::string>& repairs,
                      std::string_view only = "");

}  // namespace longrun::coordinator
