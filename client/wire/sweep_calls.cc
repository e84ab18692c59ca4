#include "client/wire/sweep_calls.h"

#include "base/str.h"

namespace longrun::client {

template <typename Answer>
Result<Answer> SweepCalls::Ask(const google::protobuf::Message& request, std::int64_t answer_ms) {
  Answer answer;
  RETURN_IF_ERROR(Send(request, answer_ms, &answer));
  return answer;
}

Result<v1::GetServerInfoResponse> SweepCalls::GetServerInfo(std::int64_t answer_ms) {
  return Ask<v1::GetServerInfoResponse>(v1::GetServerInfoRequest(), answer_ms);
}

Result<v1::PlanSweepResponse> SweepCalls::PlanSweep(const v1::PlanSweepRequest& request) {
  return Ask<v1::PlanSweepResponse>(request, kPlanMs);
}

Result<v1::SubmitSweepResponse> SweepCalls::SubmitSweep(const v1::SubmitSweepRequest& request) {
  Result<v1::SubmitSweepResponse> answer = Ask<v1::SubmitSweepResponse>(request, kSubmitMs);
  if (answer.ok() || !unanswered()) return answer;
  return Status(answer.status().code(),
                Str(answer.status().message(),
                    "; the sweep may still appear: `longrun ls` shows it then, and submitting the "
                    "same file again adds nothing"));
}

Result<v1::ListSweepsResponse> SweepCalls::ListSweeps() {
  return Ask<v1::ListSweepsResponse>(v1::ListSweepsRequest());
}

Result<v1::ListSweepsResponse> SweepCalls::ListSweepsNamed(const std::string& name) {
  v1::ListSweepsRequest request;
  request.set_name(name);
  return Ask<v1::ListSweepsResponse>(request);
}

Result<v1::ListSweepsResponse> SweepCalls::ListNewestSweeps(std::int64_t newest) {
  v1::ListSweepsRequest request;
  request.set_newest(newest);
  return Ask<v1::ListSweepsResponse>(request);
}

Result<v1::GetSweepResponse> SweepCalls::GetSweep(const std::string& sweep, bool brief) {
  v1::GetSweepRequest request;
  request.set_sweep(sweep);
  request.set_brief(brief);
  return Ask<v1::GetSweepResponse>(request);
}

Result<v1::GetSweepResponse> SweepCalls::GetSweepFile(const std::string& sweep) {
  v1::GetSweepRequest request;
  request.set_sweep(sweep);
  request.set_file_only(true);
  return Ask<v1::GetSweepResponse>(request);
}

Result<v1::GetRunResponse> SweepCalls::GetRun(const std::string& run) {
  v1::GetRunRequest request;
  request.set_run(run);
  return Ask<v1::GetRunResponse>(request);
}

Result<v1::GetReasonsResponse> SweepCalls::GetReasons(const std::string& target) {
  v1::GetReasonsRequest request;
  request.set_target(target);
  return Ask<v1::GetReasonsResponse>(request);
}

Result<v1::GetResultsResponse> SweepCalls::GetResultsOfSweep(const std::string& sweep) {
  v1::GetResultsRequest request;
  request.set_sweep(sweep);
  return Ask<v1::GetResultsResponse>(request);
}

Result<v1::GetResultsResponse> SweepCalls::GetResultsOfRun(const std::string& run) {
  v1::GetResultsRequest request;
  request.set_run(run);
  return Ask<v1::GetResultsResponse>(request);
}

Result<v1::GetSeriesResponse> SweepCalls::GetSeries(const std::string& run,
                                                    const std::string& metric) {
  v1::GetSeriesRequest request;
  request.set_run(run);
  request.set_metric(metric);
  return Ask<v1::GetSeriesResponse>(request);
}

// Orders about large sweeps are carried out one after the other, in many steps.
Result<v1::CancelSweepResponse> SweepCalls::CancelSweep(const std::string& sweep, bool now) {
  v1::CancelSweepRequest request;
  request.set_sweep(sweep);
  request.set_now(now);
  return Ask<v1::CancelSweepResponse>(request, kSubmitMs);
}

Result<v1::PauseSweepResponse> SweepCalls::PauseSweep(const std::string& sweep) {
  v1::PauseSweepRequest request;
  request.set_sweep(sweep);
  return Ask<v1::PauseSweepResponse>(request, kSubmitMs);
}

Result<v1::ResumeSweepResponse> SweepCalls::ResumeSweep(const std::string& sweep) {
  v1::ResumeSweepRequest request;
  request.set_sweep(sweep);
  return Ask<v1::ResumeSweepResponse>(request, kSubmitMs);
}

Result<v1::RemoveSweepResponse> SweepCalls::RemoveSweep(const std::string& sweep) {
  v1::RemoveSweepRequest request;
  request.set_sweep(sweep);
  return Ask<v1::RemoveSweepResponse>(request, kSubmitMs);
}

Result<v1::AnnotateSweepResponse> SweepCalls::AnnotateSweep(
    const v1::AnnotateSweepRequest& request) {
  return Ask<v1::AnnotateSweepResponse>(request);
}

Result<v1::RetryTasksResponse> SweepCalls::RetryTasks(const std::string& target) {
  v1::RetryTasksRequest request;
  request.set_target(target);
  return Ask<v1::RetryTasksResponse>(request, kSubmitMs);
}

Result<v1::CollectGarbageResponse> SweepCalls::CollectGarbage(bool dry_run) {
  v1::CollectGarbageRequest request;
  request.set_dry_run(dry_run);
  return Ask<v1::CollectGarbageResponse>(request);
}

Result<v1::ListWorkersResponse> SweepCalls::ListWorkers() {
  return Ask<v1::ListWorkersResponse>(v1::ListWorkersRequest());
}

Result<v1::ReportPilotResponse> SweepCalls::ReportPilot(const v1::ReportPilotRequest& request) {
  return Ask<v1::ReportPilotResponse>(request);
}
Result<v1::DrainWorkerResponse> SweepCalls::DrainWorker(const v1::DrainWorkerRequest& request) {
  return Ask<v1::DrainWorkerResponse>(request);
}

Result<v1::UndrainWorkerResponse> SweepCalls::UndrainWorker(const std::string& worker) {
  v1::UndrainWorkerRequest request;
  request.set_worker_id(worker);
  return Ask<v1::UndrainWorkerResponse>(request);
}

Result<v1::RemoveWorkerResponse> SweepCalls::RemoveWorker(const std::string& worker) {
  v1::RemoveWorkerRequest request;
  request.set_worker_id(worker);
  return Ask<v1::RemoveWorkerResponse>(request);
}

Result<v1::ReleaseSlotsResponse> SweepCalls::ReleaseSlots(const v1::ReleaseSlotsRequest& request) {
  return Ask<v1::ReleaseSlotsResponse>(request);
}

Result<v1::RegisterDatasetResponse> SweepCalls::RegisterDataset(const std::string& name,
                                                                const std::string& folder) {
  v1::RegisterDatasetRequest request;
  request.set_name(name);
  request.set_folder(folder);
  return Ask<v1::RegisterDatasetResponse>(request);
}

Result<v1::StoreDatasetResponse> SweepCalls::StoreDataset(const v1::StoreDatasetRequest& request) {
  return Ask<v1::StoreDatasetResponse>(request, kStoreMs);
}

Result<v1::ListDatasetsResponse> SweepCalls::ListDatasets(bool looks) {
  v1::ListDatasetsRequest request;
  request.set_looks(looks);
  return Ask<v1::ListDatasetsResponse>(request);
}

Result<v1::RemoveDatasetResponse> SweepCalls::RemoveDataset(const std::string& name) {
  v1::RemoveDatasetRequest request;
  request.set_name(name);
  return Ask<v1::RemoveDatasetResponse>(request, kSubmitMs);
}

Result<v1::RegisterModelResponse> SweepCalls::RegisterModel(
    const v1::RegisterModelRequest& request) {
  return Ask<v1::RegisterModelResponse>(request);
}

Result<v1::ListModelsResponse> SweepCalls::ListModels() {
  return Ask<v1::ListModelsResponse>(v1::ListModelsRequest());
}

Result<v1::RemoveModelResponse> SweepCalls::RemoveModel(const std::string& name) {
  v1::RemoveModelRequest request;
  request.set_name(name);
  return Ask<v1::RemoveModelResponse>(request, kSubmitMs);
}

Result<v1::FindCheckpointResponse> SweepCalls::FindCheckpoint(const std::string& target,
                                                              const std::string& which) {
  v1::FindCheckpointRequest request;
  request.set_target(target);
  request.set_which(which);
  return Ask<v1::FindCheckpointResponse>(request);
}

Result<v1::QueryResponse> SweepCalls::Query(const std::string& sql, const QueryOptions& options) {
  v1::QueryRequest request;
  request.set_sql(sql);
  request.set_timeout_ms(options.timeout_ms);
  request.set_rows_max(options.rows_max);
  request.set_claims_json(options.claims_json);
  request.set_sweep_id(options.sweep_id);
  return Ask<v1::QueryResponse>(
      request, options.answer_ms > 0 ? options.answer_ms : options.timeout_ms + kQueryStartMs);
}

Result<v1::ListViewsResponse> SweepCalls::ListViews() {
  return Ask<v1::ListViewsResponse>(v1::ListViewsRequest());
}

}  // namespace longrun::client
