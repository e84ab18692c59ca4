// See sweep_service.h.
#include "coordinator/rpc/sweep_service.h"

#include "base/random.h"
#include "coordinator/rpc/collect.h"
#include "coordinator/rpc/daemons.h"
#include "coordinator/rpc/datasets.h"
#include "coordinator/rpc/logs.h"
#include "coordinator/rpc/models.h"
#include "coordinator/rpc/query.h"
#include "coordinator/rpc/reads.h"
#include "coordinator/rpc/submit.h"
#include "coordinator/rpc/sweeps.h"
#include "coordinator/rpc/watch.h"
#include "longrun/v1/sweeps.grpc.pb.h"

namespace longrun {
namespace {

using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;

class SweepService final : public v1::SweepService::CallbackService {
 public:
  explicit SweepService(CoordinatorParts& parts) : parts_(parts), random_(EntropySeed()) {}

  Unary* GetServerInfo(Context* context, const v1::GetServerInfoRequest* request,
                       v1::GetServerInfoResponse* response) override {
    return Answer(parts_.executor, context, "GetServerInfo", &longrun::GetServerInfo, request,
                  response);
  }
  Unary* PlanSweep(Context* context, const v1::PlanSweepRequest* request,
                   v1::PlanSweepResponse* response) override {
    return Answer(parts_.submitter, context, "PlanSweep", &longrun::PlanSweep, request, response);
  }
  Unary* SubmitSweep(Context* context, const v1::SubmitSweepRequest* request,
                     v1::SubmitSweepResponse* response) override {
    return Handle(parts_, parts_.submitter, context, "SubmitSweep", [=, this](Call& call) {
      return longrun::SubmitSweep(call, random_, *request, response);
    });
  }
  Unary* ListSweeps(Context* context, const v1::ListSweepsRequest* request,
                    v1::ListSweepsResponse* response) override {
    return Answer(parts_.executor, context, "ListSweeps", &longrun::ListSweeps, request, response);
  }
  Unary* GetSweep(Context* context, const v1::GetSweepRequest* request,
                  v1::GetSweepResponse* response) override {
    return Answer(parts_.executor, context, "GetSweep", &longrun::GetSweep, request, response);
  }
  Unary* GetRun(Context* context, const v1::GetRunRequest* request,
                v1::GetRunResponse* response) override {
    return Answer(parts_.executor, context, "GetRun", &longrun::GetRun, request, response);
  }
  grpc::ServerWriteReactor<v1::WatchSweepResponse>* WatchSweep(
      Context* context, const v1::WatchSweepRequest* request) override {
    return longrun::WatchSweep(parts_, context, request);
  }
  Unary* GetResults(Context* context, const v1::GetResultsRequest* request,
                    v1::GetResultsResponse* response) override {
    return Answer(parts_.executor, context, "GetResults", &longrun::GetResults, request, response);
  }
  Unary* GetSeries(Context* context, const v1::GetSeriesRequest* request,
                   v1::GetSeriesResponse* response) override {
    return Answer(parts_.executor, context, "GetSeries", &longrun::GetSeries, request, response);
  }
  Unary* CancelSweep(Context* context, const v1::CancelSweepRequest* request,
                     v1::CancelSweepResponse* response) override {
    return Answer(parts_.executor, context, "CancelSweep", &longrun::CancelSweep, request,
                  response);
  }
  // On the submitter's thread, so that it cannot overlap with a submission of the same sweep.
  Unary* RemoveSweep(Context* context, const v1::RemoveSweepRequest* request,
                     v1::RemoveSweepResponse* response) override {
    return Answer(parts_.submitter, context, "RemoveSweep", &longrun::RemoveSweep, request,
                  response);
  }
  Unary* AnnotateSweep(Context* context, const v1::AnnotateSweepRequest* request,
                       v1::AnnotateSweepResponse* response) override {
    return Answer(parts_.executor, context, "AnnotateSweep", &longrun::AnnotateSweep, request,
                  response);
  }
  // On the submitter's thread, so that no sweep or dataset is removed in the meantime.
  Unary* RetryTasks(Context* context, const v1::RetryTasksRequest* request,
                    v1::RetryTasksResponse* response) override {
    return Answer(parts_.submitter, context, "RetryTasks", &longrun::RetryTasks, request, response);
  }
  Unary* CollectGarbage(Context* context, const v1::CollectGarbageRequest* request,
                        v1::CollectGarbageResponse* response) override {
    return Answer(parts_.executor, context, "CollectGarbage", &longrun::CollectGarbage, request,
                  response);
  }
  grpc::ServerWriteReactor<v1::GetLogsResponse>* GetLogs(
      Context* context, const v1::GetLogsRequest* request) override {
    return longrun::GetLogs(parts_, context, request);
  }
  Unary* ListWorkers(Context* context, const v1::ListWorkersRequest* request,
                     v1::ListWorkersResponse* response) override {
    return Answer(parts_.executor, context, "ListWorkers", &longrun::ListWorkers, request,
                  response);
  }
  Unary* RegisterDataset(Context* context, const v1::RegisterDatasetRequest* request,
                         v1::RegisterDatasetResponse* response) override {
    return Answer(parts_.executor, context, "RegisterDataset", &longrun::RegisterDataset, request,
                  response);
  }
  Unary* ListDatasets(Context* context, const v1::ListDatasetsRequest* request,
                      v1::ListDatasetsResponse* response) override {
    return Answer(parts_.executor, context, "ListDatasets", &longrun::ListDatasets, request,
                  response);
  }
  // On the submitter's thread, so that no submission asks for it in the meantime.
  Unary* RemoveDataset(Context* context, const v1::RemoveDatasetRequest* request,
                       v1::RemoveDatasetResponse* response) override {
    return Answer(parts_.submitter, context, "RemoveDataset", &longrun::RemoveDataset, request,
                  response);
  }
  Unary* RegisterModel(Context* context, const v1::RegisterModelRequest* request,
                       v1::RegisterModelResponse* response) override {
    return Answer(parts_.executor, context, "RegisterModel", &longrun::RegisterModel, request,
                  response);
  }
  Unary* ListModels(Context* context, const v1::ListModelsRequest* request,
                    v1::ListModelsResponse* response) override {
    return Answer(parts_.executor, context, "ListModels", &longrun::ListModels, request, response);
  }
  // On the submitter's thread, so that a sweep that is being submitted keeps its model until it is
  // stored.
  Unary* RemoveModel(Context* context, const v1::RemoveModelRequest* request,
                     v1::RemoveModelResponse* response) override {
    return Answer(parts_.submitter, context, "RemoveModel", &longrun::RemoveModel, request,
                  response);
  }
  Unary* FindCheckpoint(Context* context, const v1::FindCheckpointRequest* request,
                        v1::FindCheckpointResponse* response) override {
    return Answer(parts_.executor, context, "FindCheckpoint", &longrun::FindCheckpoint, request,
                  response);
  }
  Unary* Query(Context* context, const v1::QueryRequest* request,
               v1::QueryResponse* response) override {
    return Answer(parts_.querier, context, "Query", &longrun::Query, request, response);
  }
  Unary* ListViews(Context* context, const v1::ListViewsRequest* request,
                   v1::ListViewsResponse* response) override {
    return Answer(parts_.executor, context, "ListViews", &longrun::ListViews, request, response);
  }

 private:
  template <typename Request, typename Response>
  Unary* Answer(Executor& executor, Context* context, const char* method,
                Status (*answer)(Call&, const Request&, Response*), const Request* request,
                Response* response) {
    return Handle(parts_, executor, context, method,
                  [=](Call& call) { return answer(call, *request, response); });
  }

  CoordinatorParts& parts_;
  SeededRandom random_;  // used only on the submitter's thread
};

}  // namespace

std::unique_ptr<grpc::Service> MakeSweepService(CoordinatorParts& parts) {
  return std::make_unique<SweepService>(parts);
}

}  // namespace longrun
