// See manager.h.
#include "client/pilot/manager.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "base/utf8.h"
#include "client/console/output.h"
#include "client/wire/connection.h"
#include "client/wire/context.h"
#include "pki/certificate.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kTokenMs = 7 * kDayMs;
constexpr std::int64_t kTokenAgeMsMax = 3 * kDayMs;  // of a job that still waits
constexpr std::int64_t kEndedShownMs = 600'000;
constexpr std::size_t kLogsKept = 20;  // of the jobs of a seat
constexpr std::size_t kFileBytesMax = 64 << 10;
constexpr std::size_t kLogBytesMax = 64 << 20;

std::string_view StateText(JobState state) {
  switch (state) {
    case JobState::kPending:
      return "PENDING";
    case JobState::kHeld:
      return "HELD";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kEnding:
      return "ENDING";
    case JobState::kEnded:
      return "ENDED";
  }
  return "";
}

// Whether the worker of the folder has a certificate that outlasts its next job.
bool HasJoined(const std::string& worker_folder, std::int64_t job_ms) {
  const std::string path = JoinPath(JoinPath(worker_folder, "membership"), "certificate.pem");
  const Result<std::string> pem = ReadFile(path, kFileBytesMax);
  if (!pem.ok()) return false;
  const Result<CertificateFacts> facts = ReadCertificate(*pem);
  return facts.ok() && facts->not_after_ms > WallMs() + job_ms;
}

// The last line of a job's log, for a message.
std::string LastLine(const std::string& path) {
  const Result<std::string> text = ReadFile(path, kLogBytesMax);
  if (!text.ok()) return "";
  const std::string_view all = Trim(*text);
  return std::string(all.substr(all.rfind('\n') + 1));
}

