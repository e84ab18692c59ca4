// See reasons.h.
#include "coordinator/rpc/reasons.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/letter_case.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/views.h"
#include "coordinator/scheduler/paused_text.h"
#include "coordinator/store/disk_room.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kDigitsMin = 8;  // of a run or a task; with less, it can only be a sweep
constexpr std::size_t kShown = 10;     // of several tasks with the same beginning
constexpr std::size_t kToldMax = 3;    // reasons in a notice

// The pilots, and the slots of their workers.
struct Pilot {
  v1::PilotInfo info;
  std::vector<Slot> slots;
};

std::vector<Pilot> PilotsOf(PilotBoard& board) {
  std::vector<Pilot> pilots;
  for (v1::PilotInfo& info : board.List(BootMs())) {
    std::vector<Slot> slots = board.SlotsOf(info.name());
    pilots.push_back({.info = std::move(info), .slots = std::move(slots)});
  }
  return pilots;
}

bool PilotCouldTake(const State& state, const Task& task, const Pilot& pilot) {
  const std::int64_t work_ms =
      pilot.info.work_ms() == 0 ? std::numeric_limits<std::int64_t>::max() : pilot.info.work_ms();
  return CouldTake(state, task, *FindEnum<DeviceKind>(pilot.info.device_kind()), pilot.slots,
                   work_ms);
}

// Whether a worker more would open the gate.
bool WantsWorker(Gate gate) {
  switch (gate) {
    case Gate::kNoFit:
    case Gate::kNoWorker:
    case Gate::kTooShort:
    case Gate::kNoFreeSlot:
    case Gate::kWorkerDiskFull:
    case Gate::kWorkerLeaves:
    case Gate::kWorkerAway:
      return true;
    default:
      return false;
  }
}

// Looks at tasks on the core's thread.
class Looker {
 public:
  Looker(const State& state, const std::vector<Pilot>& pilots, bool is_remote)
      : state_(state), pilots_(pilots), is_remote_(is_remote), now_(BootMs()), wall_ms_(WallMs()) {}

  Why WhyOf(const Task& task) const { return WhyHeld(state_, task, now_, wall_ms_, is_remote_); }
  std::vector<WhyGroup> Groups(const std::set<std::string>& tasks) const {
    return GroupByGate(state_, tasks, now_, wall_ms_, is_remote_);
  }

  void Fill(const Task& task, const Why& why, std::int64_t n_tasks, v1::TaskReason* message) const {
    message->set_tasks(static_cast<std::int32_t>(n_tasks));
    FillState(task, message);
    FillWhy(why, message);
    // The pilots are asked about the training for which a task waits.
    const auto root = state_.tasks.find(why.root);
    if (why.gate != Gate::kNeedsTask || root == state_.tasks.end()) {
      return AddPilots(task, why.gate, message);
    }
    AddPilots(root->second, WhyOf(root->second).gate, message);
    message->set_gate(std::string(EnumName(why.gate)));
  }

 private:
  void FillState(const Task& task, v1::TaskReason* message) const {
    message->set_task(task.id);
    message->set_run_key(task.run_key);
    message->set_kind(std::string(EnumName(task.kind)));
    message->set_state(std::string(EnumName(task.state)));
    message->set_attempts(static_cast<std::int32_t>(task.attempts));
    if (const auto ended = state_.index.ended.find(task.id); ended != state_.index.ended.end()) {
      message->set_withdrawn(static_cast<std::int32_t>(ended->second.n_withdrawn));
    }
    message->set_failures(static_cast<std::int32_t>(task.failures));
    message->set_losses(static_cast<std::int32_t>(task.losses));
    if (!task.evaluation.is_null()) message->set_evaluation_json(CanonicalJson(task.evaluation));
    const auto attempt = state_.attempts.find(task.attempt);
    if (attempt == state_.attempts.end()) return;
    message->set_failure_class(attempt->second.failure_class);
    if (!attempt->second.failure_class.empty()) message->set_failure(attempt->second.message);
    if (!IsLive(attempt->second.state)) return;
    message->set_worker(attempt->second.worker);
    message->set_since_wall_ms(attempt->second.started_wall_ms);
    if (attempt->second.device_index < 0) return;
    message->set_slot(static_cast<std::int32_t>(attempt->second.device_index));
  }

