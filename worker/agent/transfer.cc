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

bool IsTransient(const Status& status) {
  switch (status.code()) {
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kCancelled:
    case Code::kAborted:
    case Code::kResourceExhausted:
    case Code::kUnknown:
    case Code::kInternal:
      return true;
    default:
      return false;
  }
}

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
  v1::HasArtifactsRequest request;
  v1::HasArtifactsResponse response;
  for (const LocalArtifact& file : files) request.add_sha256(file.sha256);
  {
    Call call(*this, kQuestionDeadline);
    RETURN_IF_ERROR(StatusOfRpc(stub->HasArtifacts(&call.context, request, &response))
                        .In("asking for artifacts"));
  }
  if (response.present_size() != static_cast<int>(files.size())) {
    return Status(Code::kInternal,
                  Str("the worker asked about ", files.size(),
                      " artifacts, but the coordinator answered about ", response.present_size()));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (response.present(static_cast<int>(i))) continue;
    RETURN_IF_ERROR(UploadOne(files[i]).In(Str("uploading ", files[i].path)));
  }
  return Status();
}

Status ArtifactTransfer::UploadOne(const LocalArtifact& file) {
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  Call call(*this, kTransferDeadline);
  return UploadFile(*stub, call.context,
                    {.path = file.path, .sha256 = file.sha256, .n_bytes = file.n_bytes},
                    [](std::int64_t) { Failpoint("worker_mid_upload"); });
}

Status ArtifactTransfer::Receive(const ArtifactFile& file, const std::string& path,
                                 const std::string& remedy) {
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  Call call(*this, kTransferDeadline + std::chrono::seconds(file.n_bytes / kBytesInSecondMin));
  return ContinueDownload(
      *stub, call.context,
      {.path = path, .sha256 = file.sha256, .n_bytes = file.n_bytes, .remedy = remedy},
      [](std::int64_t) { Failpoint("worker_mid_download"); });
}

}  // namespace longrun::agent
