// See row_sum.h.
#include "coordinator/store/row_sum.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/str.h"
#include "coordinator/store/migrations.h"
#include "coordinator/store/row_identity.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {
namespace {

constexpr int kAnyNumber = -1;
// Their rows come by the thousand: the statements that insert them supply the checksum
// (apply_records.cc), since a trigger would cost as much as the row.
constexpr std::string_view kBringTheirSum[] = {"record", "result", "series"};
constexpr int kPropagateConstants = 0x8000;  // SQLite's SQLITE_PropagateConst

void AppendBytes(std::string& out, const void* data, std::size_t n) {
  out.append(static_cast<const char*>(data), n);
}

// Encodes values with their types, so that rows with different values never give the same bytes.
class RowBytes {
 public:
  void Clear() { bytes_.clear(); }
  void AddNull() { bytes_.push_back(SQLITE_NULL); }
  void Add(std::int64_t number) {
    bytes_.push_back(SQLITE_INTEGER);
    AppendBytes(bytes_, &number, sizeof number);
  }
  void Add(double number) {
    bytes_.push_back(SQLITE_FLOAT);
    number += 0.0;  // SQLite stores whole numbers as integers, which have no negative zero
    AppendBytes(bytes_, &number, sizeof number);
  }
  void Add(int type, const void* data, std::int64_t n) {  // SQLITE_TEXT or SQLITE_BLOB
    bytes_.push_back(static_cast<char>(type));
    AppendBytes(bytes_, &n, sizeof n);
    if (n > 0) AppendBytes(bytes_, data, static_cast<std::size_t>(n));
  }
  std::int64_t Sum() const { return static_cast<std::int64_t>(Crc32c(bytes_)); }

 private:
  std::string bytes_;
};

std::int64_t SumOf(int n_values, sqlite3_value** values) {
  thread_local RowBytes row;
  row.Clear();
  for (int i = 0; i < n_values; ++i) {
    sqlite3_value* const value = values[i];
    const int type = sqlite3_value_type(value);
    if (type == SQLITE_INTEGER) {
      row.Add(std::int64_t{sqlite3_value_int64(value)});
    } else if (type == SQLITE_FLOAT) {
      row.Add(sqlite3_value_double(value));
    } else if (type == SQLITE_NULL) {
      row.AddNull();
    } else {
      const void* const data = sqlite3_value_blob(value);
      row.Add(type, data, sqlite3_value_bytes(value));
    }
  }
  return row.Sum();
}

void Sum(sqlite3_context* context, int n_values, sqlite3_value** values) {
  sqlite3_result_int64(context, SumOf(n_values, values));
}

class Values final : public RowValues {
 public:
  Values(const SummedTable& table, sqlite3_value** values) : table_(table), values_(values) {}
  std::string Text(std::string_view column) const override {
    sqlite3_value* const value = Find(column);
    if (value == nullptr) return "";
    const auto* const text = reinterpret_cast<const char*>(sqlite3_value_text(value));
    if (text == nullptr) return "";
    return std::string(text, static_cast<std::size_t>(sqlite3_value_bytes(value)));
  }
  std::optional<std::int64_t> Int(std::string_view column) const override {
    sqlite3_value* const value = Find(column);
    if (value == nullptr || sqlite3_value_type(value) != SQLITE_INTEGER) return std::nullopt;
    return sqlite3_value_int64(value);
  }
  std::optional<double> Real(std::string_view column) const override {
    sqlite3_value* const value = Find(column);
    if (value == nullptr || sqlite3_value_type(value) != SQLITE_FLOAT) return std::nullopt;
    return sqlite3_value_double(value);
  }
  bool IsNull(std::string_view column) const override {
    sqlite3_value* const value = Find(column);
    return value == nullptr || sqlite3_value_type(value) == SQLITE_NULL;
  }

 private:
  sqlite3_value* Find(std::string_view column) const {
    const auto found = std::ranges::find(table_.columns, column);
    return found == table_.columns.end() ? nullptr : values_[found - table_.columns.begin()];
  }

