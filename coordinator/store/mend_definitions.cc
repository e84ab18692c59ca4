// See mend_definitions.h.
#include "coordinator/store/mend_definitions.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/str.h"
#include "coordinator/store/one_bit.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {
namespace {

// A row of sqlite_schema, without the number of its first page, which differs between databases.
struct Definition {
  std::string type, name, table, sql;  // `sql` is "" for an index that SQLite made itself

  std::string Text() const { return Str(type, "\n", name, "\n", table, "\n", sql); }
};

struct FlippedDefinition {
  std::int64_t rowid = 0;
  Definition right;
};

Result<std::vector<std::pair<std::int64_t, Definition>>> ReadDefinitions(Connection& connection) {
  std::vector<std::pair<std::int64_t, Definition>> rows;
  RETURN_IF_ERROR(ForEach(
      connection, "SELECT rowid, type, name, tbl_name, ifnull(sql, '') FROM main.sqlite_schema",
      [&](const Statement& row) {
        rows.emplace_back(row.Int(0), Definition{.type = row.Text(1),
                                                 .name = row.Text(2),
                                                 .table = row.Text(3),
                                                 .sql = row.Text(4)});
      }));
  return rows;
}

// An object of ours is flipped if no row has its definition and a row is one bit away from it.
Result<std::vector<FlippedDefinition>> FindFlipped(Connection& connection) {
  std::vector<FlippedDefinition> flipped;
  ASSIGN_OR_RETURN(const std::int64_t version, connection.ReadInt("PRAGMA user_version"));
  if (version <= 0 || version > Store::SchemaVersion()) return flipped;
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> ours, NewDatabase(version));
  ASSIGN_OR_RETURN(const auto right, ReadDefinitions(*ours));
  ASSIGN_OR_RETURN(const auto found, ReadDefinitions(connection));
  for (const auto& [right_rowid, one] : right) {
    const auto is_it = [&](const auto& row) { return row.second.Text() == one.Text(); };
    if (std::ranges::any_of(found, is_it)) continue;
    const auto is_flipped = [&](const auto& row) {
      return IsOneBitOff(row.second.Text(), one.Text());
    };
    const auto row = std::ranges::find_if(found, is_flipped);
    if (row != found.end()) flipped.push_back({.rowid = row->first, .right = one});
  }
  return flipped;
}

std::string NameOf(const Definition& definition) {
  return Str(definition.type, " ", definition.name);
}

}  // namespace

Result<std::vector<std::string>> FlippedDefinitions(const std::string& database_path) {
  ASSIGN_OR_RETURN(const auto connection,
                   Connection::Open(database_path, Connection::Mode::kDefinitions));
  ASSIGN_OR_RETURN(const std::vector<FlippedDefinition> flipped, FindFlipped(*connection));
  std::vector<std::string> names;
  names.reserve(flipped.size());
  for (const FlippedDefinition& one : flipped) names.push_back(NameOf(one.right));
  return names;
}

Status MendDefinitions(const std::string& database_path, std::vector<std::string>& repairs) {
  ASSIGN_OR_RETURN(const auto connection,
                   Connection::Open(database_path, Connection::Mode::kDefinitions));
  RETURN_IF_ERROR(connection->Execute("BEGIN IMMEDIATE"));  // ends with the connection
  ASSIGN_OR_RETURN(const std::vector<FlippedDefinition> flipped, FindFlipped(*connection));
  if (flipped.empty()) return Status();
  ASSIGN_OR_RETURN(const std::int64_t cookie, connection->ReadInt("PRAGMA schema_version"));
  for (const auto& [rowid, right] : flipped) {
    ASSIGN_OR_RETURN(Statement put,
                     connection->Prepare("UPDATE main.sqlite_schema SET type = ?1, name = ?2,"
                                         " tbl_name = ?3, sql = nullif(?4, '') WHERE rowid = ?5"));
    RETURN_IF_ERROR(
        put.Bind(right.type).Bind(right.name).Bind(right.table).Bind(right.sql).Bind(rowid).Run());
  }
  // So that other connections read the definitions again.
  RETURN_IF_ERROR(connection->Execute(Str("PRAGMA schema_version = ", cookie + 1, "; COMMIT")));
  for (const FlippedDefinition& one : flipped) {
    LogWarning(
        "database_definition_damaged",
        {{"type", one.right.type}, {"name", one.right.name}, {"done", "flipped one bit back"}});
    repairs.push_back(Str("the definition of ", NameOf(one.right), ", one bit"));
  }
  return Status();
}

}  // namespace longrun::coordinator
