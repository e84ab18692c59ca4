// See meta.h.
#include "coordinator/store/meta.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "base/ulid.h"
#include "coordinator/store/one_bit.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {
namespace {

struct MetaRow {
  std::string key;
  std::string value;
  std::int64_t sum = 0;
};

StoredRow AsStored(const MetaRow& row) { return {.values = {row.key, row.value}, .sum = row.sum}; }

std::optional<MetaRow> Mended(const MetaRow& damaged) {
  const std::optional<StoredRow> found = OneBitAway(AsStored(damaged));
  if (!found) return std::nullopt;
  return MetaRow{.key = std::get<std::string>(found->values[0]),
                 .value = std::get<std::string>(found->values[1])};
}

// The value to restore for a known key; nullopt if the row is dropped, and written again when it is
// needed.
std::optional<std::string> ValueAgain(const std::string& key, const std::string& id_beside) {
  if (key == "coordinator_id") return id_beside;
  if (key == "created_wall_ms") {
    const std::optional<std::int64_t> made_ms = UlidWallMs(id_beside);
    return made_ms ? Str(*made_ms) : "0";
  }
  if (key == "created_by") return "unknown";
  if (key == kRestoredKey) return "0";  // the start then waits for the workers once more
  return {};
}

bool IsKnownAgain(const std::string& key, const std::string& id_beside) {
  if (key == "coordinator_id") return IsUlid(id_beside);
  return key == "created_by" || key == "created_wall_ms" || key == "definitions_sha256" ||
         key == "schema_version" || key == kRestoredKey || key == kSubmittingKey ||
         key == kOrderKey;
}

Status Rewrite(Connection& connection, const std::vector<MetaRow>& rows) {
  RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
  const auto write = [&]() -> Status {
    // Delete all: a row with a damaged key cannot be found by it.
    RETURN_IF_ERROR(connection.Execute("DELETE FROM main.meta"));
    for (const MetaRow& row : rows) {
      ASSIGN_OR_RETURN(Statement put, connection.Prepare("INSERT INTO main.meta (key, value, sum)"
                                                         " VALUES (?1, ?2, row_sum(?1, ?2))"));
      RETURN_IF_ERROR(put.Bind(row.key).Bind(row.value).Run());
    }
    return connection.Execute("COMMIT");
  };
  Status status = write();
  if (!status.ok()) static_cast<void>(connection.Execute("ROLLBACK"));
  return std::move(status).In("rewriting table meta");
}

bool HasSums(Connection& connection) {
  return std::ranges::find(connection.row_sums().tables(), "meta", &SummedTable::name) !=
         connection.row_sums().tables().end();
}

}  // namespace

Status MendMeta(Connection& connection, const std::string& path, const std::string& id_beside,
                std::vector<std::string>& repairs) {
  if (!HasSums(connection)) return Status();
  std::vector<MetaRow> rows;
  bool is_mended = false;
  RETURN_IF_ERROR(
      ForEach(connection,
              "SELECT key, value, sum, typeof(key) = 'text' AND typeof(value) = 'text'"
              " FROM main.meta NOT INDEXED",
              [&](const Statement& read) -> Status {
                MetaRow row = {.key = read.Text(0), .value = read.Text(1), .sum = read.Int(2)};
                if (read.Int(3) == 1 && AsStored(row).Holds()) {
                  rows.push_back(std::move(row));
                  return Status();
                }
                is_mended = true;
                const std::optional<MetaRow> found = Mended(row);
                if (!found && !IsKnownAgain(row.key, id_beside)) {
                  return DamagedDatabase(
                      path, Str("its own record (table meta) does not match its stored checksum"));
                }
                LogWarning("row_mended", {{"table", "meta"},
                                          {"key", found ? found->key : row.key},
                                          {"from", found ? "its checksum" : "what else is known"}});
                repairs.push_back(Str("\"", found ? found->key : row.key, "\" in table meta"));
                if (found) {
                  rows.push_back(*found);
                } else if (auto value = ValueAgain(row.key, id_beside)) {
                  rows.push_back({.key = row.key, .value = *value});
                }
                return Status();
              }));
  return is_mended ? Rewrite(connection, rows) : Status();
}

Result<std::int64_t> SchemaVersionInMeta(Connection& connection) {
  if (!HasSums(connection)) return std::int64_t{0};
  return connection.ReadInt(Str(
      "SELECT coalesce((SELECT CAST(value AS INTEGER) FROM main.meta WHERE ",
      RowSums::HoldsCall(connection.row_sums().table("meta")), " AND key = 'schema_version'), 0)"));
}

Result<bool> IsWithoutSchemaVersion(Connection& connection) {
  if (!HasSums(connection)) return true;
  ASSIGN_OR_RETURN(
      const std::int64_t n_other,
      connection.ReadInt(Str("SELECT count(*) FROM main.meta WHERE key ="
                             " 'schema_version' OR NOT (",
                             RowSums::HoldsCall(connection.row_sums().table("meta")), ")")));
  return n_other == 0;
}

Status PutSchemaVersion(Connection& connection, std::int64_t version) {
  if (!HasSums(connection)) return Status();
  const std::string value = Str(version);
  ASSIGN_OR_RETURN(
      Statement put,
      connection.Prepare("INSERT INTO main.meta (key, value, sum)"
                         " VALUES ('schema_version', ?1, row_sum('schema_version', ?1))"
                         " ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
                         " sum = excluded.sum"));
  return put.Bind(value).Run();
}

Result<std::optional<std::string>> MetaValue(Connection& connection, std::string_view key) {
  ASSIGN_OR_RETURN(Statement row, connection.Prepare("SELECT value FROM meta WHERE key = ?"));
  ASSIGN_OR_RETURN(const bool is_any, row.Bind(key).Step());
  return is_any ? std::optional(row.Text(0)) : std::nullopt;
}

Status PutMeta(Connection& connection, std::string_view key, const std::string& value) {
  ASSIGN_OR_RETURN(Statement add,
                   connection.Prepare("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)"));
  RETURN_IF_ERROR(add.Bind(key).Bind(value).Run());
  ASSIGN_OR_RETURN(Statement put, connection.Prepare("UPDATE meta SET value = ? WHERE key = ?"));
  return put.Bind(value).Bind(key).Run();
}

Status DropMeta(Connection& connection, std::string_view key) {
  ASSIGN_OR_RETURN(Statement drop, connection.Prepare("DELETE FROM meta WHERE key = ?"));
  return drop.Bind(key).Run();
}

}  // namespace longrun::coordinator
