// Measuring again what is known: an evaluation that succeeded with a version that measured less
// gets a new round, from the final checkpoint of its run. Nothing is trained.
//
// Its numbers count until the new attempt is complete: Task::result_attempt stays, so tables show
// the earlier rows, whatever dies meanwhile. If the round ends without new numbers (it fails, or is
// cancelled), the task has succeeded with its earlier ones, as before.
//
// A checkpoint and an evaluation define a number: the same program on the same machine gives the
// same bits again. So the sums of both attempts are compared. Within rounding, or not, the new rows
// count: value, error and blocks must come from one measurement. The earlier rows stay as history,
// the task's reason says what came of it, and a difference beyond rounding is also logged. Only a
// number that would be lost (out_of_memory where there was a value) is not: then the earlier rows
// stay.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// Another summation order changes an fp32 mean by some 1e-7 (docs/numerics.md); no table shows 1e-5
// of an nll.
constexpr double kRounding = 1e-5;
constexpr std::string_view kOk = "ok";

struct Comparison {
  std::string lost;      // the first number that is there no more, with its status
  std::string differs;   // the first that differs by more than rounding
  double largest = 0.0;  // relative difference of the sums
  bool same_bits = true;
};

std::string Digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

double RelativeDifference(double a, double b) {
  if (a == b) return 0.0;
  return std::abs(a - b) / std::max(std::abs(a), std::abs(b));
}

Comparison Compare(const std::vector<MeasuredNumber>& earlier,
                   const std::vector<MeasuredNumber>& now) {
  Comparison compared;
  const auto note = [](std::string& slot, std::string text) {
    if (slot.empty()) slot = std::move(text);
  };
  for (const MeasuredNumber& before : earlier) {
    const auto after = std::ranges::find(now, before.asked, &MeasuredNumber::asked);
    if (after == now.end()) continue;
    if (before == *after) continue;
    compared.same_bits = false;
    const std::string what = Describe(before.asked);
    if (before.status != after->status) {
      if (before.status == kOk) note(compared.lost, Str(what, ": ", after->status));
      note(compared.differs, Str(what, " is ", after->status, " instead of ", before.status));
      continue;
    }
    if (!before.nll_sum || !after->nll_sum || before.n != after->n) {
      note(compared.differs, Str(what, " is over ", after->n, " tokens instead of ", before.n));
      continue;
    }
    const double relative = RelativeDifference(*before.nll_sum, *after->nll_sum);
    compared.largest = std::max(compared.largest, relative);
    if (relative <= kRounding) continue;
    const auto n = static_cast<double>(std::max<std::int64_t>(before.n, 1));
    note(compared.differs, Str(what, " is ", Digits(*after->nll_sum / n), " instead of ",
                               Digits(*before.nll_sum / n)));
  }
  return compared;
}

std::string NameOf(const State& state, const std::string& attempt) {
  const auto found = state.attempts.find(attempt);
  return found == state.attempts.end() ? std::string("the earlier attempt")
                                       : Str("attempt ", found->second.n);
}

}  // namespace

bool IsRefreshing(const Task& task) {
  return task.kind == TaskKind::kEvaluate && !IsTerminal(task.state) &&
         !task.result_attempt.empty();
}

bool MayRefresh(const State& state, const StaleResult& stale) {
  const auto found = state.tasks.find(stale.task);
  if (found == state.tasks.end() || stale.cells.empty()) return false;
  const Task& task = found->second;
  const bool has_result = task.kind == TaskKind::kEvaluate && task.state == TaskState::kSucceeded &&
                          !task.result_attempt.empty();
  if (!has_result || task.result_attempt != stale.result_attempt) return false;
  if (task.needs.empty()) return true;
  const auto training = state.tasks.find(task.needs);
  return training != state.tasks.end() && training->second.state == TaskState::kSucceeded &&
         training->second.final_checkpoint.has_value();
}

void StartRefresh(StepContext& step, std::vector<StaleResult> stale) {
  for (StaleResult& one : stale) {
    Task& task = step.state.tasks.at(one.task);
    // A sweep that is submitted may list a task twice.
    if (!MayRefresh(step.state, one)) continue;
    task.expected_cells = std::move(one.cells);
    task.earlier = std::move(one.numbers);
    RefreshTask(step, task,
                Str("measured again for its error over the text: waits for a free slot; the "
                    "numbers of ",
                    NameOf(step.state, task.result_attempt), " count until then"));
    step.result.refreshed.push_back(task.id);
  }
}

void KeepEarlier(StepContext& step, Task& task, const std::string& why) {
  task.cancel_wanted = false;
  Release(task.earlier);
  MoveTask(step, task, TaskState::kSucceeded,
           Str("keeps the numbers of ", NameOf(step.state, task.result_attempt),
               ", which were not measured again: ", why));
}

void TakeRefreshed(StepContext& step, Task& task, const Attempt& attempt) {
  const Comparison compared = Compare(task.earlier, attempt.rows.numbers);
  if (!compared.lost.empty()) {
    return KeepEarlier(step, task, Str("attempt ", attempt.n, " has no ", compared.lost));
  }
  const std::string before = NameOf(step.state, task.result_attempt);
  std::string outcome;
  if (task.earlier.empty()) {
    outcome = Str("the numbers of ", before, " could not be read, so they were not compared");
  } else if (compared.same_bits) {
    outcome = Str("its numbers equal those of ", before, ", bit for bit");
  } else if (compared.differs.empty()) {
    outcome = Str("its numbers equal those of ", before, " up to rounding (",
                  Digits(compared.largest), " of the sum)");
  } else {
    outcome = Str("its numbers differ from those of ", before,
                  " by more than rounding: ", compared.differs);
    step.result.differences.push_back(Str("task ", ShortId(task.id), " of run ",
                                          ShortId(task.run_key), ", measured again: ", outcome));
  }
  task.result_attempt = attempt.id;
  Release(task.earlier);
  MoveTask(step, task, TaskState::kSucceeded,
           Str("complete with attempt ", attempt.n, "; ", outcome));
}

}  // namespace longrun::coordinator
