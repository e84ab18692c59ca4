// See store.h.
#include <algorithm>
#include <array>
#include <utility>

#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "sweeps/failure.h"

namespace longrun::coordinator {
namespace {

// After these ends, the rows themselves are in doubt.
bool DoubtsItsRows(const std::string& failure_class) {
  constexpr std::array kDoubtful = {FailureClass::kData, FailureClass::kIncomplete};
  return std::ranges::any_of(
      kDoubtful, [&](FailureClass one) { return FailureOf(one).name == failure_class; });
}

}  // namespace

Result<std::vector<EarlierLines>> Store::EarlierLinesOf(const std::string& task,
                                                        const EpochRange& epochs,
                                                        std::int64_t n_bytes_max) {
  RETURN_IF_ERROR(OpenReader());
  std::vector<EarlierLines> earlier;
  {
    // A file that was gone when its record came, or whose record is damaged, is in one table only.
    ASSIGN_OR_RETURN(
        Statement attempts,
        reader_->Prepare(
            "SELECT attempt.id, attempt.failure_class,"
            " (SELECT started.line FROM record started WHERE started.attempt = attempt.id"
            " AND started.kind = 'started' ORDER BY seq LIMIT 1) FROM attempt"
            " WHERE attempt.task = ? AND attempt.epoch > ? AND attempt.epoch < ?"
            " AND (SELECT count(*) FROM record WHERE record.attempt = attempt.id"
            " AND record.kind = 'artifact') ="
            " (SELECT count(*) FROM artifact WHERE artifact.attempt = attempt.id)"
            " ORDER BY attempt.epoch DESC"));
    attempts.Bind(task)
        .Bind(static_cast<std::int64_t>(epochs.after))
        .Bind(static_cast<std::int64_t>(epochs.before));
    RETURN_IF_ERROR(ForEachRow(attempts, [&](const Statement& row) {
      if (DoubtsItsRows(row.Text(1)) || row.IsNull(2)) return;
      earlier.push_back({.attempt = row.Text(0), .started = row.Text(2), .results = {}});
    }));
  }
  std::int64_t n_bytes = 0;
  for (EarlierLines& one : earlier) {
    ASSIGN_OR_RETURN(Statement lines,
                     reader_->Prepare("SELECT seq, line FROM result WHERE attempt = ?1"
                                      " UNION ALL SELECT seq, line FROM record"
                                      " WHERE attempt = ?1 AND kind = 'artifact' ORDER BY 1"));
    lines.Bind(one.attempt);
    while (n_bytes < n_bytes_max) {
      ASSIGN_OR_RETURN(const bool more, lines.Step());
      if (!more) break;
      n_bytes += std::ssize(one.results.emplace_back(lines.Text(1)));
    }
  }
  std::erase_if(earlier, [](const EarlierLines& one) { return one.results.empty(); });
  return earlier;
}

}  // namespace longrun::coordinator
