// See daemons.h.
#include "coordinator/rpc/daemons.h"

#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/version.h"
#include "coordinator/rpc/views.h"

namespace longrun::coordinator {

Status GetServerInfo(Call& call, const v1::GetServerInfoRequest&,
                     v1::GetServerInfoResponse* response) {
  const Store& store = call.parts.core.store();
  response->set_version(std::string(kVersion));
  response->set_commit(std::string(BuildCommit()));
  response->set_protocol_version(kProtocolVersion);
  response->set_state_folder(store.folder());
  response->set_coordinator_id(store.coordinator_id());
  response->set_boot_epoch(store.boot_epoch());
  response->set_pid(getpid());
  response->set_metrics_address(call.parts.metrics_address);
  response->set_schema_version(Store::SchemaVersion());
  call.reader.NoteDamaged(InBrief(store.damaged()));
  return call.parts.core.LookAndWait([&](const State& state) { FillUnknownRuns(state, response); });
}

Status ListWorkers(Call& call, const v1::ListWorkersRequest&, v1::ListWorkersResponse* response) {
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
    AddMissedWorkers(state, now, wall_ms, response->mutable_notices());
    AddQuietTrainers(state, now, wall_ms, response->mutable_notices());
  }));
  for (v1::WorkerInfo& info : *response->mutable_workers()) {
    if (info.heard_wall_ms() != 0) continue;
    ASSIGN_OR_RETURN(const std::int64_t wall_ms, call.reader.LastStoredOfWorker(info.worker_id()));
    info.set_heard_wall_ms(wall_ms);
  }
  return Status();
}

}  // namespace longrun::coordinator
