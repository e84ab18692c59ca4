#include "client/words/no_service.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/host_name.h"
#include "base/str.h"
#include "client/words/render.h"
#include "sweeps/worker_folder.h"
#include "sweeps/worker_id.h"

namespace longrun::client {
namespace {

constexpr const char* kInterrupted = "INTERRUPTED";

bool HasBegun(const std::string& state) {
  static const std::set<std::string> begun = {"RESERVED", "RUNNING", "STOPPING"};
  return begun.contains(state);
}

void ShowInterrupted(v1::RunInfo& run) {
  for (v1::TaskInfo& task : *run.mutable_tasks()) {
    if (!HasBegun(task.state())) continue;
    task.set_state(kInterrupted);
    const std::string& worker = task.worker();
    task.set_reason(
        Str("attempt ", task.attempts(), " began", worker.empty() ? "" : " on worker ", worker));
    for (v1::AttemptInfo& attempt : *task.mutable_attempt_list()) {
      if (attempt.state() == "RUNNING") attempt.set_state(kInterrupted);
    }
  }
}

// They assume a service that waits for the worker.
void RemoveNoticesOfWork(Repeated<v1::Notice>& notices) {
  const auto is_of_work = [](const v1::Notice& notice) {
    return notice.about().starts_with("worker ") || notice.about().starts_with("task ");
  };
  notices.erase(std::remove_if(notices.begin(), notices.end(), is_of_work), notices.end());
}

// Whether the worker is on another machine, and so connects over the network.
bool IsElsewhere(const v1::WorkerInfo* worker, const std::string& state) {
  if (worker == nullptr || worker->host() == HostName()) return false;
  // This machine may have had another name.
  const Result<std::string> own = ReadWorkerId(JoinPath(OwnWorkerFolder(state), "worker_id"));
  return own.status().code() == Code::kNotFound || (own.ok() && *own != worker->worker_id());
}

}  // namespace

std::string StateWithoutService(const std::string& state) {
  return state == "RUNNING" ? kInterrupted : state;
}

std::string TaskStateWithoutService(const std::string& state) {
  return HasBegun(state) ? kInterrupted : state;
}

void ShowInterrupted(v1::GetSweepResponse& message) {
  v1::SweepInfo& info = *message.mutable_info();
  info.set_state(StateWithoutService(info.state()));
  for (v1::RunInfo& run : *message.mutable_runs()) ShowInterrupted(run);
  RemoveNoticesOfWork(*message.mutable_notices());
}

void ShowInterrupted(v1::GetRunResponse& message) {
  ShowInterrupted(*message.mutable_run());
  RemoveNoticesOfWork(*message.mutable_notices());
}

void ShowInterrupted(v1::GetReasonsResponse& message) {
  if (message.has_info()) {
    message.mutable_info()->set_state(StateWithoutService(message.info().state()));
  }
  for (v1::TaskReason& reason : *message.mutable_reasons()) {
    reason.set_state(TaskStateWithoutService(reason.state()));
  }
}

bool WasAtWork(const v1::WorkerInfo& worker) {
  static const std::set<std::string> at_work = {"READY", "DRAINING", "SUSPECT"};
  return at_work.contains(worker.state());
}

void ShowInterrupted(v1::ListWorkersResponse& message) {
  for (v1::WorkerInfo& worker : *message.mutable_workers()) {
    if (WasAtWork(worker)) worker.set_state("OFFLINE");
  }
  RemoveNoticesOfWork(*message.mutable_notices());
}

std::int64_t TrainersAtWork(const std::string& state) {
  const std::string attempts = AttemptsFolder(OwnWorkerFolder(state));
  const Result<std::vector<std::string>> ids = ListFolder(attempts);
  if (!ids.ok()) return 0;
  // The parent of a trainer holds this lock until the trainer has ended.
  return std::ranges::count_if(*ids, [&](const std::string& id) {
    return FileLock::IsHeld(ShimLockPath(JoinPath(attempts, id)));
  });
}

std::string NoServiceText(const Repeated<v1::WorkerInfo>& workers, const std::string& state) {
  const v1::WorkerInfo* last = nullptr;
  const auto heard_ms = [](const v1::WorkerInfo& worker) { return worker.heard_wall_ms(); };
  for (const v1::WorkerInfo& worker : workers) {
    if (heard_ms(worker) > 0 && (last == nullptr || heard_ms(worker) > heard_ms(*last))) {
      last = &worker;
    }
  }
  const std::int64_t n_trainers = TrainersAtWork(state);
  return Str("no service runs on ", state,
             n_trainers == 0
                 ? std::string()
                 : Str(", but ", n_trainers, " of its trainers still ",
                       n_trainers == 1 ? "runs" : "run", ", and the next service stores what ",
                       n_trainers == 1 ? "it reports" : "they report"),
             last == nullptr ? std::string()
                             : Str("; worker ", last->worker_id(), " was last heard from at ",
                                   FormatWallMs(heard_ms(*last))),
             ": `longrun up` continues all work",
             IsElsewhere(last, state)
                 ? std::string(" (with --listen HOST:PORT if that worker is to join again)")
                 : std::string(),
             "; `longrun run FILE` continues only the sweep in FILE");
}

// Trainers outlive their worker, and only a worker can stop them.
std::string TrainersGoOnText(const std::string& state) {
  const std::string_view trainers =
      TrainersAtWork(state) > 0 ? ", so its trainers keep running: `longrun up` starts a service, "
                                  "which stops them"
                                : ": `longrun up` starts one, which ends the tasks that are "
                                  "stopping; none of their trainers runs here any more";
  return Str("no service is running for ", state, trainers);
}

std::string NoServiceText(SweepCalls& calls, const std::string& state) {
  const Result<v1::ListWorkersResponse> answer = calls.ListWorkers();
  return NoServiceText(
      answer.ok() ? answer->workers() : v1::ListWorkersResponse::default_instance().workers(),
      state);
}

}  // namespace longrun::client
