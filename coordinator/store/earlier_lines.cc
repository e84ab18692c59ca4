// Part of StoreReader (reader.h): what the earlier attempts of an evaluation have measured.
#include <algorithm>
#include <array>
#include <utility>

#include "coordinator/store/read_rows.h"
#include "coordinator/store/reader.h"
#include "sweeps/failure.h"

namespace longrun::coordinator {
namespace {

// An attempt has the results that it took over, too: older ones seldom have more.
constexpr int kAttemptsMax = 8;

// After these ends, the rows themselves are in doubt.
bool DoubtsItsRows(const std::string& failure_class) {
  constexpr std::array kDoubtful = {FailureClass::kData, FailureClass::kIncomplete};
  return std::ranges::any_of(
      kDoubtful, [&](FailureClass one) { return FailureOf(one).name == failure_class; });
}

}  // namespace

Result<std::vector<EarlierLines>> StoreReader::EarlierLinesOf(const std::string& task,
                                                              const EpochRange& epochs,
                                                              std::int64_t n_bytes_max) {
  std::vector<EarlierLines> earlier;
  RETURN_IF_ERROR(ReadEach(
      *connection_,
      "SELECT attempt.id, attempt.failure_class,"
      " (SELECT started.line FROM record started WHERE started.attempt = attempt.id"
      " AND started.kind = 'started' ORDER BY seq LIMIT 1) FROM attempt"
      " WHERE attempt.task = ? AND attempt.epoch > ? AND attempt.epoch < ?"
      " AND EXISTS (SELECT 1 FROM result WHERE result.attempt = attempt.id)"
      " ORDER BY attempt.epoch DESC LIMIT ?",
      [&](const Statement& row) {
        if (DoubtsItsRows(row.Text(1)) || row.IsNull(2)) return;
        earlier.push_back({.attempt = row.Text(0), .started = row.Text(2), .results = {}});
      },
      task, static_cast<std::int64_t>(epochs.after), static_cast<std::int64_t>(epochs.before),
      std::int64_t{kAttemptsMax}));
  std::int64_t n_bytes = 0;
  for (EarlierLines& one : earlier) {
    // All records, since a gap in their numbers is one that cannot be read. A file that was gone
    // when its record came has no row in `artifact`.
    ASSIGN_OR_RETURN(
        Statement lines,
        Read(*connection_,
             "SELECT seq, 'result', line FROM result WHERE attempt = ?1"
             " UNION ALL SELECT record.seq, record.kind, CASE WHEN record.kind = 'artifact'"
             " AND artifact.seq IS NOT NULL THEN record.line ELSE '' END"
             " FROM record LEFT JOIN artifact ON artifact.attempt = record.attempt"
             " AND artifact.seq = record.seq WHERE record.attempt = ?1 ORDER BY 1",
             one.attempt));
    std::int64_t seq = 0;
    while (n_bytes < n_bytes_max) {
      ASSIGN_OR_RETURN(const bool more, lines.Step());
      if (!more) break;
      const bool is_next = lines.Int(0) == ++seq;
      seq = lines.Int(0);
      if (!is_next) one.results.emplace_back();
      const std::string kind = lines.Text(1);
      if (kind != "result" && kind != "artifact") continue;
      n_bytes += std::ssize(one.results.emplace_back(lines.Text(2)));
    }
  }
  return earlier;
}

}  // namespace longrun::coordinator
