// Damaged rows, mended where that can be done without a guess. For a connection that keeps no
// checksums yet (row_sum.h); tables without checksums stay as they are. Each table is written in a
// transaction of its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

class Connection;

// A row whose key has a flipped bit may lie where its key does not belong: a search that meets it finds
// neither it nor the rows after it, and a row that is not found may be written a second time. A flipped
// bit in another unique column can give two rows the same value, of which no index can be made. Each such
// table is written anew in the order of its keys; damaged indexes are made again from the rows.
// - A row that does not hold is mended if its checksum tells the bit that flipped. Otherwise it stays
//   damaged, and gets a free value if another row has its key.
// - Of two different rows that hold and have one key, the newer one counts if the table has rowids to tell;
//   the other one stays as a damaged row.
// Damaged rows are reported as always, so nothing is lost in silence. This and MendRows add to `repairs` what
// they did, for people.
Status PutInOrder(Connection& connection, std::vector<std::string>& repairs);

// Mends the rows that do not hold and whose checksums tell the bit that flipped: in place, or by writing the
// table anew where a damaged key or index hides one. True when every row holds, before or after. `only`: of
// this table, "" for all.
Result<bool> MendRows(Connection& connection, std::vector<std::string>& repairs,
                      std::string_view only = "");

}  // namespace longrun
