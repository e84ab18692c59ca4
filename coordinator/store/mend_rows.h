// Damaged rows, mended where that can be done without a guess. For a connection that keeps no
// checksums yet (row_sum.h); tables without checksums stay as they are.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

class Connection;

// A row whose key has a flipped bit may lie where its key does not belong: a search that meets it finds
// neither it nor what lies behind it, and SQLite writes nothing near it. A flipped bit in another unique
// column can give two rows the same value, of which no index can be made. Writes the rows of each such
// table anew, in the order of their keys. A row that does not hold is mended where its checksum tells
// the bit that flipped; else it stays, damaged, and with a free value where another row has its key: it
// is told as every damaged row is, and nothing is lost in silence. Both add to `repairs` what they did, for
// people.
Status PutInOrder(Connection& connection, std::vector<std::string>& repairs);

// Writes anew the tables of which a row does not hold and its checksum tells the bit that flipped. True
// when every row of every table holds, before or after.
Result<bool> MendRows(Connection& connection, std::vector<std::string>& repairs);

}  // namespace longrun