  void FillWhy(const Why& why, v1::TaskReason* message) const {
    message->set_gate(std::string(EnumName(why.gate)));
    message->set_text(why.text);
    message->set_remedy(why.remedy);
    message->set_waits_for(why.root);
    if (why.until) message->set_until_wall_ms(wall_ms_ + std::max<Instant>(0, *why.until - now_));
    if (why.n_before) message->set_tasks_before(static_cast<std::int32_t>(*why.n_before));
  }

  // A task that only a job of a batch system could take is held by that system's queue. While other
  // slots can take it, the pilots are one more thing to know.
  void AddPilots(const Task& task, Gate gate, v1::TaskReason* message) const {
    if (!WantsWorker(gate)) return;
    std::vector<std::string> texts = {message->text()};
    std::vector<std::string> remedies;
    for (const Pilot& pilot : pilots_) {
      if (!PilotCouldTake(state_, task, pilot)) continue;
      if (gate == Gate::kNoFreeSlot && IsAtMost(pilot.info) && !ObstacleOf(pilot.info)) {
        texts.push_back(Str(PilotText(pilot.info), " has ", pilot.info.jobs_max(),
                            " jobs, as many as it may have (--max)"));
        continue;
      }
      PilotObstacle next = NextStepOf(pilot.info);
      texts.push_back(std::move(next.text));
      if (gate == Gate::kNoFreeSlot) continue;
      if (remedies.empty()) message->set_gate(std::string(next.gate));
      remedies.push_back(std::move(next.remedy));
    }
    message->set_text(Join(texts, "; "));
    if (!remedies.empty()) message->set_remedy(Join(remedies, "; or "));
  }

  const State& state_;
  const std::vector<Pilot>& pilots_;
  const bool is_remote_;
  const Instant now_;
  const std::int64_t wall_ms_;
};

// Nothing that a trainer reports is stored while the disk is full.
void HoldByFullDisk(const CoordinatorParts& parts, bool is_remote,
                    v1::GetReasonsResponse* response) {
  const Core& core = parts.core;
  AddFullDisk(parts, is_remote, response->mutable_notices());
  if (core.CheckDiskSpaceIfLow().ok()) return;
  for (v1::TaskReason& reason : *response->mutable_reasons()) {
    const bool is_live = reason.state() == "RESERVED" || reason.state() == "RUNNING";
    if (!is_live || (reason.gate() != "NONE" && reason.gate() != "OFFERED")) continue;
    reason.set_gate("DISK_FULL");
    reason.set_text(
        Str("its trainer goes on, or waits if it writes to the same disk, but nothing that it "
            "reports can be stored: ",
            LowDiskText(StateFolderName(core, is_remote), core.disk_low_water_bytes())));
    reason.set_remedy(std::string(kMakeRoom));
  }
}

// Whether the worker could run the task that waits, as far as it is known: a worker that has never
// connected may have any slots.
bool MayFit(const State& state, const std::string& worker_id, const std::string& task_id) {
  const auto worker = state.workers.find(worker_id);
  const auto task = state.tasks.find(task_id);
  if (worker == state.workers.end() || task == state.tasks.end()) return true;
  return std::ranges::any_of(worker->second.slots, [&](const Slot& slot) {
    return !worker->second.quarantined.contains(slot.index) &&
           CouldTake(state, task->second, slot.kind, {slot},
                     std::numeric_limits<std::int64_t>::max());
  });
}

// The newest attempt that ended, of a task whose newest attempt is live.
Status FillLastEnd(StoreReader& reader, v1::TaskReason* reason) {
  if (reason->attempts() < 2 || !reason->failure_class().empty()) return Status();
  ASSIGN_OR_RETURN(const std::vector<AttemptRow> attempts, reader.AttemptsOfTask(reason->task()));
  for (auto attempt = attempts.rbegin(); attempt != attempts.rend(); ++attempt) {
    if (attempt->failure_class.empty()) continue;
    reason->set_failure_class(attempt->failure_class);
    reason->set_failure(attempt->message);
    return Status();
  }
  return Status();
}

// The scheduler's remedy names the run of one task. For several tasks, it names their sweep.
void NameSweep(const SweepRow& sweep, v1::TaskReason* reason) {
  const std::string of_run = Str("`longrun retry ", reason->run_key().substr(0, kDigitsMin), "`");
  const std::string of_sweep = Str("`longrun retry ", sweep.id, "`");
  std::string remedy = reason->remedy();
  for (const auto& [of_one, of_all] : {std::pair(" tries it again", " tries them again"),
                                       std::pair(", to continue it", ", to continue them")}) {
    remedy = WithOtherName(std::move(remedy), of_run + of_one, of_sweep + of_all);
  }
  reason->set_remedy(std::move(remedy));
}

