// Artifacts over gRPC's blocking interface.
#include "worker/agent/transfer.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <set>
#include <utility>

#include "base/failpoint.h"
#include "base/str.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "proto/artifact_transfer.h"

namespace longrun::agent {
namespace {

constexpr std::chrono::seconds kQuestionDeadline{10};
constexpr std::chrono::minutes kTransferDeadline{10};  // for one file
constexpr std::int64_t kBytesInSecondMin = 1 << 20;    // a large download has more time

}  // namespace

// A call's context, which the client knows while the call runs, so that Cancel can reach it.
class ArtifactTransfer::Call {
 public:
  Call(ArtifactTransfer& client, std::chrono::system_clock::duration deadline) : client_(client) {
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    const std::scoped_lock lock(client_.mutex_);
    client_.calls_.insert(&context);
    if (client_.cancelled_) context.TryCancel();
  }
  ~Call() {
    const std::scoped_lock lock(client_.mutex_);
    client_.calls_.erase(&context);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext context;

 private:
  ArtifactTransfer& client_;
};

void ArtifactTransfer::Cancel() {
  const std::scoped_lock lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

Status ArtifactTransfer::Upload(const std::vector<LocalArtifact>& files) {
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  const auto new_context = [this](std::chrono::system_clock::duration deadline) {
    const auto call = std::make_shared<Call>(*this, deadline);
    return std::shared_ptr<grpc::ClientContext>(call, &call->context);
  };
  return UploadFiles(*stub, files,
                     {.new_context = new_context,
                      .question_deadline = kQuestionDeadline,
                      .file_deadline = kTransferDeadline,
                      .progress = [](std::int64_t) { Failpoint("worker_mid_upload"); }});
}

Status ArtifactTransfer::Receive(const ArtifactFile& file, const std::string& path,
                                 const std::string& remedy, const std::atomic<bool>& unwanted) {
  if (unwanted) return Status(Code::kCancelled, "the task is not wanted any more");
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  Call call(*this, kTransferDeadline + std::chrono::seconds(file.n_bytes / kBytesInSecondMin));
  return ContinueDownload(*stub, call.context,
                          {.path = path, .sha256 = file.sha256, .n_bytes = file.n_bytes}, remedy,
                          [&](std::int64_t) {
                            Failpoint("worker_mid_download");
                            if (unwanted) call.context.TryCancel();
                          });
}

}  // namespace longrun::agent
