// Orders about all tasks of a sweep: cancel, pause, resume, retry. A sweep may have 200,000 tasks,
// and nobody else has a turn during a step. So the caller says how many tasks a step may do, and
// gives others their turn between two steps.
//
// The first step stores what becomes of the sweep, and that the order is under way; the last one
// removes this. After a crash in between, the next coordinator does the rest at its start, in one
// step, since nobody waits yet.
#include <utility>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

void DoOne(StepContext& step, SweepOrder& order, Task& task) {
  switch (order.kind) {
    case OrderKind::kCancel:
      return CancelOne(step, order, task);
    case OrderKind::kPause:
      return HoldIfPaused(step, task);
    case OrderKind::kResume:
      return ReleaseIfActive(step, task);
    case OrderKind::kRetry:
      return RetryOne(step, order, task);
  }
}

// Does at least n_max tasks, unless there are fewer. Returns whether all are done.
bool DoTasks(StepContext& step, SweepOrder& order, std::size_t n_max) {
  State& state = step.state;
  const std::set<std::string>& tasks = state.sweep_tasks.at(order.sweep_id);
  // Those at work come first: their trainers should not wait for the others.
  std::vector<std::string> live;
  for (const std::string& attempt : state.index.live) {
    const std::string& id = state.attempts.at(attempt).task;
    if (tasks.contains(id) && !order.IsDone(id)) live.push_back(id);
  }
  std::size_t n_done = 0;
  const auto do_one = [&](const std::string& id) {
    const std::size_t n_early = order.early.size();
    DoOne(step, order, state.tasks.at(id));
    n_done += 1 + order.early.size() - n_early;
  };
  for (const std::string& id : live) {
    if (order.IsDone(id)) continue;
    if (n_done >= n_max) return false;
    do_one(id);
    order.early.insert(id);
  }
  for (auto next = tasks.upper_bound(order.done_to); next != tasks.end(); ++next) {
    if (n_done >= n_max) return false;
    order.done_to = *next;
    if (order.early.erase(*next) == 0) do_one(*next);
  }
  return true;
}

bool IsToDo(const State& state, const std::string& task) {
  return state.order && !state.order->IsDone(task) &&
         state.sweep_tasks.at(state.order->sweep_id).contains(task);
}

void GoOn(StepContext& step, std::size_t n_max) {
  std::optional<SweepOrder>& order = step.state.order;
  step.result.goes_on = !DoTasks(step, *order, n_max);
  if (step.result.goes_on) return;
  order.reset();
  step.sweeps.push_back(PutOrder{});
}

}  // namespace

Status CheckOrder(const State& state, const std::string& sweep_id, std::size_t n_tasks_max) {
  RETURN_IF_ERROR(CheckSubmitted(state, sweep_id));
  if (!state.order || state.sweep_tasks.at(sweep_id).size() <= n_tasks_max) return Status();
  return Status(Code::kUnavailable,
                "an order about another large sweep is being carried out: try "
                "again");
}

void BeginOrder(StepContext& step, SweepOrder order, std::size_t n_tasks_max) {
  State& state = step.state;
  if (state.sweep_tasks.at(order.sweep_id).size() <= n_tasks_max) {
    // Beside one that goes on, if there is one.
    DoTasks(step, order, kAllTasks);
    return;
  }
  step.sweeps.push_back(PutOrder{.order = order});
  order.is_driven = true;
  state.order = std::move(order);
  step.result.goes_on = !DoTasks(step, *state.order, n_tasks_max);
}

void HandleEvent(StepContext& step, const OrderContinued& event) {
  if (step.state.order) GoOn(step, event.n_tasks_max);
}

void FinishOrder(StepContext& step) {
  if (!step.state.order || step.state.order->is_driven) return;
  if (step.state.sweep_tasks.contains(step.state.order->sweep_id)) return GoOn(step, kAllTasks);
  step.state.order.reset();  // all its rows were lost
  step.sweeps.push_back(PutOrder{});
}

bool IsAboutToLeave(const State& state, const std::string& task) {
  if (!IsToDo(state, task)) return false;
  const OrderKind kind = state.order->kind;
  if (kind != OrderKind::kCancel && kind != OrderKind::kPause) return false;
  return IsHeld(state, task) || OnlyCancelledSweepsHave(state, task);
}

bool IsAboutToReturn(const State& state, const Task& task) {
  if (!IsToDo(state, task.id)) return false;
  const OrderKind kind = state.order->kind;
  return (kind == OrderKind::kResume || kind == OrderKind::kRetry) &&
         !state.index.waiting.contains({task.not_before, task.id});
}

}  // namespace longrun::coordinator