// Of the paused sweeps that hold tasks, each is told to resume itself. So tasks that several of
// them hold wait for the same as those that only this one holds.
std::vector<WhyGroup> WithOwnPause(const State& state, const std::string& sweep_id,
                                   std::vector<WhyGroup> groups) {
  if (!state.paused_sweeps.contains(sweep_id)) return groups;
  std::vector<WhyGroup> merged;
  for (WhyGroup& group : groups) {
    if (group.why.gate == Gate::kPaused) {
      group.why.text = PausedText(sweep_id);
      group.why.remedy = Str("`longrun resume ", sweep_id, "`");
      const auto same = std::ranges::find_if(merged, [&](const WhyGroup& other) {
        return other.why.gate == Gate::kPaused && other.example->kind == group.example->kind &&
               other.example->state == group.example->state;
      });
      if (same != merged.end()) {
        same->n_tasks += group.n_tasks;
        continue;
      }
    }
    merged.push_back(std::move(group));
  }
  return merged;
}

Status ReasonsOfSweep(CoordinatorParts& parts, const SweepRow& sweep, bool is_remote,
                      v1::GetReasonsResponse* response) {
  const std::vector<Pilot> pilots = PilotsOf(parts.pilots);
  bool is_gone = false;
  RETURN_IF_ERROR(parts.core.LookAndWait([&](const State& state) {
    const Looker looker(state, pilots, is_remote);
    FillSweep(state, sweep, response->mutable_info());
    const auto tasks = state.sweep_tasks.find(sweep.id);
    is_gone = tasks == state.sweep_tasks.end();
    if (is_gone) return;
    for (const WhyGroup& group : WithOwnPause(state, sweep.id, looker.Groups(tasks->second))) {
      v1::TaskReason* const reason = response->add_reasons();
      looker.Fill(*group.example, group.why, group.n_tasks, reason);
      if (group.n_tasks > 1) NameSweep(sweep, reason);
    }
  }));
  if (is_gone) return Status(Code::kNotFound, Str("sweep ", sweep.id, " was removed"));
  return Status();
}

Status ReasonsOfTasks(Call& call, const std::vector<std::string>& tasks,
                      v1::GetReasonsResponse* response) {
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  const std::vector<Pilot> pilots = PilotsOf(call.parts.pilots);
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    const Looker looker(state, pilots, is_remote);
    for (const std::string& id : tasks) {
      const auto task = state.tasks.find(id);
      if (task == state.tasks.end()) continue;
      looker.Fill(task->second, looker.WhyOf(task->second), 1, response->add_reasons());
    }
  }));
  for (v1::TaskReason& reason : *response->mutable_reasons()) {
    RETURN_IF_ERROR(FillLastEnd(call.reader, &reason));
  }
  return Status();
}

// The one task that begins so; "" if there is none.
Result<std::string> FindTask(Core& core, const std::string& beginning) {
  std::vector<std::string> found;
  RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
    for (auto task = state.tasks.lower_bound(beginning);
         task != state.tasks.end() && task->first.starts_with(beginning) && found.size() < kShown;
         ++task) {
      found.push_back(task->first);
    }
  }));
  if (found.size() <= 1) return found.empty() ? std::string() : found.front();
  return Status(Code::kInvalidArgument,
                Str("more than one task begins with ", Quoted(beginning), ": ", Join(found, ", ")));
}