  const SummedTable& table_;
  sqlite3_value** values_;
};

Status Execute(sqlite3* db, const std::string& sql) {
  const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : SqliteStatus(db, code, std::string_view(sql).substr(0, 80));
}

// Calls `row` with the columns of each row as text.
template <typename Row>
Status EachRow(sqlite3* db, const std::string& sql, Row row) {
  sqlite3_stmt* raw = nullptr;
  int code = sqlite3_prepare_v2(db, sql.c_str(), -1, &raw, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(db, code, std::string_view(sql).substr(0, 80));
  std::vector<std::string> fields;
  while ((code = sqlite3_step(raw)) == SQLITE_ROW) {
    fields.clear();
    for (int c = 0; c < sqlite3_column_count(raw); ++c) {
      const auto* const text = reinterpret_cast<const char*>(sqlite3_column_text(raw, c));
      fields.emplace_back(text == nullptr ? "" : text);
    }
    row(fields);
  }
  Status status;
  if (code != SQLITE_DONE) status = SqliteStatus(db, code, std::string_view(sql).substr(0, 80));
  sqlite3_finalize(raw);
  return status;
}

std::string Quoted(const std::string& name) { return Str('"', name, '"'); }

std::string List(const std::vector<std::string>& columns, std::string_view prefix = "") {
  std::vector<std::string> names;
  names.reserve(columns.size());
  for (const std::string& column : columns) names.push_back(Str(prefix, Quoted(column)));
  return Join(names, ", ");
}

std::string WhereKey(const SummedTable& table) {
  if (table.has_rowid) return "rowid = NEW.rowid";
  std::vector<std::string> terms;
  for (const std::string& column : table.key) {
    terms.push_back(Str(Quoted(column), " = NEW.", Quoted(column)));
  }
  return Join(terms, " AND ");
}

}  // namespace

std::int64_t RowSum(std::span<const StoredValue> values) {
  RowBytes row;
  for (const StoredValue& value : values) {
    if (const auto* const number = std::get_if<std::int64_t>(&value)) {
      row.Add(*number);
    } else if (const auto* const real = std::get_if<double>(&value)) {
      row.Add(*real);
    } else if (const auto* const text = std::get_if<std::string>(&value)) {
      row.Add(SQLITE_TEXT, text->data(), static_cast<std::int64_t>(text->size()));
    } else {
      row.AddNull();
    }
  }
  return row.Sum();
}

Result<std::unique_ptr<RowSums>> RowSums::Of(sqlite3* db) {
  std::unique_ptr<RowSums> sums(new RowSums(db));
  RETURN_IF_ERROR(sums->FindTables());
  RETURN_IF_ERROR(sums->AddFunctions());
  return sums;
}

Status RowSums::FindTables() {
  std::vector<SummedTable> tables;
  RETURN_IF_ERROR(EachRow(db_,
                          "SELECT name, wr FROM pragma_table_list"
                          " WHERE schema = 'main' AND type = 'table' ORDER BY name",
                          [&](const std::vector<std::string>& row) {
                            if (!IsOurTable(row[0])) return;
                            tables.push_back({.name = row[0], .has_rowid = row[1] == "0"});
                          }));
  for (SummedTable& table : tables) {
    bool has_sum = false;
    RETURN_IF_ERROR(EachRow(
        db_, Str("SELECT name, pk FROM pragma_table_info('", table.name, "', 'main') ORDER BY cid"),
        [&](const std::vector<std::string>& row) {
          if (row[0] == "sum") {
            has_sum = true;
            return;
          }
          table.columns.push_back(row[0]);
          if (row[1] != "0") table.key.push_back(row[0]);
        }));
    if (has_sum) tables_.push_back(std::move(table));
  }
  return Status();
}

Status RowSums::AddFunctions() {
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_INNOCUOUS;
  const auto add = [&](const std::string& name, int n_values, int flags, void* self,
                       void (*function)(sqlite3_context*, int, sqlite3_value**)) {
    const int code = sqlite3_create_function_v2(db_, name.c_str(), n_values, flags, self, function,
                                                nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? Status() : SqliteStatus(db_, code, name);
  };
  RETURN_IF_ERROR(add("row_sum", kAnyNumber, kFlags | SQLITE_DETERMINISTIC, nullptr, &Sum));
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    functions_.push_back(std::make_unique<Function>(Function{.self = this, .table = i}));
    void* const self = functions_.back().get();
    const auto n_columns = static_cast<int>(tables_[i].columns.size());
    RETURN_IF_ERROR(add("row_holds_" + tables_[i].name, n_columns + 1, kFlags, self, &Holds));
    RETURN_IF_ERROR(add("row_agrees_" + tables_[i].name, n_columns, kFlags, self, &Agrees));
  }
  return Status();
}

void RowSums::Holds(sqlite3_context* context, int n_values, sqlite3_value** values) {
  const auto& function = *static_cast<const Function*>(sqlite3_user_data(context));
  const int n_columns = n_values - 1;
  const bool holds = sqlite3_value_type(values[n_columns]) == SQLITE_INTEGER &&
                     sqlite3_value_int64(values[n_columns]) == SumOf(n_columns, values);
  sqlite3_result_int(context, holds ? 1 : 0);
  if (holds) return;
  const SummedTable& table = function.self->tables_[function.table];
  function.self->NoteDamaged(DescribeDamage(table.name, table.key, Values(table, values)));
}

void RowSums::Agrees(sqlite3_context* context, int, sqlite3_value** values) {
  const auto& function = *static_cast<const Function*>(sqlite3_user_data(context));
  const SummedTable& table = function.self->tables_[function.table];
  const Values row(table, values);
  const bool agrees = RowAgrees(table.name, row);
  sqlite3_result_int(context, agrees ? 1 : 0);
  if (!agrees) function.self->NoteDamaged(DescribeDamage(table.name, table.key, row));
}

std::vector<DamagedRow> RowSums::TakeDamaged() {
  std::vector<DamagedRow> all(damaged_.begin(), damaged_.end());
  damaged_.clear();
  return all;
}

void RowSums::NoteDamaged(DamagedRow row) {
  if (damaged_.size() < kDamagedMax) damaged_.insert(std::move(row));
}

const SummedTable& RowSums::table(std::string_view name) const {
  const auto found = std::ranges::find(tables_, name, &SummedTable::name);
  LR_CHECK(found != tables_.end());
  return *found;
}

std::string RowSums::HoldsCall(const SummedTable& table, std::string_view alias) {
  const std::string prefix = alias.empty() ? "" : Str(alias, ".");
  return Str("row_holds_", table.name, "(", List(table.columns, prefix), ", ", prefix, "sum)");
}

std::string RowSums::AgreesCall(const SummedTable& table) {
  return Str("row_agrees_", table.name, "(", List(table.columns), ")");
}

Status RowSums::Keep() {
  RETURN_IF_ERROR(Execute(db_, "PRAGMA temp_store = MEMORY"));
  for (const SummedTable& table : tables_) {
    const std::string sum = Str("row_sum(", List(table.columns), ")");
    if (std::ranges::find(kBringTheirSum, table.name) == std::end(kBringTheirSum)) {
      RETURN_IF_ERROR(
          Execute(db_, Str("CREATE TEMP TRIGGER sum_inserted_", table.name,
                           " AFTER INSERT ON main.", table.name, " BEGIN UPDATE ", table.name,
                           " SET sum = ", sum, " WHERE ", WhereKey(table), "; END")));
    }
    RETURN_IF_ERROR(Execute(
        db_, Str("CREATE TEMP TRIGGER sum_updated_", table.name, " AFTER UPDATE OF ",
                 List(table.columns), " ON main.", table.name, " BEGIN UPDATE ", table.name,
                 " SET sum = CASE WHEN OLD.sum IS row_sum(", List(table.columns, "OLD."), ") THEN ",
                 sum, " ELSE ", kDamagedSum, " END WHERE ", WhereKey(table), "; END")));
  }
  return Status();
}

Status RowSums::HideDamaged(std::span<const BlankColumn> blank) {
  RETURN_IF_ERROR(Execute(db_, "PRAGMA temp_store = MEMORY"));
  // If a query also demands `kind = 'train'`, SQLite would use the constant instead of the column
  // before it knows whether the row has that value, and the checksum of another kind's
  // row would not hold.
  sqlite3_test_control(SQLITE_TESTCTRL_OPTIMIZATIONS, db_, kPropagateConstants);
  for (const SummedTable& table : tables_) {
    std::vector<std::string> columns;
    for (const std::string& column : table.columns) {
      const bool is_blank = std::ranges::any_of(blank, [&](const BlankColumn& one) {
        return one.table == table.name && one.column == column;
      });
      columns.push_back(is_blank ? Str("'' AS ", Quoted(column)) : Quoted(column));
    }
    // In WHERE, a column's name means the column and not the '' of the same name.
    RETURN_IF_ERROR(
        Execute(db_, Str("CREATE TEMP VIEW ", table.name, " AS SELECT ", Join(columns, ", "),
                         " FROM main.", table.name, " WHERE ", HoldsCall(table))));
  }
  // A view of the database reads its tables; created again here, it reads the views above.
  std::vector<std::pair<std::string, std::string>> views;  // name and definition
  RETURN_IF_ERROR(EachRow(db_, "SELECT name, sql FROM main.sqlite_schema WHERE type = 'view'",
                          [&](const std::vector<std::string>& row) {
                            if (IsOurView(row[0])) views.emplace_back(row[0], row[1]);
                          }));
  constexpr std::string_view kCreate = "CREATE VIEW ";
  for (const auto& [name, sql] : views) {
    if (!sql.starts_with(kCreate)) {
      return Status(Code::kDataLoss,
                    Str("the database's definition of view ", name,
                        " is damaged: start the coordinator again, which repairs it"));
    }
    RETURN_IF_ERROR(Execute(db_, Str("CREATE TEMP VIEW ", sql.substr(kCreate.size()))));
  }
  return Status();
}

Status RowSums::FillIn(const SummedTable& table, const SummedTable& before) {
  return Execute(db_, Str("UPDATE main.", table.name, " SET sum = CASE WHEN sum IS row_sum(",
                          List(before.columns), ") THEN row_sum(", List(table.columns), ") ELSE ",
                          kDamagedSum, " END"));
}

Status RowSums::FillIn(const SummedTable& table) {
  return Execute(db_, Str("UPDATE main.", table.name, " SET sum = CASE WHEN ", AgreesCall(table),
                          " THEN row_sum(", List(table.columns), ") ELSE ", kDamagedSum, " END"));
}

}  // namespace longrun::coordinator
