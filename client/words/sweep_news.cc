#include "client/words/sweep_news.h"

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/words/sweep_view.h"

namespace longrun::client {

std::vector<std::string> SweepNews::Of(const v1::ListSweepsResponse& sweeps) {
  std::vector<std::string> lines;
  for (const v1::SweepInfo& sweep : sweeps.sweeps()) {
    const std::pair<std::string, std::int64_t> now(sweep.state(), sweep.tasks_failed());
    std::pair<std::string, std::int64_t>& told = told_[sweep.sweep_id()];
    if (std::exchange(told, now) == now) continue;
    const bool has_ended = SweepExitCode({sweep.state()}) != kExitIncomplete;
    if (is_first_ && has_ended) continue;
    lines.push_back(Str(Headline(sweep), sweep.tasks_failed() > 0
                                             ? Str(": `longrun get ", sweep.name(), "` says why")
                                             : std::string()));
  }
  is_first_ = false;
  return lines;
}

}  // namespace longrun::client
