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
// neither it nor what lies behind it, and a row that is not found may be written a second time. A flipped
// bit in another unique column can give two rows the same value, of which no index can be made. Writes the
// rows of each such table anew, in the order of their keys, and damaged indexes from the rows. A row that does not hold is mended where its
// checksum tells the bit that flipped; else it stays, damaged, and with a free value where another row has
// its key. Of two different rows that hold and have one key, the newer one counts where their rowids tell;
// the other stays as a damaged row. Damaged rows are told, and nothing is lost in silence. Both add to `repairs` what they did, for
// people.
Status PutInOrder(Connection& connection, std::vector<std::string>& repairs);

// Writes anew the tables of which a row does not hold and its checksum tells the bit that flipped. True
// when every row of every table holds, before or after. `only`: this table, "" for all.
Result<bool> MendRows(Connection& connection, std::vector<std::string>& repairs,
                      std::string_view only = "");

}  // namespace longrun
