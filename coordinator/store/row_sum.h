// A checksum for each row. Every table has a column `sum`: the CRC32C of the row's other columns,
// in order. Every writing connection maintains it, and reading connections never see a row that
// does not match it. So a bit that flips on the disk, or on the way to or from it, never leads to a
// wrong number.
//
// Both use triggers and views in the connection's own temporary schema, not in the database's. So
// any other program can open the file, but its changes count as damage.
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

namespace longrun::coordinator {

struct SummedTable {
  std::string name;
  std::vector<std::string> columns = {};  // without `sum`
  std::vector<std::string> key = {};      // the columns of the primary key
  bool has_rowid = false;
  bool operator==(const SummedTable&) const = default;
};

// A value of a row: NULL, INTEGER, REAL or TEXT.
using StoredValue = std::variant<std::monostate, std::int64_t, double, std::string>;

// The checksum of a row's columns without `sum`.
std::int64_t RowSum(std::span<const StoredValue> values);

// The sum that a damaged row gets when it is written; no valid row has it. In databases of builds
// before 0.1, it is the sum of the row's values plus one.
inline constexpr std::int64_t kDamagedSum = -1;
inline constexpr std::int64_t kDamagedSumAdded = 1;

// The checksums of one connection. This object must outlive the connection.
class RowSums {
 public:
  static constexpr std::size_t kDamagedMax = 1000;  // damaged rows kept between two TakeDamaged()

  // Finds the tables with a column `sum`, and adds these functions to the connection:
  //   row_sum(COLUMN, ...)               the checksum
  //   row_holds_TABLE(COLUMN, ..., sum)  1; or 0, and the row is noted for TakeDamaged()
  //   row_agrees_TABLE(COLUMN, ...)      the same for the row's own digests (row_identity.h)
  static Result<std::unique_ptr<RowSums>> Of(sqlite3* db);

  // From now on this connection writes every row with its checksum. A row that was already damaged
  // before it was changed stays damaged.
  Status Keep();
  struct BlankColumn {
    std::string_view table, column;
  };
  // From now on this connection does not see damaged rows in tables and views, and sees no text in
  // the columns of `blank`. The names stay the same.
  Status HideDamaged(std::span<const BlankColumn> blank = {});
  // Writes the checksums of a table that has none yet. A row that does not agree with its own
  // digests gets an invalid one.
  Status FillIn(const SummedTable& table);
  // Writes the checksums of a table that had other columns before, all of which it still has with
  // the same values. A row that was damaged stays so.
  Status FillIn(const SummedTable& table, const SummedTable& before);

  const std::vector<SummedTable>& tables() const { return tables_; }
  const SummedTable& table(std::string_view name) const;  // there must be one
  // Returns "row_holds_task(id, ..., sum)", with the columns of `alias` if given.
  static std::string HoldsCall(const SummedTable& table, std::string_view alias = "");
  static std::string AgreesCall(const SummedTable& table);

  // The damaged rows met since the last call, each once.
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

}  // namespace longrun::coordinator
