#include "client/words/failures.h"

#include <algorithm>
#include <vector>

#include "base/str.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

constexpr std::size_t kShown = 5;      // failures in full; the rest are counted
constexpr std::size_t kLogLines = 10;  // the last lines of each
constexpr std::size_t kKeepBytes = std::size_t{64} << 10;

std::vector<std::string> LastLines(std::string_view text, std::size_t n_max) {
  std::vector<std::string> lines;
  for (std::string& line : Split(text, '\n')) {
    if (!Trim(line).empty()) lines.push_back(std::move(line));
  }
  if (lines.size() > n_max) {
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(n_max));
  }
  return lines;
}

std::string LogTail(CoordinatorConnection& connection, const std::string& attempt) {
  std::string tail;
  const Status status =
      connection.GetLogs(attempt, /*follow=*/false, [&tail](const v1::GetLogsResponse& message) {
        tail += message.text();
        if (tail.size() > 2 * kKeepBytes) tail.erase(0, tail.size() - kKeepBytes);
        return true;
      });
  if (!status.ok()) return Str("  its log cannot be read: ", status.message(), "\n");
  std::string text;
  for (const std::string& line : LastLines(tail, kLogLines)) {
    text += Str("  | ", Printable(line), "\n");
  }
  if (text.empty()) return "  its log is empty\n";
  return Str(text, "  the whole log: `longrun logs ", attempt, "`\n");
}

std::string OneFailure(CoordinatorConnection& connection, const std::string& name,
                       const v1::RunInfo& run, const v1::TaskInfo& task) {
  const std::string& attempt = task.attempt();
  std::string text =
      Str(task.kind(), " task ", ShortId(task.task()), " of ", name, " ", ShortId(run.run_key()),
          " failed: ", OneLine(Printable(task.reason())), "\n");
  if (attempt.empty()) return text;
  return text + LogTail(connection, attempt);
}

}  // namespace

std::string FailuresText(CoordinatorConnection& connection, const Runs& runs,
                         const std::string& again) {
  std::string text;
  std::size_t n_failed = 0;
  std::size_t n_for_good = 0;
  RunNames names(runs);
  for (const v1::RunInfo& run : runs) {
    for (const v1::TaskInfo& task : run.tasks()) {
      if (task.state() != "FAILED") continue;
      if (task.failed_for_good()) ++n_for_good;
      if (++n_failed <= kShown) text += Str("\n", OneFailure(connection, names.Of(run), run, task));
    }
  }
  if (n_failed == 0) return "";
  if (n_failed > kShown) {
    text += Str("\nand ", n_failed - kShown, " more; `longrun get RUN` shows those of one run\n");
  }
  if (n_for_good < n_failed) {
    text += Str("\nnext, when that is fixed: `longrun retry ", again, "`\n");
  }
  if (n_for_good > 0) {
    text +=
        "\nnext: change the sweep file as suggested above, and run it; diverged training runs are "
        "not retried, since they would diverge again\n";
  }
  return text;
}

}  // namespace longrun::client