Status ReasonsOfRunOrTask(Call& call, const std::string& target, const Status& no_sweep,
                          v1::GetReasonsResponse* response) {
  if (target.size() < kDigitsMin) {
    const bool is_hex = target.find_first_not_of("0123456789abcdef") == std::string::npos;
    return is_hex ? Status(Code::kNotFound,
                           Str(no_sweep.message(), "; for a run's or a task's id, give at least ",
                               kDigitsMin, " of its digits, not ", target.size()))
                  : no_sweep;
  }
  ASSIGN_OR_RETURN(std::string task, FindTask(call.parts.core, target));
  if (task.empty()) {
    ASSIGN_OR_RETURN(task, FindTask(call.parts.core, InSmallLetters(target)));
  }
  if (task.empty()) {
    const Result<SweepRunRow> run = call.reader.FindRun(target);
    if (run.status().code() == Code::kNotFound) {
      return Status(Code::kNotFound, Str(no_sweep.message(), "; and there is no such run or task"));
    }
    if (!run.ok()) return run.status();
    ASSIGN_OR_RETURN(const auto tasks, call.reader.TasksOfRun(run->run_key));
    response->set_run_key(run->run_key);
    response->set_axes_json(run->axes_json);
    return ReasonsOfTasks(call, tasks, response);
  }
  RETURN_IF_ERROR(ReasonsOfTasks(call, {task}, response));
  if (response->reasons().empty()) return Status();
  const std::string& key = response->reasons(0).run_key();
  const Result<SweepRunRow> of_task = call.reader.FindRun(key);
  response->set_run_key(key);
  if (of_task.ok()) response->set_axes_json(of_task->axes_json);
  return Status();
}

// Whether something holds the tasks. What is offered to a worker in a moment does not wait.
bool Waits(const v1::TaskReason& reason) {
  return reason.gate() != "ENDED" && reason.gate() != "NONE" && reason.gate() != "OFFERED";
}

// "4 train tasks are READY"
std::string SubjectOf(const v1::TaskReason& reason) {
  return Str(reason.tasks(), " ", reason.kind(), reason.tasks() == 1 ? " task is " : " tasks are ",
             reason.state());
}

// Tasks that wait for the same. If there are several, the text is about the example.
struct Told {
  std::string text;
  std::string example;
  std::vector<std::string> subjects = {};
  std::int64_t n_tasks = 0;
};

// The text, and what ends it unless the text says so.
std::string TextOf(const v1::TaskReason& reason) {
  const std::string &text = reason.text(), &remedy = reason.remedy();
  return text.find(remedy) != std::string::npos ? text : Str(text, "; to resolve: ", remedy);
}

}  // namespace

Result<std::optional<v1::Notice>> NoticeOfWaiting(CoordinatorParts& parts, const SweepRow& sweep,
                                                  bool is_remote, const Notices& notices) {
  v1::GetReasonsResponse answer;
  RETURN_IF_ERROR(ReasonsOfSweep(parts, sweep, is_remote, &answer));
  RefusedWorkers refused = parts.access.RefusedAt(WallMs());
  std::set<std::string> trains;  // of the sweep
  RETURN_IF_ERROR(parts.core.LookAndWait([&](const State& state) {
    LeaveOutConnected(state, refused);
    TellRefused(refused, state, &answer);
    const auto tasks = state.sweep_tasks.find(sweep.id);
    if (tasks == state.sweep_tasks.end()) return;
    for (const v1::TaskReason& reason : answer.reasons()) {
      if (tasks->second.contains(reason.waits_for())) trains.insert(reason.waits_for());
    }
  }));
  if (answer.info().tasks_running() > 0)
    return std::optional<v1::Notice>();  // since the caller looked
  std::vector<Told> told;
  std::size_t n_more = 0;
  for (const v1::TaskReason& reason : answer.reasons()) {
    const auto is_same = [&](const v1::Notice& notice) { return notice.text() == reason.text(); };
    if (!Waits(reason) || std::ranges::any_of(notices, is_same)) continue;
    // Its training is in the list, too.
    if (reason.gate() == "NEEDS_TASK" && trains.contains(reason.waits_for())) continue;
    const std::string text = WithOtherName(TextOf(reason), sweep.id, sweep.name);
    auto group = std::ranges::find(told, text, &Told::text);
    if (group == told.end() && told.size() == kToldMax) {
      n_more += 1;
      continue;
    }
    if (group == told.end()) {
      group = told.insert(group, {.text = text, .example = reason.task()});
    }
    group->subjects.push_back(SubjectOf(reason));
    group->n_tasks += reason.tasks();
  }
  if (told.empty()) return std::optional<v1::Notice>();
  std::vector<std::string> texts;
  for (const Told& one : told) {
    texts.push_back(
        Str(Join(one.subjects, " and "),
            one.n_tasks == 1 ? std::string() : Str(", for example task ", one.example.substr(0, 8)),
            ": ", one.text));
  }
  if (n_more > 0) {
    texts.push_back(Str("`longrun why ", sweep.name, "` shows ", n_more, " more"));
  }
  std::optional<v1::Notice> notice(std::in_place);
  notice->set_about("waiting");
  notice->set_text(Str("nothing of ", sweep.name, " is running: ", Join(texts, "; ")));
  return notice;
}

