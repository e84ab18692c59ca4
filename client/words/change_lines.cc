#include "client/words/change_lines.h"

#include <set>

#include "base/str.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun::client {

bool ChangeLines::HasRoom(std::int64_t now_ms) {
  while (!written_ms_.empty() && now_ms - written_ms_.front() >= 1000) written_ms_.pop_front();
  return written_ms_.size() < kLinesPerSecond;
}

std::vector<std::string> ChangeLines::Of(const v1::WatchSweepResponse& message,
                                         std::int64_t now_ms) {
  const Runs& runs = message.runs();
  const bool is_large = static_cast<std::size_t>(runs.size()) > kRunsEach;
  std::vector<std::string> lines;
  if (is_first_ && is_large) lines.push_back(Headline(message.info()));
  const std::set<std::string> other_axes = OtherAxes(runs);
  for (const v1::RunInfo& run : runs) {
    std::string& last = milestones_[run.run_key()];
    std::string now = Milestone(run, last);
    if (now == last) continue;
    last = std::move(now);
    if (is_large && is_first_ && (IsWaiting(run) || IsDone(run))) continue;
    if (is_large && !HasRoom(now_ms)) {
      n_left_out_ += 1;
      continue;
    }
    if (is_large) written_ms_.push_back(now_ms);
    lines.push_back(ChangeLine(run, other_axes));
  }
  // At most once a second, and at the end.
  const bool is_over = message.finished();
  if (n_left_out_ > 0 && (is_over || HasRoom(now_ms))) {
    lines.push_back(
        Str("and ", Counted(n_left_out_, "change"), " more: ", Headline(message.info())));
    n_left_out_ = 0;
    written_ms_.push_back(now_ms);
  }
  is_first_ = false;
  return lines;
}

}  // namespace longrun::client
