// See mend_rows.h.
#include "coordinator/store/mend_rows.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/str.h"
#include "coordinator/store/one_bit.h"
#include "coordinator/store/row_identity.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/whole_check.h"

namespace longrun::coordinator {
namespace {

constexpr int kFreeValuesTried = 1000;
// The search for the flipped bit computes the checksum of the whole row once for each bit, so it
// leaves out longer rows, and tables with more damaged rows.
constexpr std::size_t kRowBytesMax = 16 << 10;
constexpr std::size_t kRowsMax = 1000;
constexpr std::size_t kWorkMax = std::size_t{1} << 30;  // sum of the squares of rows' bytes

struct Column {
  std::string type;  // INTEGER, REAL or TEXT: tables are STRICT
  bool is_nullable = false;
};

class Rewriter {
 public:
  Rewriter(Connection& connection, const SummedTable& table)
      : connection_(connection),
        table_(table),
        names_(Str("\"", Join(table.columns, "\", \""), "\"")) {}

  // Finds the rows of the table that do not match their checksums.
  Status Read() {
    ASSIGN_OR_RETURN(damaged_,
                     ReadRows(Str("SELECT ", names_, ", sum FROM main.", table_.name,
                                  " NOT INDEXED WHERE row_sum(", names_, ") IS NOT sum")));
    mended_.resize(damaged_.size());
    if (damaged_.size() > kRowsMax) return Status();
    std::size_t work = 0;
    for (std::size_t i = 0; i < damaged_.size(); ++i) {
      const std::size_t n_bytes = SummedBytes(damaged_[i]);
      work += n_bytes * n_bytes;
      if (work > kWorkMax) return Status();
      ASSIGN_OR_RETURN(mended_[i], Mended(damaged_[i]));
    }
    return Status();
  }
  std::ptrdiff_t n_damaged() const { return std::ssize(damaged_); }
  std::ptrdiff_t n_mended() const {
    return std::ranges::count_if(mended_, [](const auto& row) { return row.has_value(); });
  }

  // Writes the mended rows over the damaged ones. Returns false and changes nothing if one of them
  // is not found by its key or an index does not have it: then the whole table must be written
  // again.
  Result<bool> MendInPlace() {
    std::vector<std::string> columns, keys;
    for (const std::string& column : table_.columns) columns.push_back(Str("\"", column, "\" = ?"));
    for (const std::string& column : table_.key) keys.push_back(Str("\"", column, "\" = ?"));
    RETURN_IF_ERROR(connection_.Execute("SAVEPOINT mended"));
    const auto mend = [&]() -> Result<bool> {
      ASSIGN_OR_RETURN(
          Statement put,
          connection_.PrepareOnce(Str("UPDATE main.", table_.name, " SET ", Join(columns, ", "),
                                      ", sum = ? WHERE ", keys.empty() ? "0" : Join(keys, " AND "),
                                      " AND row_sum(", names_, ") IS NOT sum")));
      for (std::size_t i = 0; i < damaged_.size(); ++i) {
        if (!mended_[i]) continue;
        put.Again();
        for (const StoredValue& value : mended_[i]->values) put.BindValue(value);
        put.Bind(mended_[i]->sum);
        for (const std::string& column : table_.key) {
          put.BindValue(damaged_[i].values[PlaceOf(column)]);
        }
        RETURN_IF_ERROR(put.Run());
        if (connection_.n_changed() != 1) return false;
      }
      return true;
    };
    const Result<bool> is_done = mend();
    if (is_done.ok() && *is_done) {
      RETURN_IF_ERROR(connection_.Execute("RELEASE mended"));
      return true;
    }
    const Code code = is_done.status().code();
    const bool is_of_rows = is_done.ok() || code == Code::kInternal || code == Code::kDataLoss;
    if (!is_of_rows) return is_done.status();  // a full disk, or a limit
    RETURN_IF_ERROR(connection_.Execute("ROLLBACK TO mended; RELEASE mended"));
    return false;
  }