void TellRefused(const RefusedWorkers& refused, const State& state,
                 v1::GetReasonsResponse* response) {
  for (v1::TaskReason& reason : *response->mutable_reasons()) {
    const bool is_silent = reason.gate() == "WORKER_SILENT";
    if (!is_silent && reason.gate() != "WORKER_AWAY" && reason.gate() != "NO_WORKER") continue;
    std::vector<std::string> texts = {reason.text()}, remedies;
    for (const auto& [id, refusal] : refused) {
      if (is_silent ? reason.worker() != id : !MayFit(state, id, reason.task())) continue;
      texts.push_back(Str("worker ", id, " is refused"));
      remedies.push_back(refusal.remedy);
    }
    if (remedies.empty()) continue;
    reason.set_text(Join(texts, "; "));
    remedies.push_back(reason.remedy());
    reason.set_remedy(Join(remedies, "; or "));
  }
}

// The scheduler knows a paused sweep by its id. People know it by its name, if the newest sweep of
// that name is the one.
void NamePausedSweep(StoreReader& reader, v1::TaskReason* reason) {
  constexpr std::string_view kResume = "`longrun resume ";
  const std::string& remedy = reason->remedy();
  if (reason->gate() != "PAUSED" || !remedy.starts_with(kResume)) return;
  const std::string id = remedy.substr(kResume.size(), remedy.find('`', 1) - kResume.size());
  const Result<SweepRow> sweep = reader.FindSweep(id);
  if (!sweep.ok()) return;
  const Result<SweepRow> of_name = reader.FindSweep(sweep->name);
  if (!of_name.ok() || of_name->id != sweep->id) return;
  reason->set_text(WithOtherName(reason->text(), sweep->id, sweep->name));
  reason->set_remedy(WithOtherName(reason->remedy(), sweep->id, sweep->name));
}

Status GetReasons(Call& call, const v1::GetReasonsRequest& request,
                  v1::GetReasonsResponse* response) {
  const std::string& target = request.target();
  call.error.subject = target;
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  const Result<SweepRow> sweep = call.reader.FindSweep(target);
  if (sweep.ok()) {
    RETURN_IF_ERROR(call.WithReason("SWEEP_NOT_FOUND",
                                    ReasonsOfSweep(call.parts, *sweep, is_remote, response)));
    for (v1::TaskReason& reason : *response->mutable_reasons()) {
      reason.set_text(WithOtherName(reason.text(), sweep->id, target));
      reason.set_remedy(WithOtherName(reason.remedy(), sweep->id, target));
    }
  } else if (sweep.status().code() == Code::kNotFound) {
    RETURN_IF_ERROR(
        call.WithReason("NOT_FOUND", ReasonsOfRunOrTask(call, target, sweep.status(), response)));
  } else {
    return call.WithReason("NOT_FOUND", sweep.status());
  }
  for (v1::TaskReason& reason : *response->mutable_reasons()) NamePausedSweep(call.reader, &reason);
  HoldByFullDisk(call.parts, is_remote, response);
  const bool is_over = std::ranges::all_of(
      response->reasons(), [](const v1::TaskReason& reason) { return reason.gate() == "ENDED"; });
  if (is_over) return Status();
  RefusedWorkers refused = call.parts.access.RefusedAt(WallMs());
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    LeaveOutConnected(state, refused);
    TellRefused(refused, state, response);
    AddRefusedWorkers(refused, response->mutable_notices());
    std::set<std::string> concerned;
    for (const v1::TaskReason& reason : response->reasons()) concerned.insert(reason.task());
    const auto of_sweep = state.sweep_tasks.find(sweep.ok() ? sweep->id : "");
    if (of_sweep != state.sweep_tasks.end()) concerned = of_sweep->second;
    AddMissedWorkers(state, BootMs(), WallMs(), &concerned, response->mutable_notices());
    AddQuarantined(state, response->mutable_notices());
    AddFullWorkerDisks(state, response->mutable_notices());
    AddQuietTrainers(state, BootMs(), WallMs(), response->mutable_notices());
  }));
  AddPilotNotices(call.parts.pilots, response->mutable_notices());
  AddEndedJobs(call.parts.pilots, response->mutable_notices());
  return Status();
}

}  // namespace longrun::coordinator
