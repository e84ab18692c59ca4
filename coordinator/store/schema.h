// Checks that the tables, indexes and views of a database are those of its migrations. Their
// definitions are text in the file: one flipped bit can make a view show another column.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {

struct SchemaDifference {
  std::string type;  // "table", "index", "view"
  std::string name;
  std::string sql;  // the correct definition
};

// The differences between a database and schema version `version`. Ignores additional objects.
Result<std::vector<SchemaDifference>> DifferencesOfSchema(Connection& connection,
                                                          std::int64_t version);

// A column that somebody added to one of our tables. No row of the table then matches its checksum.
struct AddedColumn {
  std::string table;
  std::string name;
};
// Returns none for a table that lacks a column of ours, since that table is damaged.
Result<std::vector<AddedColumn>> FindAddedColumns(Connection& connection, std::int64_t version);
// "remove it (`sqlite3 longrun.db '...'`)"
std::string RemedyFor(const AddedColumn& column);
// kFailedPrecondition, with the remedy, if there is such a column.
Status CheckAddedColumns(Connection& connection, std::int64_t version);

// The header of the file has no checksum. So its content (the application id and the schema
// version) is compared with the file's tables, including table meta. kDataLoss if they do not
// agree, kFailedPrecondition for the file of another program or of a newer release.
Status CheckHeader(Connection& connection, const std::string& path, std::int64_t newest);
std::string HeaderOf(std::int64_t version);  // statements that write it

// Creates damaged views and indexes again, since they contain nothing that tables do not contain.
// kDataLoss if a table differs. If the definitions have the checksum that NoteSchema stored,
// returns at once.
Status MendSchema(Connection& connection, const std::string& path, std::int64_t version,
                  std::vector<std::string>& repairs);
Status NoteSchema(Connection& connection, std::int64_t version);
// Whether SQLite can read the definitions, and they have the checksum that NoteSchema stored. The
// check is quick. Also false for a new database, which has no checksum yet.
bool DefinitionsHold(Connection& connection);
// For readers beside a running coordinator, which repairs definitions only when it starts.
// kDataLoss, with the remedy, if the definition of one of our objects is damaged; otherwise the
// errors of CheckAddedColumns.
Status CheckDefinitions(Connection& connection);

// An empty database in memory with schema version `version`.
Result<std::unique_ptr<Connection>> NewDatabase(std::int64_t version);

}  // namespace longrun::coordinator
