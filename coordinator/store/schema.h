// Whether the tables, indexes and views of a database are those that its migrations made. Their
// definitions are text in the file: one flipped bit can make a view show another column.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/store/sqlite.h"

namespace longrun {

struct SchemaDifference {
  std::string type;  // "table", "index", "view"
  std::string name;
  std::string sql;  // as it has to be
};

// Of a database of schema version `version`. What somebody added is none of our business.
Result<std::vector<SchemaDifference>> DifferencesOfSchema(Connection& connection,
                                                          std::int64_t version);

// The header of the file has no checksum: what it says (whose file it is, and of which schema
// version) is compared with the tables and with table meta. kDataLoss where it does not agree with
// them, kFailedPrecondition for the file of another program or of a newer release.
Status CheckHeader(Connection& connection, const std::string& path, std::int64_t newest);
std::string HeaderOf(std::int64_t version);  // statements that write it

// Makes views and indexes again, which have nothing that tables do not have. kDataLoss: a table
// differs. Where the definitions have the checksum that NoteSchema stored, there is nothing to do,
// which is quick.
Status MendSchema(Connection& connection, const std::string& path, std::int64_t version,
                  std::vector<std::string>& repairs);
Status NoteSchema(Connection& connection, std::int64_t version);

}  // namespace longrun
