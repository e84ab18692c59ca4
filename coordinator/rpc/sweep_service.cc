// See sweep_service.h.
#include "coordinator/rpc/sweep_service.h"

#include "base/random.h"
#include "coordinator/rpc/collect.h"
#include "coordinator/rpc/daemons.h"
#include "coordinator/rpc/datasets.h"
#include "coordinator/rpc/logs.h"
#include "coordinator/rpc/models.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/query.h"
#include "coordinator/rpc/reads.h"
#include "coordinator/rpc/reasons.h"
#include "coordinator/rpc/submit.h"
#include "coordinator/rpc/sweeps.h"
#include "coordinator/rpc/watch.h"
#include "coordinator/rpc/watched_sweep.h"
#include "longrun/v1/sweeps.grpc.pb.h"

namespace longrun::coordinator {
namespace {

using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;

// Its messages are parsed and written by gRPC, except those of WatchSweep (watch.h).
using Base = v1::SweepService::WithRawCallbackMethod_WatchSweep<v1::SweepService::CallbackService>;

class SweepService final : public Base {
 public:
  explicit SweepService(CoordinatorParts& parts) : parts_(parts), random_(EntropySeed()) {}

  Unary* GetServerInfo(Context* context, const v1::GetServerInfoRequest* request,
                       v1::GetServerInfoResponse* response) override {
    return Answer(parts_.executor, context, "GetServerInfo", &coordinator::GetServerInfo, request,
                  response);
  }
  // On a thread of its own: it changes nothing, and whoever may only read must not delay
  // submissions. Something may be submitted, removed or collected in the meantime.
  Unary* PlanSweep(Context* context, const v1::PlanSweepRequest* request,
                   v1::PlanSweepResponse* response) override {
    return Answer(parts_.planner, context, "PlanSweep", &coordinator::PlanSweep, request, response);
  }
  Unary* SubmitSweep(Context* context, const v1::SubmitSweepRequest* request,
                     v1::SubmitSweepResponse* response) override {
    return Handle(parts_, parts_.submitter, context, "SubmitSweep", [=, this](Call& call) {
      return coordinator::SubmitSweep(call, random_, *request, response);
    });
  }
  Unary* ListSweeps(Context* context, const v1::ListSweepsRequest* request,
                    v1::ListSweepsResponse* response) override {
    return Answer(parts_.executor, context, "ListSweeps", &coordinator::ListSweeps, request,
                  response);
  }
  Unary* GetSweep(Context* context, const v1::GetSweepRequest* request,
                  v1::GetSweepResponse* response) override {
    return Answer(parts_.executor, context, "GetSweep", &coordinator::GetSweep, request, response);
  }
  Unary* GetRun(Context* context, const v1::GetRunRequest* request,
                v1::GetRunResponse* response) override {
    return Answer(parts_.executor, context, "GetRun", &coordinator::GetRun, request, response);
  }
  Unary* GetReasons(Context* context, const v1::GetReasonsRequest* request,
                    v1::GetReasonsResponse* response) override {
    return Answer(parts_.executor, context, "GetReasons", &coordinator::GetReasons, request,
                  response);
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchSweep(Context* context,
                                                         const grpc::ByteBuffer* request) override {
    return coordinator::WatchSweep(parts_, watched_, context, request);
  }
  Unary* GetResults(Context* context, const v1::GetResultsRequest* request,
                    v1::GetResultsResponse* response) override {
    return Answer(parts_.executor, context, "GetResults", &coordinator::GetResults, request,
                  response);
  }
  Unary* GetSeries(Context* context, const v1::GetSeriesRequest* request,
                   v1::GetSeriesResponse* response) override {
    return Answer(parts_.executor, context, "GetSeries", &coordinator::GetSeries, request,
                  response);
  }
  Unary* CancelSweep(Context* context, const v1::CancelSweepRequest* request,
                     v1::CancelSweepResponse* response) override {
    return Answer(parts_.executor, context, "CancelSweep", &coordinator::CancelSweep, request,
                  response);
  }
  Unary* PauseSweep(Context* context, const v1::PauseSweepRequest* request,
                    v1::PauseSweepResponse* response) override {
    return Answer(parts_.executor, context, "PauseSweep", &coordinator::PauseSweep, request,
                  response);
  }
  Unary* ResumeSweep(Context* context, const v1::ResumeSweepRequest* request,
                     v1::ResumeSweepResponse* response) override {
    return Answer(parts_.executor, context, "ResumeSweep", &coordinator::ResumeSweep, request,
                  response);
  }
  // On the submitter's thread, so that it cannot overlap with a submission of the same sweep.
  Unary* RemoveSweep(Context* context, const v1::RemoveSweepRequest* request,
                     v1::RemoveSweepResponse* response) override {
    return Answer(parts_.submitter, context, "RemoveSweep", &coordinator::RemoveSweep, request,
                  response);
  }
  Unary* AnnotateSweep(Context* context, const v1::AnnotateSweepRequest* request,
                       v1::AnnotateSweepResponse* response) override {
    return Answer(parts_.executor, context, "AnnotateSweep", &coordinator::AnnotateSweep, request,
                  response);
  }
  // On the submitter's thread, so that no sweep or dataset is removed in the meantime.
  Unary* RetryTasks(Context* context, const v1::RetryTasksRequest* request,
                    v1::RetryTasksResponse* response) override {
    return Answer(parts_.submitter, context, "RetryTasks", &coordinator::RetryTasks, request,
                  response);
  }
  Unary* CollectGarbage(Context* context, const v1::CollectGarbageRequest* request,
                        v1::CollectGarbageResponse* response) override {
    return Answer(parts_.executor, context, "CollectGarbage", &coordinator::CollectGarbage, request,
                  response);
  }
  grpc::ServerWriteReactor<v1::GetLogsResponse>* GetLogs(
      Context* context, const v1::GetLogsRequest* request) override {
    return coordinator::GetLogs(parts_, context, request);
  }
  Unary* ListWorkers(Context* context, const v1::ListWorkersRequest* request,
                     v1::ListWorkersResponse* response) override {
    return Answer(parts_.executor, context, "ListWorkers", &coordinator::ListWorkers, request,
                  response);
  }
  Unary* DrainWorker(Context* context, const v1::DrainWorkerRequest* request,
                     v1::DrainWorkerResponse* response) override {
    return Answer(parts_.executor, context, "DrainWorker", &coordinator::DrainWorker, request,
                  response);
  }
  Unary* UndrainWorker(Context* context, const v1::UndrainWorkerRequest* request,
                       v1::UndrainWorkerResponse* response) override {
    return Answer(parts_.executor, context, "UndrainWorker", &coordinator::UndrainWorker, request,
                  response);
  }
  Unary* RemoveWorker(Context* context, const v1::RemoveWorkerRequest* request,
                      v1::RemoveWorkerResponse* response) override {
    return Answer(parts_.executor, context, "RemoveWorker", &coordinator::RemoveWorker, request,
                  response);
  }
  Unary* ReleaseSlots(Context* context, const v1::ReleaseSlotsRequest* request,
                      v1::ReleaseSlotsResponse* response) override {
    return Answer(parts_.executor, context, "ReleaseSlots", &coordinator::ReleaseSlots, request,
                  response);
  }
  Unary* ReportPilot(Context* context, const v1::ReportPilotRequest* request,
                     v1::ReportPilotResponse* response) override {
    return Answer(parts_.executor, context, "ReportPilot", &coordinator::ReportPilot, request,
                  response);
  }
  Unary* RegisterDataset(Context* context, const v1::RegisterDatasetRequest* request,
                         v1::RegisterDatasetResponse* response) override {
    return Answer(parts_.executor, context, "RegisterDataset", &coordinator::RegisterDataset,
                  request, response);
  }
  // On a thread of its own, since it reads every byte of the dataset.
  Unary* StoreDataset(Context* context, const v1::StoreDatasetRequest* request,
                      v1::StoreDatasetResponse* response) override {
    return HandleChecked(
        parts_, parts_.receiver, context, "StoreDataset",
        [=](Call& call) { return CheckStoreDataset(call, *request, response); },
        [=](Call& call) { return coordinator::StoreDataset(call, *request, response); });
  }
  // A look at a folder may wait for a disk that does not answer, and must not hold up other calls.
  Unary* ListDatasets(Context* context, const v1::ListDatasetsRequest* request,
                      v1::ListDatasetsResponse* response) override {
    Executor& executor = request->looks() ? parts_.transfers : parts_.executor;
    return Answer(executor, context, "ListDatasets", &coordinator::ListDatasets, request, response);
  }
  // On the submitter's thread, so that no submission asks for it in the meantime.
  Unary* RemoveDataset(Context* context, const v1::RemoveDatasetRequest* request,
                       v1::RemoveDatasetResponse* response) override {
    return Answer(parts_.submitter, context, "RemoveDataset", &coordinator::RemoveDataset, request,
                  response);
  }
  Unary* RegisterModel(Context* context, const v1::RegisterModelRequest* request,
                       v1::RegisterModelResponse* response) override {
    return Answer(parts_.executor, context, "RegisterModel", &coordinator::RegisterModel, request,
                  response);
  }
  Unary* ListModels(Context* context, const v1::ListModelsRequest* request,
                    v1::ListModelsResponse* response) override {
    return Answer(parts_.executor, context, "ListModels", &coordinator::ListModels, request,
                  response);
  }
  // On the submitter's thread, so that a sweep that is being submitted keeps its model until it is
  // stored.
  Unary* RemoveModel(Context* context, const v1::RemoveModelRequest* request,
                     v1::RemoveModelResponse* response) override {
    return Answer(parts_.submitter, context, "RemoveModel", &coordinator::RemoveModel, request,
                  response);
  }
  // Looks into folders of datasets on the threads from which their files are sent.
  Unary* FindCheckpoint(Context* context, const v1::FindCheckpointRequest* request,
                        v1::FindCheckpointResponse* response) override {
    return HandleChecked(
        parts_, parts_.transfers, context, "FindCheckpoint",
        [=](Call& call) { return coordinator::FindCheckpoint(call, *request, response); },
        [=](Call& call) {
          call.error.subject = request->target();
          return ListTokenizer(call, response);
        });
  }
  Unary* Query(Context* context, const v1::QueryRequest* request,
               v1::QueryResponse* response) override {
    return Answer(parts_.querier, context, "Query", &coordinator::Query, request, response);
  }
  Unary* ListViews(Context* context, const v1::ListViewsRequest* request,
                   v1::ListViewsResponse* response) override {
    return Answer(parts_.executor, context, "ListViews", &coordinator::ListViews, request,
                  response);
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
  WatchedSweeps watched_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeSweepService(CoordinatorParts& parts) {
  return std::make_unique<SweepService>(parts);
}

}  // namespace longrun::coordinator