  Status Rewrite() {
    RETURN_IF_ERROR(ReadColumns());
    // Values keep their types, since the columns of the copy have none. Rows are copied in the
    // order of the file, which is that of their rowids if they have any: of two rows with one key
    // the newer one stays.
    RETURN_IF_ERROR(connection_.Execute(
        Str("CREATE TEMP TABLE rewritten (", names_,
            ", sum);"
            "INSERT INTO temp.rewritten SELECT ",
            names_, ", sum FROM main.", table_.name, " NOT INDEXED WHERE row_sum(", names_,
            ") = sum;"
            "DELETE FROM main.",
            table_.name,
            ";"
            "INSERT OR REPLACE INTO main.",
            table_.name, " (", names_, ", sum) SELECT * FROM temp.rewritten")));
    RETURN_IF_ERROR(PutBackDoubles());
    RETURN_IF_ERROR(connection_.Execute("DROP TABLE temp.rewritten"));
    for (std::size_t i = 0; i < damaged_.size(); ++i) {
      if (!mended_[i]) {
        RETURN_IF_ERROR(PutBack(damaged_[i]));
        continue;
      }
      ASSIGN_OR_RETURN(const bool is_in, Insert(*mended_[i]));
      if (is_in) continue;
      ASSIGN_OR_RETURN(const bool is_same, IsThere(*mended_[i]));
      if (!is_same) RETURN_IF_ERROR(PutBack(*mended_[i]));
    }
    return Status();
  }

  // Describes what was done, after the commit.
  std::string Tell(bool is_rebuilt) const {
    LogWarning(is_rebuilt ? "table_written_anew" : "rows_repaired",
               {{"table", table_.name},
                {"rows_damaged", Str(n_damaged())},
                {"of_these_mended", Str(n_mended())}});
    if (n_damaged() == 0) return Str("table ", table_.name, ", rebuilt");
    return Str(n_mended(), " of ", n_damaged(), " damaged rows of table ", table_.name,
               is_rebuilt ? ", which was rebuilt" : "");
  }

 private:
  // The columns of the table, and `sum`.
  Result<std::vector<StoredRow>> ReadRows(const std::string& sql) {
    ASSIGN_OR_RETURN(Statement row, connection_.PrepareOnce(sql));
    const int n_columns = static_cast<int>(table_.columns.size());
    std::vector<StoredRow> rows;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, row.Step());
      if (!more) return rows;
      StoredRow& read = rows.emplace_back();
      for (int c = 0; c < n_columns; ++c) read.values.push_back(row.Value(c));
      read.sum = row.Int(n_columns);
    }
  }

  // A row that a damaged key or index hid was written a second time, so there are two valid rows.
  // One of them is in its place by now; the others stay as damaged rows.
  Status PutBackDoubles() {
    ASSIGN_OR_RETURN(std::vector<StoredRow> doubles,
                     ReadRows(Str("SELECT ", names_, ", sum FROM temp.rewritten EXCEPT SELECT ",
                                  names_, ", sum FROM main.", table_.name)));
    for (StoredRow& one : doubles) {
      one.sum = kDamagedSum;
      RETURN_IF_ERROR(PutBack(one));
    }
    return Status();
  }

  Result<bool> IsThere(const StoredRow& row) {
    std::vector<std::string> parts;
    for (const std::string& column : table_.columns) parts.push_back(Str("\"", column, "\" IS ?"));
    ASSIGN_OR_RETURN(Statement found, connection_.PrepareOnce(Str(
                                          "SELECT 1 FROM main.", table_.name, " NOT INDEXED WHERE ",
                                          Join(parts, " AND "), " LIMIT 1")));
    for (const StoredValue& value : row.values) found.BindValue(value);
    return found.Step();
  }

  // Repairs a short row by its checksum, and a longer one only if its own digests agree too.
  Result<std::optional<StoredRow>> Mended(const StoredRow& damaged) {
    std::optional<StoredRow> row = OneBitAway(damaged);
    if (row || !HasOwnDigests(table_.name)) return row;
    row = OneBitAway(damaged, kRowBytesMax);
    if (!row) return row;
    std::vector<std::string> places;
    for (const std::string& column : table_.columns) places.push_back(Str("? AS \"", column, "\""));
    ASSIGN_OR_RETURN(Statement agrees,
                     connection_.PrepareOnce(Str("SELECT ", RowSums::AgreesCall(table_),
                                                 " FROM (SELECT ", Join(places, ", "), ")")));
    for (const StoredValue& value : row->values) agrees.BindValue(value);
    ASSIGN_OR_RETURN(const bool is_there, agrees.Step());
    return is_there && agrees.Int(0) == 1 ? row : std::nullopt;
  }

