// Reads every row of a database, to find damage before anybody needs the damaged row, and while a
// backup still has it. The steps are so small that no checkpoint of the WAL has to wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/row_sum.h"

namespace longrun::coordinator {

class Connection;

class Scrub {
 public:
  static Result<std::unique_ptr<Scrub>> Open(const std::string& database_path);
  ~Scrub();

  // Reads the next rows of a table, at most `n_rows_max`. If a table cannot be read to its end,
  // continues with the next one.
  Status Step(std::int64_t n_rows_max);
  bool is_at_begin() const { return table_ == 0 && last_.empty(); }  // every table has been read
  // The damage found since the last call.
  std::vector<DamagedRow> TakeDamaged();
  std::int64_t n_rows() const { return n_rows_; }  // read since Open

 private:
  explicit Scrub(std::unique_ptr<Connection> connection);
  Result<bool> ReadRows(const SummedTable& table, std::int64_t n_rows_max);

  std::unique_ptr<Connection> connection_;
  std::size_t table_ = 0;
  std::vector<StoredValue> last_;  // key of the last row read; empty: at the beginning
  std::int64_t n_rows_ = 0;
};

}  // namespace longrun::coordinator
