// See schema.h.
#include "coordinator/store/schema.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "base/utf8.h"
#include "base/version.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/migrations.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kApplicationId = 0x6c72756e;  // "lrun"

using Definitions = std::map<std::pair<std::string, std::string>, std::string>;  // by type and name

Result<Definitions> DefinitionsOf(Connection& connection) {
  Definitions definitions;
  RETURN_IF_ERROR(ForEach(connection,
                          "SELECT type, name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL",
                          [&](const Statement& row) {
                            definitions[{row.Text(0), row.Text(1)}] = row.Text(2);
                          }));
  return definitions;
}

std::string ChecksumOf(const Definitions& definitions) {
  std::string all;
  for (const auto& [object, sql] : definitions) {
    all += Str(object.first, "\n", object.second, "\n", sql, "\n");
  }
  return Sha256Hex(all);
}

// "" if there is none yet.
Result<std::string> StoredChecksum(Connection& connection) {
  return connection.ReadText(
      "SELECT coalesce((SELECT value FROM main.meta WHERE key = 'definitions_sha256'), '')");
}

using Columns = std::map<std::string, std::vector<std::string>>;  // of our tables, hidden ones too

Result<Columns> ColumnsOf(Connection& connection) {
  Columns columns;
  RETURN_IF_ERROR(ForEach(connection,
                          "SELECT made.name, has.name FROM main.sqlite_schema AS made,"
                          " pragma_table_xinfo(made.name, 'main') AS has WHERE made.type = 'table'",
                          [&](const Statement& row) {
                            if (IsOurTable(row.Text(0)))
                              columns[row.Text(0)].push_back(row.Text(1));
                          }));
  return columns;
}

Result<Definitions> DefinitionsOfVersion(std::int64_t version) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> made, NewDatabase(version));
  return DefinitionsOf(*made);
}

// The tables of the first release, which every later one has.
Result<bool> HasOurTables(Connection& connection) {
  ASSIGN_OR_RETURN(const std::int64_t n_ours,
                   connection.ReadInt("SELECT count(*) FROM main.sqlite_schema WHERE type = 'table'"
                                      " AND name IN ('meta', 'sweep', 'run', 'task', 'attempt',"
                                      " 'record', 'result')"));
  return n_ours == 7;
}

// Releases with later versions write the version into table meta, too.
constexpr std::int64_t kLastOnlyInHeader = 10;

// Checks the version by the tables if table meta does not have it, or has it damaged.
Status CheckVersionByTables(Connection& connection, const std::string& path, std::int64_t version,
                            std::int64_t newest) {
  const auto damaged = [&](std::string_view what) {
    return DamagedDatabase(path, Str("its header says schema version ", version, ", but ", what));
  };
  if (version > kLastOnlyInHeader) {
    ASSIGN_OR_RETURN(const bool is_without, IsWithoutSchemaVersion(connection));
    if (is_without)
      return damaged(
          "its table meta has no schema version, although every database of that version has one "
          "there");
  }
  if (version > newest) {
    ASSIGN_OR_RETURN(const Definitions found, DefinitionsOf(connection));
    ASSIGN_OR_RETURN(const Definitions ours, DefinitionsOfVersion(newest));
    return found == ours ? damaged(Str("its tables are those of version ", newest)) : Status();
  }
  if (version == newest) return Status();  // MendSchema checks its tables
  ASSIGN_OR_RETURN(const std::vector<SchemaDifference> differences,
                   DifferencesOfSchema(connection, version));
  const bool differs = std::ranges::any_of(
      differences, [](const SchemaDifference& object) { return object.type == "table"; });
  return differs ? damaged("its tables are those of another version") : Status();
}

}  // namespace

Status CheckHeader(Connection& connection, const std::string& path, std::int64_t newest) {
  ASSIGN_OR_RETURN(const std::int64_t application_id, connection.ReadInt("PRAGMA application_id"));
  ASSIGN_OR_RETURN(const std::int64_t version, connection.ReadInt("PRAGMA user_version"));
  // The first query that reads more than the header: it fails if the file was truncated.
  ASSIGN_OR_RETURN(const std::int64_t n_tables,
                   connection.ReadInt("SELECT count(*) FROM sqlite_schema"));
  const bool is_new = application_id == 0 && version == 0 && n_tables == 0;
  if (is_new) return Status();
  ASSIGN_OR_RETURN(const bool has_our_tables, HasOurTables(connection));
  if (application_id != kApplicationId) {
    if (has_our_tables) {
      return DamagedDatabase(
          path, Str("its tables are longrun's, but its header has application_id ", application_id,
                    " instead of ", kApplicationId));
    }
    return Status(Code::kFailedPrecondition,
                  Str(path, " is not a longrun database: use another state folder"));
  }
  if (version <= 0) return DamagedDatabase(path, Str("its header says schema version ", version));
  RETURN_IF_ERROR(connection.FindRowSums());
  ASSIGN_OR_RETURN(const std::int64_t in_meta, SchemaVersionInMeta(connection));
  if (in_meta != 0 && in_meta != version) {
    return DamagedDatabase(path, Str("its header says schema version ", version,
                                     ", but its own record (table meta) says ", in_meta));
  }
  if (in_meta == 0) RETURN_IF_ERROR(CheckVersionByTables(connection, path, version, newest));
  if (version <= newest) return Status();
  return Status(
      Code::kFailedPrecondition,
      Str("the database ", path, " has schema version ", version, ", but this program (", kVersion,
          ") knows versions up to ", newest, ": use the newer release that wrote it"));
}

