// See scrub.h.
#include "coordinator/store/scrub.h"

#include <utility>

#include "base/str.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {

Result<std::unique_ptr<Scrub>> Scrub::Open(const std::string& database_path) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(database_path, Connection::Mode::kReadAll));
  // Keep few pages in the cache, so that the next pass reads them from the disk again.
  RETURN_IF_ERROR(connection->Execute("PRAGMA cache_size = 16"));
  return std::unique_ptr<Scrub>(new Scrub(std::move(connection)));
}

Scrub::Scrub(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}

Scrub::~Scrub() = default;

Status Scrub::Step(std::int64_t n_rows_max) {
  const std::vector<SummedTable>& tables = connection_->row_sums().tables();
  if (tables.empty()) return Status();
  const SummedTable& table = tables[table_];
  const Result<bool> more = ReadRows(table, n_rows_max);
  if (more.ok() && *more) return Status();
  last_.clear();
  table_ = (table_ + 1) % tables.size();
  if (more.status().code() == Code::kDataLoss) {
    connection_->row_sums().NoteDamaged({.table = table.name,
                                         .key = "",
                                         .object = Str("a page of table ", table.name),
                                         .remedy = "look for other damage: `longrun doctor --deep`",
                                         .is_lost = true});
  }
  return more.status();
}

// Returns whether the table may have more rows.
Result<bool> Scrub::ReadRows(const SummedTable& table, std::int64_t n_rows_max) {
  std::string key = "rowid", places = "?";
  if (!table.has_rowid) {
    key = Str("\"", Join(table.key, "\", \""), "\"");
    for (std::size_t i = 1; i < table.key.size(); ++i) places += ", ?";
  }
  ASSIGN_OR_RETURN(
      Statement row,
      connection_->PrepareOnce(Str("SELECT ", key, ", ", RowSums::HoldsCall(table), " FROM main.",
                                   table.name, " NOT INDEXED",
                                   last_.empty() ? "" : Str(" WHERE (", key, ") > (", places, ")"),
                                   " ORDER BY ", key, " LIMIT ", n_rows_max)));
  for (const StoredValue& value : last_) row.BindValue(value);
  std::vector<StoredValue> newest;
  std::int64_t n_read = 0;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) break;
    newest.clear();
    const std::size_t n_key = table.has_rowid ? 1 : table.key.size();
    for (std::size_t i = 0; i < n_key; ++i) newest.push_back(row.Value(static_cast<int>(i)));
    ++n_read;
  }
  n_rows_ += n_read;
  // A damaged key may be out of order: it must not lead backwards.
  if (n_read < n_rows_max || (!last_.empty() && newest <= last_)) return false;
  last_ = std::move(newest);
  return true;
}

std::vector<DamagedRow> Scrub::TakeDamaged() { return connection_->row_sums().TakeDamaged(); }

}  // namespace longrun::coordinator
