// See schema.h.
#include "coordinator/store/schema.h"

#include <map>
#include <memory>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "coordinator/store/migrations.h"

namespace longrun {
namespace {

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

// "" before there is one.
Result<std::string> StoredChecksum(Connection& connection) {
  return connection.ReadText(
      "SELECT coalesce((SELECT value FROM main.meta WHERE key = 'definitions_sha256'), '')");
}

Result<Definitions> DefinitionsOfVersion(std::int64_t version) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> made,
                   Connection::Open(":memory:", Connection::Mode::kWrite));
  for (const Migration& migration : Migrations().first(static_cast<std::size_t>(version))) {
    RETURN_IF_ERROR(made->Execute(std::string(migration.sql)));
  }
  return DefinitionsOf(*made);
}

}  // namespace

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

Status MendSchema(Connection& connection, const std::string& path, std::int64_t version) {
  if (version == 0) return Status();
  ASSIGN_OR_RETURN(const Definitions found, DefinitionsOf(connection));
  const Result<std::string> stored = StoredChecksum(connection);
  if (stored.ok() && *stored == ChecksumOf(found)) return Status();
  ASSIGN_OR_RETURN(const std::vector<SchemaDifference> differences,
                   DifferencesOfSchema(connection, version));
  for (const SchemaDifference& object : differences) {
    if (object.type == "table") {
      return DamagedDatabase(
          path, Str("the definition of table ", object.name, " is not what a release wrote"));
    }
    LogWarning("database_definition_damaged",
               {{"type", object.type}, {"name", object.name}, {"done", "made again"}});
    RETURN_IF_ERROR(connection.Execute(Str("SAVEPOINT mend; DROP ", object.type, " IF EXISTS ",
                                           object.name, "; ", object.sql, "; RELEASE mend")));
  }
  return Status();
}

Status NoteSchema(Connection& connection) {
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

}  // namespace longrun
