// Reads every row of a database, in parts so small that no log has to wait for it: damage is found
// before somebody asks for what it hit, and while a backup still has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/row_sum.h"

namespace longrun {

class Connection;

class Scrub {
 public:
  static Result<std::unique_ptr<Scrub>> Open(const std::string& database_path);
  ~Scrub();

  // Reads the next rows of a table, at most `n_rows_max`. A table that cannot be read to its end is left
  // for the next one.
  Status Step(std::int64_t n_rows_max);
  bool is_at_begin() const { return table_ == 0 && last_.empty(); }  // every table has been read
  // What was found since the last call.
  std::vector<DamagedRow> TakeDamaged();
  std::int64_t n_rows() const { return n_rows_; }  // read since Open

 private:
  explicit Scrub(std::unique_ptr<Connection> connection);
  Result<bool> ReadRows(const SummedTable& table, std::int64_t n_rows_max);

  std::unique_ptr<Connection> connection_;
  std::size_t table_ = 0;
  std::vector<StoredValue> last_;  // key of the last row read of it; none: begins
  std::int64_t n_rows_ = 0;
};

}  // namespace longrun