  Status ReadColumns() {
    for (const std::string& name : table_.columns) {
      const std::string from =
          Str(" FROM pragma_table_info('", table_.name, "', 'main') WHERE name = '", name, "'");
      ASSIGN_OR_RETURN(std::string type, connection_.ReadText(Str("SELECT type", from)));
      ASSIGN_OR_RETURN(const std::int64_t not_null,
                       connection_.ReadInt(Str("SELECT \"notnull\" OR pk > 0", from)));
      columns_.push_back({.type = std::move(type), .is_nullable = not_null == 0});
    }
    return Status();
  }

  // Puts back a row that cannot be repaired: as it was read, or, if another row has its key, with a
  // value that no valid row has.
  Status PutBack(const StoredRow& damaged) {
    StoredRow row = damaged;
    for (std::size_t c = 0; c < columns_.size(); ++c) Fit(columns_[c], row.values[c]);
    if (row.values != damaged.values) row.sum = kDamagedSum;
    ASSIGN_OR_RETURN(bool is_in, Insert(row));
    if (is_in) return Status();
    row.sum = kDamagedSum;
    ASSIGN_OR_RETURN(const std::vector<std::size_t> places, UniqueColumns());
    const auto is_in_with = [&](StoredRow changed,
                                std::span<const std::size_t> free) -> Result<bool> {
      for (int n = 1; n <= kFreeValuesTried; ++n) {
        for (const std::size_t place : free) {
          changed.values[place] = FreeValue(row.values[place], n);
        }
        ASSIGN_OR_RETURN(const bool is_free, Insert(changed));
        if (is_free) return true;
      }
      return false;
    };
    for (const std::size_t& place : places) {
      ASSIGN_OR_RETURN(is_in, is_in_with(row, std::span(&place, 1)));
      if (is_in) return Status();
    }
    ASSIGN_OR_RETURN(is_in, is_in_with(row, places));  // several rows may be in its way
    if (is_in) return Status();
    return Status(Code::kInternal, Str("no free key for a damaged row of table ", table_.name));
  }

  // The columns that another row may have the same value in, beginning with the last one of the
  // key.
  Result<std::vector<std::size_t>> UniqueColumns() {
    ASSIGN_OR_RETURN(
        std::vector<std::string> names,
        connection_.ReadTexts(Str("SELECT DISTINCT part.name FROM pragma_index_list('", table_.name,
                                  "', 'main') AS list, pragma_index_info(list.name, 'main') AS part"
                                  " WHERE list.\"unique\" AND part.name IS NOT NULL")));
    names.insert(names.begin(), table_.key.back());
    std::vector<std::size_t> places;
    for (const std::string& name : names) {
      const auto found = std::ranges::find(table_.columns, name);
      if (found == table_.columns.end()) continue;
      places.push_back(static_cast<std::size_t>(found - table_.columns.begin()));
    }
    return places;
  }

  static StoredValue FreeValue(const StoredValue& as_read, int n) {
    const auto* const text = std::get_if<std::string>(&as_read);
    return text != nullptr ? StoredValue(Str(*text, "~", n)) : StoredValue(std::int64_t{-n});
  }

  std::size_t PlaceOf(std::string_view column) const {
    return static_cast<std::size_t>(std::ranges::find(table_.columns, column) -
                                    table_.columns.begin());
  }

  // Replaces a value that the column cannot hold, since its type has changed, by an empty one.
  static void Fit(const Column& column, StoredValue& value) {
    if (std::holds_alternative<std::monostate>(value) && column.is_nullable) return;
    if (column.type == "INTEGER") {
      if (!std::holds_alternative<std::int64_t>(value)) value = std::int64_t{0};
    } else if (column.type == "REAL") {
      if (!std::holds_alternative<double>(value)) value = 0.0;
    } else if (!std::holds_alternative<std::string>(value)) {
      value = std::string();
    }
  }

