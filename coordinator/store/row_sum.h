// A checksum for each row. Every table has a column `sum`: the CRC32C of the row's other columns, in
// their order. Who writes keeps it, and who reads never sees a row for which it does not hold; so a
// bit that flipped on its way to the disk, on it or back never becomes another number.
//
// Both are done beside the schema, by triggers and views in the connection's own temporary schema:
// any other program can open the file, and what it changes there counts as damage.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"

namespace longrun {

struct SummedTable {
  std::string name;
  std::vector<std::string> columns = {};  // without `sum`
  std::vector<std::string> key = {};      // of these, the primary key
  bool has_rowid = false;
  bool operator==(const SummedTable&) const = default;
};

// A value of a row: NULL, INTEGER, REAL or TEXT.
using StoredValue = std::variant<std::monostate, std::int64_t, double, std::string>;

// The checksum of a row's columns without `sum`.
std::int64_t RowSum(std::span<const StoredValue> values);

// The sum that a damaged row gets when it is written: no row that holds has it. In databases of builds
// before 0.1 it is the sum of its values, and one.
inline constexpr std::int64_t kDamagedSum = -1;
inline constexpr std::int64_t kDamagedSumAdded = 1;

// Of one connection, which it must outlive.
class RowSums {
 public:
  static constexpr std::size_t kDamagedMax =
      1000;  // rows that a connection keeps between two TakeDamaged()

  // Looks for the tables that have a column `sum`, and gives the connection the functions
  //   row_sum(COLUMN, ...)               the checksum
  //   row_holds_TABLE(COLUMN, ..., sum)  1, or 0 and a note for TakeDamaged()
  //   row_agrees_TABLE(COLUMN, ...)      the same of the row's own digests (row_identity.h)
  static Result<std::unique_ptr<RowSums>> Of(sqlite3* db);

  // From now on every row that this connection writes has its checksum. A row that was damaged before
  // it was changed stays damaged.
  Status Keep();
  // From now on tables and views have no damaged rows for this connection, under their own names.
  Status HideDamaged();
  // Writes the checksums of a table that has none yet. A row that does not agree with its own digests
  // gets one that does not hold.
  Status FillIn(const SummedTable& table);

  const std::vector<SummedTable>& tables() const { return tables_; }
  const SummedTable& table(std::string_view name) const;  // there must be one
  // "row_holds_task(id, ..., sum)", of the columns of `alias` where one is given.
  static std::string HoldsCall(const SummedTable& table, std::string_view alias = "");
  static std::string AgreesCall(const SummedTable& table);

  // Those that were met since the last call, each once.
  std::vector<DamagedRow> TakeDamaged();
  void NoteDamaged(DamagedRow row);
  const std::set<DamagedRow>& noted() const { return damaged_; }

 private:
  struct Function {
    RowSums* self = nullptr;
    std::size_t table = 0;
  };
  explicit RowSums(sqlite3* db) : db_(db) {}
  Status FindTables();
  Status AddFunctions();
  static void Holds(sqlite3_context* context, int n_values, sqlite3_value** values);
  static void Agrees(sqlite3_context* context, int n_values, sqlite3_value** values);

  sqlite3* db_;
  std::vector<SummedTable> tables_;
  std::vector<std::unique_ptr<Function>> functions_;
  std::set<DamagedRow> damaged_;
};

}  // namespace longrun
