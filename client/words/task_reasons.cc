// See task_reasons.h.
#include "client/words/task_reasons.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/str.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"
#include "sweeps/evaluation_name.h"

namespace longrun::client {
namespace {

constexpr int kReasonsShown = 30;
constexpr std::string_view kNobodyCan = "no worker can run it";  // how a scheduler's reason begins

// "4 train tasks", or "train task 1f2e3d4c".
std::string TasksText(const v1::TaskReason& reason) {
  if (reason.tasks() != 1) return Str(reason.tasks(), " ", reason.kind(), " tasks");
  const std::string evaluation = EvaluationName(JsonIn(reason.evaluation_json()), /*whole=*/false);
  return Str(reason.kind(), " task ", ShortId(reason.task()),
             evaluation.empty() ? "" : Str(" (", evaluation, ")"));
}

// "train task 1f2e3d4c is READY, PAUSED", "... FAILED", or "... was CANCELLED"; of several tasks,
// names the one of which the text is:
// "4 train tasks are READY, PAUSED; for example, task 1f2e3d4c of run 5a6b7c8d".
std::string SubjectText(const v1::TaskReason& reason) {
  const bool is_one = reason.tasks() == 1;
  const bool did_it = reason.state() == "FAILED" || reason.state() == "SUCCEEDED";
  std::string state = Str(is_one ? " is " : " are ", reason.state(),
                          reason.gate() == "NONE" ? "" : Str(", ", reason.gate()));
  if (reason.gate() == "ENDED") {
    state = Str(did_it ? " " : is_one ? " was " : " were ", reason.state());
  }
  return Str(TasksText(reason), state,
             is_one ? ""
                    : Str("; for example, task ", ShortId(reason.task()), " of run ",
                          ShortId(reason.run_key())));
}

// How the last attempt that did not succeed ended, unless the text tells it already.
std::string LastEndText(const v1::TaskReason& reason) {
  if (reason.failure_class().empty() || reason.state() == "SUCCEEDED") return "";
  if (reason.text().find(reason.failure()) != std::string::npos) return "";
  return Str("ended (", reason.failure_class(), "): ", reason.failure());
}

std::string TriesText(const v1::TaskReason& reason) {
  if (reason.attempts() <= reason.withdrawn() || reason.state() == "SUCCEEDED") return "";
  const int n_tried = reason.attempts() - reason.withdrawn();
  return Str(Counted(n_tried, "attempt"), " in all; ", Counted(reason.failures(), "failure"),
             " and ", Counted(reason.losses(), "loss", "losses"), " in this round");
}

std::string ReasonText(const v1::TaskReason& reason, bool names_run) {
  std::string text = Str(SubjectText(reason), ": ", OneLine(Printable(reason.text())), "\n");
  const auto line = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) text += Str("  ", name, ": ", OneLine(Printable(value)), "\n");
  };
  line("to resolve", reason.remedy());
  if (reason.has_until_wall_ms()) line("not before", FormatWallMs(reason.until_wall_ms()));
  if (reason.since_wall_ms() > 0) line("runs since", FormatWallMs(reason.since_wall_ms()));
  line("tried so far", TriesText(reason));
  line("last attempt", LastEndText(reason));
  if (names_run && reason.tasks() == 1) line("run", ShortId(reason.run_key()));
  return text;
}

std::string RunHeadline(const v1::GetReasonsResponse& answer) {
  std::vector<std::string> axes;
  const Json json = JsonIn(answer.axes_json());
  for (const auto& [axis, value] : json.items()) {
    axes.push_back(Str(ShortAxis(axis), "=", AxisText(value)));
  }
  return Str("run ", ShortId(answer.run_key()), axes.empty() ? "" : " ", Join(axes, " "));
}

// Whether a reason says the same as the notice, which may end with the reason's remedy.
bool IsTold(const v1::GetReasonsResponse& answer, const v1::Notice& notice) {
  return std::ranges::any_of(answer.reasons(), [&](const v1::TaskReason& reason) {
    std::string_view said = notice.text();
    const std::string remedy = Str(": ", reason.remedy());
    if (!reason.remedy().empty() && said.ends_with(remedy)) said.remove_suffix(remedy.size());
    return reason.text().find(said) != std::string::npos;
  });
}

}  // namespace

std::string ReasonsText(const v1::GetReasonsResponse& answer) {
  const bool is_sweep = answer.run_key().empty();
  std::string text = Str(is_sweep ? Headline(answer.info()) : RunHeadline(answer), "\n");
  for (int i = 0; i < std::min(answer.reasons_size(), kReasonsShown); ++i) {
    text += ReasonText(answer.reasons(i), is_sweep);
  }
  if (answer.reasons_size() > kReasonsShown) {
    text += Str("and ", Counted(answer.reasons_size() - kReasonsShown, "more reason"),
                ": -o json shows all\n");
  }
  if (answer.reasons().empty()) text += "it has no tasks\n";
  for (const v1::Notice& notice : answer.notices()) {
    if (!IsTold(answer, notice)) text += Str("also: ", OneLine(Printable(notice.text())), "\n");
  }
  return text;
}

std::string UnfitText(const v1::GetReasonsResponse& answer) {
  std::vector<std::string> lines;
  int n_more = 0;
  for (const v1::TaskReason& reason : answer.reasons()) {
    if (reason.state() != "READY") continue;
    if (std::ssize(lines) >= 2 * kReasonsShown) {
      n_more += 1;
      continue;
    }
    std::string_view text = reason.text();
    const std::string subject = TasksText(reason);
    const bool is_told = text.starts_with(kNobodyCan);
    if (is_told) text.remove_prefix(kNobodyCan.size());
    const std::string shown = OneLine(Printable(text));
    lines.push_back(is_told ? Str("no worker can run ", subject, shown)
                            : Str(subject, ": ", shown));
    lines.push_back(Str("  to resolve: ", OneLine(Printable(reason.remedy()))));
  }
  if (n_more > 0) lines.push_back(Str("and ", Counted(n_more, "more reason"), ": `longrun why`"));
  if (lines.empty()) return "the worker of this machine can do nothing more of the sweep";
  return Join(lines, "\n");
}

void SayNoService(const std::string& state, v1::GetReasonsResponse& answer) {
  static const std::set<std::string_view> kOwn = {"ENDED", "PAUSED", "UNREADABLE"};
  answer.clear_notices();
  for (v1::TaskReason& reason : *answer.mutable_reasons()) {
    if (kOwn.contains(reason.gate())) continue;
    const std::string& worker = reason.worker();
    reason.set_text(Str(
        worker.empty() ? "" : Str("attempt ", reason.attempts(), " began on worker ", worker, "; "),
        "no service runs on ", state));
    reason.set_gate("NO_SERVICE");
    reason.set_remedy("`longrun up` continues all work");
    reason.clear_until_wall_ms();
    reason.clear_since_wall_ms();
  }
}

}  // namespace longrun::client