  // Returns false if another row has its key.
  Result<bool> Insert(const StoredRow& row) {
    std::string places = "?";
    for (std::size_t c = 0; c < columns_.size(); ++c) places += ", ?";
    ASSIGN_OR_RETURN(Statement put,
                     connection_.PrepareOnce(Str("INSERT OR IGNORE INTO main.", table_.name, " (",
                                                 names_, ", sum) VALUES (", places, ")")));
    for (const StoredValue& value : row.values) put.BindValue(value);
    RETURN_IF_ERROR(put.Bind(row.sum).Run());
    return connection_.n_changed() == 1;
  }

  Connection& connection_;
  const SummedTable& table_;
  const std::string names_;
  std::vector<Column> columns_;
  std::vector<StoredRow> damaged_;
  std::vector<std::optional<StoredRow>> mended_;  // of each of them
};

enum class Change { kNone, kInPlace, kWrittenAnew };

// Changes each table, or only the one with the name `only`, in a transaction of its own. `change`
// makes the change itself and returns which it was; for kWrittenAnew the table is written after it
// returns.
template <typename MakeChange>
Status ChangeTables(Connection& connection, std::string_view only,
                    std::vector<std::string>& repairs, MakeChange change) {
  RETURN_IF_ERROR(connection.Execute("PRAGMA ignore_check_constraints = ON"));
  const auto write = [&](const SummedTable& table) -> Status {
    Rewriter rewriter(connection, table);
    ASSIGN_OR_RETURN(const Change done, change(table, rewriter));
    if (done == Change::kWrittenAnew) RETURN_IF_ERROR(rewriter.Rewrite());
    RETURN_IF_ERROR(connection.Execute("COMMIT"));
    if (done != Change::kNone) repairs.push_back(rewriter.Tell(done == Change::kWrittenAnew));
    return Status();
  };
  Status status;
  for (const SummedTable& table : connection.row_sums().tables()) {
    if (!only.empty() && table.name != only) continue;
    status = connection.Execute("BEGIN IMMEDIATE");
    if (status.ok()) status = write(table);
    if (status.ok()) continue;
    static_cast<void>(connection.Execute("ROLLBACK"));
    break;
  }
  RETURN_IF_ERROR(connection.Execute("PRAGMA ignore_check_constraints = OFF"));
  // An error of the whole database, such as a lock, says nothing about its rows.
  if (status.code() == Code::kUnavailable) return status;
  return std::move(status).In("repairing tables with damaged rows");
}

}  // namespace

Status PutInOrder(Connection& connection, std::vector<std::string>& repairs) {
  const auto change = [&](const SummedTable& table, Rewriter& rewriter) -> Result<Change> {
    ASSIGN_OR_RETURN(const auto worst, WorstComplaint(connection, table.name));
    if (worst.first == Complaint::kRow) return Change::kNone;
    RETURN_IF_ERROR(rewriter.Read());
    if (worst.first == Complaint::kOrder || rewriter.n_damaged() > 0) return Change::kWrittenAnew;
    const Status indexed = connection.Execute(Str("REINDEX main.", table.name));
    if (indexed.code() == Code::kInternal) return Change::kWrittenAnew;  // two rows have one key
    RETURN_IF_ERROR(indexed);
    repairs.push_back(Str("the indexes of table ", table.name, ", made again from its rows"));
    return Change::kNone;
  };
  return ChangeTables(connection, "", repairs, change);
}

Result<bool> MendRows(Connection& connection, std::vector<std::string>& repairs,
                      std::string_view only) {
  bool all_hold = !connection.row_sums().tables().empty();
  const auto change = [&](const SummedTable&, Rewriter& rewriter) -> Result<Change> {
    RETURN_IF_ERROR(rewriter.Read());
    if (rewriter.n_mended() < rewriter.n_damaged()) all_hold = false;
    if (rewriter.n_mended() == 0) return Change::kNone;
    ASSIGN_OR_RETURN(const bool is_done, rewriter.MendInPlace());
    return is_done ? Change::kInPlace : Change::kWrittenAnew;
  };
  RETURN_IF_ERROR(ChangeTables(connection, only, repairs, change));
  return all_hold;
}

}  // namespace longrun::coordinator
