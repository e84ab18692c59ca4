// The unary calls of SweepService, one function each. proto/longrun/v1/sweeps.proto describes the
// calls; a function returns the generated class of its call's answer.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "client/wire/messages.h"

namespace longrun::client {

// How long an answer may take, unless a caller says otherwise.
inline constexpr std::int64_t kAnswerMs = 30'000;
// Enough to plan the largest possible sweep on a busy machine.
inline constexpr std::int64_t kPlanMs = 300'000;
// Enough to submit the largest possible sweep after another one, since the coordinator takes one
// submission at a time, on a busy machine that needs ten times as long as the one of
// docs/benchmarks.md. Also for the other calls that wait for submissions.
inline constexpr std::int64_t kSubmitMs = 600'000;
// Enough to read the largest dataset from a slow disk, after others that wait for the same.
inline constexpr std::int64_t kStoreMs = 3'500'000;

// For a query besides its own time: a busy coordinator takes long to start its process.
inline constexpr std::int64_t kQueryStartMs = 45'000;

struct QueryOptions {
  std::int64_t timeout_ms = 5'000;  // of the statement
  std::int64_t rows_max = 0;        // 0: the coordinator's default
  std::string claims_json = {};     // the rows of `claims`; "": none are given
  std::string sweep_id = {};        // the only sweep of which it uses rows; "": of several
  std::int64_t answer_ms = 0;       // of the whole call; 0: timeout_ms and kQueryStartMs
};

// kUnavailable if no coordinator answers, kDeadlineExceeded if the answer takes too long.
class SweepCalls {
 public:
  virtual ~SweepCalls() = default;

  Result<v1::GetServerInfoResponse> GetServerInfo(std::int64_t answer_ms = kAnswerMs);
  Result<v1::PlanSweepResponse> PlanSweep(const v1::PlanSweepRequest& request);
  Result<v1::SubmitSweepResponse> SubmitSweep(const v1::SubmitSweepRequest& request);
  Result<v1::ListSweepsResponse> ListSweeps();
  // Only those of the name.
  Result<v1::ListSweepsResponse> ListSweepsNamed(const std::string& name);
  // Only the last `newest` of them. An earlier coordinator gives all, and no total.
  Result<v1::ListSweepsResponse> ListNewestSweeps(std::int64_t newest);
  Result<v1::GetSweepResponse> GetSweep(const std::string& sweep, bool brief = false);
  // The sweep's file as it was submitted, without the sweep's runs.
  Result<v1::GetSweepResponse> GetSweepFile(const std::string& sweep);
  Result<v1::GetRunResponse> GetRun(const std::string& run);
  Result<v1::GetReasonsResponse> GetReasons(const std::string& target);
  Result<v1::GetResultsResponse> GetResultsOfSweep(const std::string& sweep);
  Result<v1::GetResultsResponse> GetResultsOfRun(const std::string& run);
  Result<v1::GetSeriesResponse> GetSeries(const std::string& run, const std::string& metric);
  Result<v1::CancelSweepResponse> CancelSweep(const std::string& sweep, bool now);
  Result<v1::PauseSweepResponse> PauseSweep(const std::string& sweep);
  Result<v1::ResumeSweepResponse> ResumeSweep(const std::string& sweep);
  Result<v1::RemoveSweepResponse> RemoveSweep(const std::string& sweep);
  Result<v1::AnnotateSweepResponse> AnnotateSweep(const v1::AnnotateSweepRequest& request);
  Result<v1::RetryTasksResponse> RetryTasks(const std::string& target);
  Result<v1::CollectGarbageResponse> CollectGarbage(bool dry_run);
  Result<v1::ListWorkersResponse> ListWorkers();
  Result<v1::ReportPilotResponse> ReportPilot(const v1::ReportPilotRequest& request);
  Result<v1::DrainWorkerResponse> DrainWorker(const v1::DrainWorkerRequest& request);
  Result<v1::UndrainWorkerResponse> UndrainWorker(const std::string& worker);
  Result<v1::RemoveWorkerResponse> RemoveWorker(const std::string& worker);
  Result<v1::ReleaseSlotsResponse> ReleaseSlots(const v1::ReleaseSlotsRequest& request);
  Result<v1::RegisterDatasetResponse> RegisterDataset(const std::string& name,
                                                      const std::string& folder);
  Result<v1::StoreDatasetResponse> StoreDataset(const v1::StoreDatasetRequest& request);
  // `looks`: at their folders, for DatasetInfo.problem. An earlier coordinator does not look.
  Result<v1::ListDatasetsResponse> ListDatasets(bool looks = false);
  Result<v1::RemoveDatasetResponse> RemoveDataset(const std::string& name);
  Result<v1::RegisterModelResponse> RegisterModel(const v1::RegisterModelRequest& request);
  Result<v1::ListModelsResponse> ListModels();
  Result<v1::RemoveModelResponse> RemoveModel(const std::string& name);
  Result<v1::FindCheckpointResponse> FindCheckpoint(const std::string& target,
                                                    const std::string& which);
  Result<v1::QueryResponse> Query(const std::string& sql, const QueryOptions& options = {});
  Result<v1::ListViewsResponse> ListViews();

  // Sends a request, whose type determines the method, and fills in the method's answer.
  virtual Status Send(const google::protobuf::Message& request, std::int64_t answer_ms,
                      google::protobuf::Message* answer) = 0;
  // Whether the last request may have had, or may still have, its effect although it failed: the
  // coordinator may have received it, and has not answered.
  virtual bool unanswered() const = 0;

 private:
  template <typename Answer>
  Result<Answer> Ask(const google::protobuf::Message& request, std::int64_t answer_ms = kAnswerMs);
};

}  // namespace longrun::client