void RemoveOldLogs(const std::string& seat_folder) {
  const Result<std::vector<std::string>> names = ListFolder(seat_folder);
  if (!names.ok()) return;
  std::vector<std::string> logs;
  for (const std::string& name : *names) {
    if (name.starts_with("job-") && name.ends_with(".log")) logs.push_back(name);
  }
  // By the number of the job.
  std::ranges::sort(logs, [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  for (std::size_t i = 0; i + kLogsKept < logs.size(); ++i) {
    // A log that stays does no harm.
    static_cast<void>(RemoveAll(JoinPath(seat_folder, logs[i])).ok());
  }
}

}  // namespace

PilotManager::PilotManager(ManagerOptions options, FileLock lock, SlurmCommands slurm)
    : options_(std::move(options)),
      lock_(std::move(lock)),
      slurm_(std::move(slurm)),
      planner_({.jobs_max = options_.jobs_max,
                .slots = static_cast<int>(std::max<std::int64_t>(1, options_.pilot.gpus)),
                .patience_ms = options_.idle_exit_ms}) {}

Result<PilotManager> PilotManager::Start(ManagerOptions options) {
  ASSIGN_OR_RETURN(SlurmCommands slurm, SlurmCommands::Find());
  RETURN_IF_ERROR(MakeFolders(options.pilot.folder, 0700));
  ASSIGN_OR_RETURN(FileLock lock, FileLock::Acquire(JoinPath(options.pilot.folder, "pilot.lock"),
                                                    Str("a pilot in ", options.pilot.folder)));
  return PilotManager(std::move(options), std::move(lock), std::move(slurm));
}

void PilotManager::Tell(const std::string& problem) {
  if (problem == problem_) return;
  problem_ = problem;
  SayLine(problem.empty() ? "pilot: goes on" : "pilot: " + problem);
}

void PilotManager::NoteEnd(const PilotJob& job, std::int64_t now_ms) {
  ended_ms_[job.id] = now_ms;
  if (!looked_) return;  // it ended before this manager began
  SayLine(Str("job ", job.id, " (seat ", job.seat, ") has ended: ", job.reason));
  if (!listed_.contains(job.id)) {
    planner_.NoteFailure(now_ms);
    failure_ = Str("job ", job.id, " (seat ", job.seat,
                   ") was submitted, but squeue never listed it: see whether `squeue --me "
                   "--states=all` does, and whether an option of --sbatch or a variable of the "
                   "environment changes the job's name or cluster");
    return;
  }
  const bool never_joined =
      ran_.contains(job.id) && !joined_.contains(job.id) && job.reason != "CANCELLED";
  if (!job.failed && !never_joined) return;
  planner_.NoteFailure(now_ms);
  const std::string log = SeatJobLog(options_.pilot, job.seat, job.id);
  const std::string last = LastLine(log);
  failure_ = Str(
      "job ", job.id, " (seat ", job.seat, ") has ended as ", job.reason,
      never_joined ? ", and its worker never reached the coordinator: " : ": ",
      last.empty() ? Str("it wrote nothing to ", log) : Str("its log ", log, " ends with: ", last));
}

void PilotManager::NoteChanges(const std::vector<PilotJob>& jobs, std::int64_t now_ms) {
  std::set<std::string> now_listed;
  for (const PilotJob& job : jobs) {
    now_listed.insert(job.id);
    listed_.insert(job.id);
    const auto before = seen_.find(job.id);
    const bool is_new = before == seen_.end();
    const bool changed = is_new || before->second.state != job.state;
    seen_[job.id] = job;
    if (!IsActive(job)) {
      if (!ended_ms_.contains(job.id)) NoteEnd(job, now_ms);
    } else {
      ended_ms_.erase(job.id);  // it may have been requeued
      if (changed && (!looked_ || !is_new)) {
        SayLine(Str("job ", job.id, " (seat ", job.seat, ") is ", StateText(job.state),
                    job.reason.empty() ? "" : Str(": ", job.reason)));
      }
    }
  }
  // Slurm forgets a job some minutes after its end.
  for (auto& [id, job] : seen_) {
    if (now_listed.contains(id) || ended_ms_.contains(id)) continue;
    job.state = JobState::kEnded;
    job.reason = "Slurm no longer knows it";
    NoteEnd(job, now_ms);
  }
  std::erase_if(seen_, [&](const auto& item) {
    const auto ended = ended_ms_.find(item.first);
    return ended != ended_ms_.end() && now_ms - ended->second > kEndedShownMs &&
           !now_listed.contains(item.first);
  });
  std::erase_if(ended_ms_, [&](const auto& item) { return !seen_.contains(item.first); });
  std::erase_if(listed_, [&](const std::string& id) { return !seen_.contains(id); });
  std::erase_if(ran_, [&](const std::string& id) { return !seen_.contains(id); });
  std::erase_if(joined_, [&](const std::string& id) { return !seen_.contains(id); });
  jobs_ = jobs;
  looked_ = true;
}

Result<v1::ReportPilotResponse> PilotManager::Report(bool stopped) const {
  const SlurmPilot& pilot = options_.pilot;
  v1::ReportPilotRequest request;
  v1::PilotInfo& info = *request.mutable_pilot();
  info.set_name(options_.name);
  info.set_system("slurm");
  info.set_queue(pilot.partition);
  info.set_device_kind(pilot.gpus > 0 ? "gpu" : "cpu");
  info.set_slots(static_cast<std::int32_t>(std::max<std::int64_t>(1, pilot.gpus)));
  info.set_jobs_max(options_.jobs_max);
  info.set_work_ms(std::max<std::int64_t>(1, pilot.time_ms - 2 * pilot.grace_ms));
  info.set_problem(Shortened(problem_, 1500));
  info.set_stopped(stopped);
  for (const auto& [id, job] : seen_) {
    v1::PilotJob& shown = *info.add_jobs();
    shown.set_job(job.id);
    shown.set_state(std::string(StateText(job.state)));
    shown.set_reason(job.reason);
    shown.set_worker_id(SeatName(pilot, job.seat));
  }
  ASSIGN_OR_RETURN(const Destination destination, DestinationOf(options_.state));
  CoordinatorConnection connection(destination);
  return connection.ReportPilot(request);
}

Status PilotManager::RenewToken(int seat, std::int64_t now_ms) {
  const SlurmPilot& pilot = options_.pilot;
  if (pilot.ca_fingerprint.empty()) return Status();  // over a unix socket nobody joins
  if (HasJoined(SeatWorkerFolder(pilot, seat), pilot.time_ms)) return Status();
  v1::CreateTokenRequest request;
  request.set_role("worker");
  request.set_worker(SeatName(pilot, seat));
  request.set_note(Str("pilot ", options_.name, ", seat ", seat));
  request.set_valid_ms(kTokenMs);
  ASSIGN_OR_RETURN(const Destination destination, DestinationOf(options_.state));
  CoordinatorConnection connection(destination);
  v1::CreateTokenResponse answer;
  RETURN_IF_ERROR(connection.Send(request, kAnswerMs, &answer).In("a join token for a job"));
  RETURN_IF_ERROR(WriteFileAtomic(SeatTokenFile(pilot, seat), answer.token() + "\n", 0600));
  token_ms_[seat] = now_ms;
  return Status();
}

void PilotManager::RenewTokensOfPending(std::int64_t now_ms) {
  for (const PilotJob& job : jobs_) {
    if (job.state != JobState::kPending && job.state != JobState::kHeld) continue;
    const auto made = token_ms_.find(job.seat);
    if (made != token_ms_.end() && now_ms - made->second < kTokenAgeMsMax) continue;
    if (const Status status = RenewToken(job.seat, now_ms); !status.ok()) {
      Tell(std::string(status.message()));
    }
  }
}

Status PilotManager::Submit(int seat, std::int64_t now_ms) {
  const std::string folder = SeatFolder(options_.pilot, seat);
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  RemoveOldLogs(folder);
  RETURN_IF_ERROR(RenewToken(seat, now_ms));
  const std::string script = JoinPath(folder, "job.sh");
  RETURN_IF_ERROR(WriteFileAtomic(script, SbatchScript(options_.pilot, seat), 0600));
  ASSIGN_OR_RETURN(const std::string id, slurm_.Submit(script));
  const PilotJob job = {.id = id, .seat = seat};
  seen_[id] = job;
  jobs_.push_back(job);
  SayLine(Str("job ", id, " (seat ", seat, ") is submitted"));
  return Status();
}

void PilotManager::Look(std::int64_t now_ms) {
  const Result<std::vector<PilotJob>> jobs = slurm_.Jobs(options_.pilot.prefix);
  if (!jobs.ok()) {
    Tell(Str("Slurm does not say how the jobs are: ", jobs.status().message()));
    // The coordinator may still hear of it.
    static_cast<void>(Report(false).ok());
    return;
  }
  NoteChanges(*jobs, now_ms);
  const Result<v1::ReportPilotResponse> demand = Report(false);
  if (!demand.ok()) {
    Tell(Str("the coordinator does not say how much work there is: ", demand.status().message()));
    return;
  }
  for (const PilotJob& job : jobs_) {
    if (job.state != JobState::kRunning) continue;
    ran_.insert(job.id);
    const std::string worker = SeatName(options_.pilot, job.seat);
    if (std::ranges::count(demand->workers_known(), worker) == 0) continue;
    if (!joined_.insert(job.id).second) continue;
    planner_.NoteSuccess();
    failure_.clear();
  }
  RenewTokensOfPending(now_ms);
  const JobPlan plan = planner_.Plan(
      {.tasks_ready = demand->tasks_ready(), .tasks_running = demand->tasks_running()}, jobs_,
      now_ms);
  for (const std::string& id : plan.cancel) {
    const Status status = slurm_.Cancel(id);
    SayLine(status.ok() ? Str("job ", id, " is cancelled: there is no work for it")
                        : Str("job ", id, " cannot be cancelled: ", status.message()));
  }
  for (const int seat : plan.seats) {
    if (const Status status = Submit(seat, now_ms); !status.ok()) {
      planner_.NoteFailure(now_ms);
      failure_ = Str("no job can be submitted: ", status.message());
      break;
    }
  }
  const std::int64_t pause_ms = planner_.PauseMs(now_ms);
  if (failure_.empty() || pause_ms == 0) return Tell("");
  Tell(Str(failure_, "; the next job is submitted after a pause"));
}

void PilotManager::Stop() {
  problem_.clear();
  // Its jobs end by themselves in any case.
  static_cast<void>(Report(true).ok());
}

}  // namespace longrun::client
