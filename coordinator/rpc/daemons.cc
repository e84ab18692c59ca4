// See daemons.h.
#include "coordinator/rpc/daemons.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "base/version.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/views.h"

namespace longrun::coordinator {

Status GetServerInfo(Call& call, const v1::GetServerInfoRequest&,
                     v1::GetServerInfoResponse* response) {
  const Store& store = call.parts.core.store();
  response->set_version(std::string(kVersion));
  response->set_commit(std::string(BuildCommit()));
  response->set_protocol_version(kProtocolNewest);
  response->set_protocol_oldest(kProtocolOldest);
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  if (!is_remote) response->set_state_folder(store.folder());
  response->set_coordinator_id(store.coordinator_id());
  response->set_boot_epoch(store.boot_epoch());
  response->set_pid(getpid());
  response->set_metrics_address(call.parts.metrics_address);
  response->set_schema_version(Store::SchemaVersion());
  response->set_is_momentary(store.is_momentary());
  call.reader.NoteDamaged(InBrief(store.damaged()));
  return call.parts.core.LookAndWait([&](const State& state) { FillUnknownRuns(state, response); });
}

Status ListWorkers(Call& call, const v1::ListWorkersRequest&, v1::ListWorkersResponse* response) {
  RefusedWorkers refused = call.parts.access.RefusedAt(WallMs());
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    const Instant now = BootMs();
    const std::int64_t wall_ms = WallMs();
    for (const auto& [id, worker] : state.workers) {
      v1::WorkerInfo* info = response->add_workers();
      FillWorker(state, worker, now, info);
      info->set_heard_ms_ago(std::max<std::int64_t>(now - worker.heard_at, 0));
      const bool came = worker.last_session != 0;  // since this process started
      if (came) info->set_heard_wall_ms(wall_ms - info->heard_ms_ago());
    }
    AddMissedWorkers(state, now, wall_ms, nullptr, response->mutable_notices());
    AddQuarantined(state, response->mutable_notices());
    AddFullWorkerDisks(state, response->mutable_notices());
    AddQuietTrainers(state, now, wall_ms, response->mutable_notices());
    AddUnsharedWorkers(state, response->mutable_notices());
    LeaveOutConnected(state, refused);
    AddRefusedWorkers(refused, response->mutable_notices());
  }));
  AddPilotNotices(call.parts.pilots, response->mutable_notices());
  for (v1::PilotInfo& pilot : call.parts.pilots.List(BootMs())) {
    *response->add_pilots() = std::move(pilot);
  }
  auto& workers = *response->mutable_workers();
  const auto is_unheard = [](const v1::WorkerInfo& info) { return info.heard_wall_ms() == 0; };
  if (std::ranges::none_of(workers, is_unheard)) return Status();
  ASSIGN_OR_RETURN(const auto stored, call.reader.LastStoredOfWorkers());
  for (v1::WorkerInfo& info : workers) {
    const auto found = stored.find(info.worker_id());
    if (is_unheard(info) && found != stored.end()) info.set_heard_wall_ms(found->second);
  }
  return Status();
}

namespace {

constexpr std::int64_t kDrainMsMax = std::int64_t{365} * 24 * 3600 * 1000;

// `refusal`: the reason code when the worker's state forbids it.
Status Order(Call& call, const std::string& worker, SchedulerEvent event,
             const char* refusal = "WORKER_IN_USE") {
  call.error.subject = worker;
  const Status status = call.parts.core.PostAndWait(std::move(event)).status;
  if (status.code() == Code::kNotFound) return call.WithReason("WORKER_NOT_FOUND", status);
  return call.WithReason(refusal, status);
}

}  // namespace

Status DrainWorker(Call& call, const v1::DrainWorkerRequest& request,
                   v1::DrainWorkerResponse* response) {
  WorkerDrained event{.worker = request.worker_id()};
  if (request.has_deadline_ms()) {
    event.deadline_ms = request.deadline_ms();
    if (request.deadline_ms() < 0 || request.deadline_ms() > kDrainMsMax) {
      return Status(Code::kInvalidArgument, Str("the deadline is in ", request.deadline_ms(),
                                                " ms: expected 0 to ", kDrainMsMax, ", a year"));
    }
  }
  RETURN_IF_ERROR(Order(call, request.worker_id(), std::move(event)));
  return call.parts.core.LookAndWait([&](const State& state) {
    const auto worker = state.workers.find(request.worker_id());
    if (worker == state.workers.end()) return;  // removed since
    response->set_tasks_running(static_cast<std::int32_t>(worker->second.busy.size()));
  });
}

Status UndrainWorker(Call& call, const v1::UndrainWorkerRequest& request,
                     v1::UndrainWorkerResponse* response) {
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    const auto worker = state.workers.find(request.worker_id());
    const bool is_known = worker != state.workers.end();
    response->set_was_drained(is_known && worker->second.drain.has_value());
  }));
  return Order(call, request.worker_id(), WorkerUndrained{.worker = request.worker_id()});
}

Status RemoveWorker(Call& call, const v1::RemoveWorkerRequest& request, v1::RemoveWorkerResponse*) {
  return Order(call, request.worker_id(), WorkerRemoved{.worker = request.worker_id()});
}

Status ReleaseSlots(Call& call, const v1::ReleaseSlotsRequest& request, v1::ReleaseSlotsResponse*) {
  SlotReleased event{.worker = request.worker_id()};
  if (request.has_slot()) event.index = request.slot();
  return Order(call, request.worker_id(), std::move(event), "SLOT_NOT_QUARANTINED");
}

}  // namespace longrun::coordinator
