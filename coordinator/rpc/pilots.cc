// See pilots.h.
#include "coordinator/rpc/pilots.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"
#include "coordinator/one_line.h"
#include "coordinator/rpc/names.h"

namespace longrun::coordinator {
namespace {

constexpr Instant kForgetMs = 24 * 3600 * 1000;
constexpr Instant kSilentMs = 120'000;
constexpr int kJobsMax = 10'000;
constexpr std::size_t kPilotsMax = 1000;
constexpr std::size_t kTextBytesMax = 2000;
constexpr std::size_t kEndedShown = 3;

Status CheckPilot(const v1::PilotInfo& pilot) {
  RETURN_IF_ERROR(CheckName(pilot.name(), "pilot"));
  const auto wrong = [&](const std::string& what) {
    return Status(Code::kInvalidArgument, Str("pilot ", pilot.name(), ": ", what));
  };
  if (!FindEnum<DeviceKind>(pilot.device_kind())) {
    return wrong(
        Str("device_kind is \"", Printable(pilot.device_kind()), "\": expected cpu or gpu"));
  }
  if (pilot.jobs_size() > kJobsMax) {
    return wrong(Str("it has ", pilot.jobs_size(), " jobs: at most ", kJobsMax, " are allowed"));
  }
  if (pilot.slots() < 1 || pilot.work_ms() < 0) {
    return wrong(Str("slots is ", pilot.slots(), " and work_ms is ", pilot.work_ms(),
                     ": expected at least 1 and 0"));
  }
  std::vector<const std::string*> texts = {&pilot.system(), &pilot.queue(), &pilot.problem()};
  for (const v1::PilotJob& job : pilot.jobs()) {
    for (const std::string* text : {&job.job(), &job.state(), &job.reason(), &job.worker_id()}) {
      texts.push_back(text);
    }
  }
  if (std::ranges::all_of(
          texts, [](const std::string* text) { return IsShortLine(*text, kTextBytesMax); })) {
    return Status();
  }
  return wrong(Str("a text of it has control characters or more than ", kTextBytesMax, " bytes"));
}

// "3 jobs (Priority: 2, Resources: 1)"
std::string JobsText(const v1::PilotInfo& pilot, std::string_view state) {
  std::map<std::string, int> n_of_reason;
  int n = 0;
  for (const v1::PilotJob& job : pilot.jobs()) {
    if (job.state() != state) continue;
    n += 1;
    n_of_reason[job.reason()] += 1;
  }
  std::vector<std::string> reasons;
  for (const auto& [reason, count] : n_of_reason) {
    if (!reason.empty()) reasons.push_back(count == n ? reason : Str(reason, ": ", count));
  }
  return Str(n, n == 1 ? " job" : " jobs",
             reasons.empty() ? "" : Str(" (", Join(reasons, ", "), ")"));
}

bool HasJob(const v1::PilotInfo& pilot, std::string_view state) {
  return std::ranges::any_of(pilot.jobs(),
                             [&](const v1::PilotJob& job) { return job.state() == state; });
}

// The first job in this state, of which there is one.
const v1::PilotJob& FirstJob(const v1::PilotInfo& pilot, std::string_view state) {
  return *std::ranges::find_if(pilot.jobs(),
                               [&](const v1::PilotJob& job) { return job.state() == state; });
}

// What ends the wait of a job in the queue, by Slurm's reason for it.
std::string RemedyOfPending(const v1::PilotJob& job) {
  const std::string& reason = job.reason();
  const auto says = [&](std::string_view words) { return reason.find(words) != std::string::npos; };
  if (says("BeginTime")) {
    return "Slurm starts the job by itself: a job that was requeued about two minutes later";
  }
  if (says("NodeNotAvail") || says("DOWN") || says("Down") || says("DRAINED")) {
    return Str("no node that could run the job is up: `sinfo -R` says why; `scancel ", job.job(),
               "` if it should not wait");
  }
  if (says("Limit")) return "a limit of Slurm holds the job until others have ended";
  return "the job waits for its turn in Slurm's queue (`squeue --start` shows Slurm's estimate)";
}

bool EndsByItself(const std::string& reason) {
  return reason == "COMPLETED" || reason == "TIMEOUT" || reason == "Slurm no longer knows it";
}

// What Slurm's word for an end means, in brackets; "" if it speaks for itself.
std::string_view EndText(const std::string& reason) {
  if (reason == "CANCELLED") return " (with `scancel`, or by the pilot for lack of work)";
  if (reason == "PREEMPTED") return " (Slurm needed its node for others)";
  if (reason == "NODE_FAIL") return " (its node died)";
  return "";
}

void AddNotice(const v1::PilotInfo& pilot, std::string text, Notices* notices) {
  v1::Notice* const notice = notices->Add();
  notice->set_about(Str("pilot ", pilot.name()));
  notice->set_text(std::move(text));
  notice->set_over(Str("pilot ", pilot.name(), " goes on"));
}

}  // namespace

Status PilotBoard::Put(const v1::PilotInfo& pilot, Instant now) {
  const std::lock_guard lock(mutex_);
  if (pilot.stopped() && pilot.jobs().empty()) {
    pilots_.erase(pilot.name());
    return Status();
  }
  if (pilots_.size() >= kPilotsMax && !pilots_.contains(pilot.name())) {
    return Status(Code::kResourceExhausted,
                  Str("the coordinator knows ", kPilotsMax, " pilots already and takes no pilot \"",
                      pilot.name(), "\": stop pilots that are not needed (`longrun pilot list`)"));
  }
  Entry& entry = pilots_[pilot.name()];
  entry.info = pilot;
  entry.reported_at = now;
  return Status();
}

std::vector<v1::PilotInfo> PilotBoard::List(Instant now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(pilots_,
                [&](const auto& item) { return now - item.second.reported_at > kForgetMs; });
  std::vector<v1::PilotInfo> listed;
  for (const auto& [name, entry] : pilots_) {
    listed.push_back(entry.info);
    listed.back().set_reported_ms_ago(std::max<Instant>(0, now - entry.reported_at));
  }
  return listed;
}

std::vector<Slot> PilotBoard::SlotsOf(const std::string& pilot) {
  const std::lock_guard lock(mutex_);
  const auto found = pilots_.find(pilot);
  return found == pilots_.end() ? std::vector<Slot>() : found->second.slots;
}

void PilotBoard::NoteSlots(const std::string& pilot, std::vector<Slot> slots) {
  const std::lock_guard lock(mutex_);
  const auto found = pilots_.find(pilot);
  if (found != pilots_.end()) found->second.slots = std::move(slots);
}

std::string PilotText(const v1::PilotInfo& pilot) {
  return Str("pilot ", pilot.name(), " (", pilot.system(), ", ", pilot.queue(), ")");
}

std::optional<PilotObstacle> ObstacleOf(const v1::PilotInfo& pilot) {
  const std::string name = PilotText(pilot);
  if (!pilot.stopped() && pilot.reported_ms_ago() > kSilentMs) {
    return PilotObstacle{
        .gate = "PILOT_SILENT",
        .text = Str(name, " has reported nothing for more than ", FormatDurationMs(kSilentMs),
                    ": its jobs go on, but it submits none; start `longrun pilot` there again"),
        .remedy = "start `longrun pilot` there again"};
  }
  if (!pilot.problem().empty()) {
    return PilotObstacle{.gate = "PILOT_PROBLEM",
                         .text = Str(name, ": ", pilot.problem()),
                         .remedy =
                             "the pilot tries again by itself, after longer and longer "
                             "pauses; its message says what to mend"};
  }
  if (HasJob(pilot, "HELD")) {
    return PilotObstacle{.gate = "JOB_HELD",
                         .text = Str(name, ": held in the queue until somebody releases them: ",
                                     JobsText(pilot, "HELD")),
                         .remedy = Str("`scontrol release ", FirstJob(pilot, "HELD").job(), "`")};
  }
  if (HasJob(pilot, "PENDING") && !HasJob(pilot, "RUNNING")) {
    return PilotObstacle{.gate = "JOB_PENDING",
                         .text = Str(name, ": none of its jobs runs; waiting in the queue: ",
                                     JobsText(pilot, "PENDING")),
                         .remedy = RemedyOfPending(FirstJob(pilot, "PENDING"))};
  }
  return std::nullopt;
}

bool IsAtMost(const v1::PilotInfo& pilot) {
  return std::ranges::count_if(pilot.jobs(), [](const v1::PilotJob& job) {
           return job.state() != "ENDED";
         }) >= pilot.jobs_max();
}

PilotObstacle NextStepOf(const v1::PilotInfo& pilot) {
  if (std::optional<PilotObstacle> obstacle = ObstacleOf(pilot)) return *std::move(obstacle);
  const std::string name = PilotText(pilot);
  if (pilot.stopped()) {
    return {.gate = "PILOT_STOPPED",
            .text = Str(name, " was stopped: its jobs go on, but it submits none"),
            .remedy = "start `longrun pilot` there again"};
  }
  if (HasJob(pilot, "PENDING")) {
    return {.gate = "JOB_PENDING",
            .text = Str(name, ": waiting in the queue: ", JobsText(pilot, "PENDING")),
            .remedy = RemedyOfPending(FirstJob(pilot, "PENDING"))};
  }
  if (HasJob(pilot, "RUNNING")) {
    return {.gate = "JOB_STARTS",
            .text = Str(name, ": running: ", JobsText(pilot, "RUNNING"),
                        "; the task waits until one is connected and has a free slot"),
            .remedy = "nothing to do; it starts by itself (`longrun pilot list` shows the jobs)"};
  }
  return {.gate = "PILOT_SUBMITS",
          .text = Str(name, " has no job in the queue yet"),
          .remedy = "the pilot submits a job when it looks at the work again"};
}

void AddPilotNotices(PilotBoard& board, Notices* notices) {
  for (const v1::PilotInfo& pilot : board.List(BootMs())) {
    if (std::optional<PilotObstacle> obstacle = ObstacleOf(pilot)) {
      AddNotice(pilot, std::move(obstacle->text), notices);
    }
  }
}

void AddEndedJobs(PilotBoard& board, Notices* notices) {
  for (const v1::PilotInfo& pilot : board.List(BootMs())) {
    std::vector<const v1::PilotJob*> ended;
    for (const v1::PilotJob& job : pilot.jobs()) {
      if (job.state() == "ENDED" && !EndsByItself(job.reason())) ended.push_back(&job);
    }
    if (ended.empty()) continue;
    // The newest first: the ids are numbers.
    std::ranges::sort(ended, [](const v1::PilotJob* x, const v1::PilotJob* y) {
      return std::pair(x->job().size(), x->job()) > std::pair(y->job().size(), y->job());
    });
    const std::size_t n_more = ended.size() > kEndedShown ? ended.size() - kEndedShown : 0;
    ended.resize(ended.size() - n_more);
    std::vector<std::string> texts;
    for (const v1::PilotJob* const job : ended) {
      texts.push_back(
          Str("job ", job->job(), " has ended: ", job->reason(), EndText(job->reason())));
    }
    AddNotice(pilot,
              Str(PilotText(pilot), ": ", Join(texts, "; "),
                  n_more == 0 ? "" : Str("; and ", n_more, " before"),
                  ". Their tasks continue in other jobs"),
              notices);
  }
}

Status ReportPilot(Call& call, const v1::ReportPilotRequest& request,
                   v1::ReportPilotResponse* response) {
  const v1::PilotInfo& pilot = request.pilot();
  call.error.subject = pilot.name();
  RETURN_IF_ERROR(CheckService(call.parts));
  RETURN_IF_ERROR(CheckPilot(pilot));
  PilotBoard& board = call.parts.pilots;
  RETURN_IF_ERROR(board.Put(pilot, BootMs()));
  std::set<std::string> workers;
  for (const v1::PilotJob& job : pilot.jobs()) workers.insert(job.worker_id());
  std::vector<Slot> slots = board.SlotsOf(pilot.name());
  const DeviceKind kind = *FindEnum<DeviceKind>(pilot.device_kind());
  const std::int64_t work_ms =
      pilot.work_ms() == 0 ? std::numeric_limits<std::int64_t>::max() : pilot.work_ms();
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    for (const std::string& id : workers) {
      const auto worker = state.workers.find(id);
      if (worker == state.workers.end()) continue;
      response->add_workers_known(id);
      if (worker->second.session && !worker->second.slots.empty()) slots = worker->second.slots;
    }
    std::int32_t n_running = 0;
    for (const std::string& id : state.index.live) {
      n_running += workers.contains(state.attempts.at(id).worker) ? 1 : 0;
    }
    response->set_tasks_running(n_running);
    response->set_tasks_ready(static_cast<std::int32_t>(std::min<std::int64_t>(
        CountWaiting(state, kind, slots, work_ms), std::numeric_limits<int>::max())));
  }));
  board.NoteSlots(pilot.name(), std::move(slots));
  return Status();
}

}  // namespace longrun::coordinator