std::string HeaderOf(std::int64_t version) {
  return Str("PRAGMA application_id = ", kApplicationId, "; PRAGMA user_version = ", version);
}

Result<std::vector<SchemaDifference>> DifferencesOfSchema(Connection& connection,
                                                          std::int64_t version) {
  ASSIGN_OR_RETURN(const Definitions found, DefinitionsOf(connection));
  ASSIGN_OR_RETURN(const Definitions right, DefinitionsOfVersion(version));
  std::vector<SchemaDifference> differences;
  for (const auto& [object, sql] : right) {
    const auto at = found.find(object);
    if (at != found.end() && at->second == sql) continue;
    differences.push_back({.type = object.first, .name = object.second, .sql = sql});
  }
  return differences;
}

Result<std::vector<AddedColumn>> FindAddedColumns(Connection& connection, std::int64_t version) {
  std::vector<AddedColumn> added;
  if (version == 0 || DefinitionsHold(connection)) return added;
  ASSIGN_OR_RETURN(const Columns found, ColumnsOf(connection));
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> made, NewDatabase(version));
  ASSIGN_OR_RETURN(const Columns right, ColumnsOf(*made));
  for (const auto& [table, ours] : right) {
    const auto at = found.find(table);
    if (at == found.end()) continue;
    std::vector<std::string> others;
    for (const std::string& name : at->second) {
      if (std::ranges::find(ours, name) == ours.end()) others.push_back(name);
    }
    if (at->second.size() != ours.size() + others.size()) continue;  // ours are not all there
    for (std::string& name : others) added.push_back({.table = table, .name = std::move(name)});
  }
  return added;
}

std::string RemedyFor(const AddedColumn& column) {
  std::string quoted;
  for (const char c : column.name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return Str("remove it (`sqlite3 longrun.db 'ALTER TABLE ", column.table, " DROP COLUMN \"",
             quoted, "\"'`)");
}

Status CheckAddedColumns(Connection& connection, std::int64_t version) {
  ASSIGN_OR_RETURN(const std::vector<AddedColumn> added, FindAddedColumns(connection, version));
  if (added.empty()) return Status();
  const AddedColumn& first = added.front();
  return Status(
      Code::kFailedPrecondition,
      PrintableBytes(Str("somebody added the column ", first.name, " to table ", first.table,
                         " of the database, so that no row of the table matches its "
                         "checksum: ",
                         RemedyFor(first))));
}

Result<std::unique_ptr<Connection>> NewDatabase(std::int64_t version) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> made,
                   Connection::Open(":memory:", Connection::Mode::kWrite));
  for (const Migration& migration : Migrations().first(static_cast<std::size_t>(version))) {
    RETURN_IF_ERROR(made->Execute(std::string(migration.sql)));
  }
  return made;
}

bool DefinitionsHold(Connection& connection) {
  const Result<Definitions> found = DefinitionsOf(connection);
  if (!found.ok()) return false;
  const Result<std::string> stored = StoredChecksum(connection);
  return stored.ok() && *stored == ChecksumOf(*found);
}

Status CheckDefinitions(Connection& connection) {
  if (DefinitionsHold(connection)) return Status();
  // Somebody may have added an object since the start.
  ASSIGN_OR_RETURN(const std::int64_t version, connection.ReadInt("PRAGMA user_version"));
  RETURN_IF_ERROR(CheckAddedColumns(connection, version));
  ASSIGN_OR_RETURN(const std::vector<SchemaDifference> differences,
                   DifferencesOfSchema(connection, version));
  if (differences.empty()) return Status();
  return Status(Code::kDataLoss, Str("the database's definition of ", differences.front().type, " ",
                                     differences.front().name,
                                     " is damaged: start the coordinator again, which repairs it"));
}

Status MendSchema(Connection& connection, const std::string& path, std::int64_t version,
                  std::vector<std::string>& repairs) {
  if (version == 0) return Status();
  if (DefinitionsHold(connection)) return Status();
  ASSIGN_OR_RETURN(const std::vector<SchemaDifference> differences,
                   DifferencesOfSchema(connection, version));
  for (const SchemaDifference& object : differences) {
    if (object.type == "table") {
      return DamagedDatabase(path, Str("the definition of table ", object.name,
                                       " differs from the one that longrun writes"));
    }
    LogWarning("database_definition_damaged",
               {{"type", object.type}, {"name", object.name}, {"done", "made again"}});
    RETURN_IF_ERROR(connection.Execute(Str("SAVEPOINT mend; DROP ", object.type, " IF EXISTS ",
                                           object.name, "; ", object.sql, "; RELEASE mend")));
    repairs.push_back(Str("the definition of ", object.type, " ", object.name));
  }
  return Status();
}

Status NoteSchema(Connection& connection, std::int64_t version) {
  ASSIGN_OR_RETURN(const std::int64_t in_meta, SchemaVersionInMeta(connection));
  if (in_meta != version) RETURN_IF_ERROR(PutSchemaVersion(connection, version));
  ASSIGN_OR_RETURN(const Definitions found, DefinitionsOf(connection));
  ASSIGN_OR_RETURN(const std::string stored, StoredChecksum(connection));
  const std::string checksum = ChecksumOf(found);
  if (stored == checksum) return Status();
  ASSIGN_OR_RETURN(
      Statement row,
      connection.Prepare("INSERT INTO meta (key, value) VALUES ('definitions_sha256', ?1)"
                         " ON CONFLICT (key) DO UPDATE SET value = ?1"));
  return row.Bind(checksum).Run();
}

}  // namespace longrun::coordinator
