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
#include "coordinator/rpc/names.h"

namespace longrun::coordinator {
namespace {

constexpr Instant kForgetMs = 24 * 3600 * 1000;
constexpr Instant kSilentMs = 120'000;
constexpr int kJobsMax = 10'000;
constexpr std::size_t kPilotsMax = 1000;
constexpr std::size_t kTextBytesMax = 2000;

bool IsShown(const std::string& text) {
  return text.size() <= kTextBytesMax && std::ranges::none_of(text, [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

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
  if (std::ranges::all_of(texts, [](const std::string* text) { return IsShown(*text); })) {
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

void AddPilotNotices(PilotBoard& board, Notices* notices) {
  for (const v1::PilotInfo& pilot : board.List(BootMs())) {
    const std::string name =
        Str("pilot ", pilot.name(), " (", pilot.system(), ", ", pilot.queue(), ")");
    if (!pilot.stopped() && pilot.reported_ms_ago() > kSilentMs) {
      AddNotice(pilot,
                Str(name, " has reported nothing for more than ", FormatDurationMs(kSilentMs),
                    ": its jobs go on, but it submits none; start `longrun pilot` there again"),
                notices);
      continue;
    }
    if (!pilot.problem().empty()) {
      AddNotice(pilot, Str(name, ": ", pilot.problem()), notices);
    } else if (HasJob(pilot, "HELD")) {
      AddNotice(
          pilot,
          Str(name, ": held in the queue until somebody releases them: ", JobsText(pilot, "HELD")),
          notices);
    } else if (HasJob(pilot, "PENDING") && !HasJob(pilot, "RUNNING")) {
      AddNotice(
          pilot,
          Str(name, ": none of its jobs runs; waiting in the queue: ", JobsText(pilot, "PENDING")),
          notices);
    }
  }
}

Status ReportPilot(Call& call, const v1::ReportPilotRequest& request,
                   v1::ReportPilotResponse* response) {
  const v1::PilotInfo& pilot = request.pilot();
  call.error.subject = pilot.name();
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
