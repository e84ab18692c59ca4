// See stored_numbers.h.
#include "coordinator/store/stored_numbers.h"

#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/read_rows.h"
#include "sweeps/event.h"

namespace longrun::coordinator {

Result<std::vector<MeasuredNumber>> ReadNumbers(Connection& connection,
                                                const std::string& attempt) {
  std::vector<MeasuredNumber> numbers;
  RETURN_IF_ERROR(ReadEach(
      connection, "SELECT line FROM result WHERE attempt = ? ORDER BY seq",
      [&](const Statement& row) {
        const auto record = ParseJournalLine(row.Text(0));
        if (!record.ok()) return;
        const auto* const result = record->As<ResultRecord>();
        if (result != nullptr) numbers.push_back(NumberOf(*result));
      },
      attempt));
  return numbers;
}

}  // namespace longrun::coordinator
