// Artifacts over gRPC's blocking interface.
#include "worker/agent/transfer.h"

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/str.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "proto/artifact_transfer.h"
#include "sweeps/protocol.h"

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
    context.AddMetadata(kWorkerMetadata, client_.writer_);
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

void ArtifactTransfer::Share(std::shared_ptr<SharedObjects> shared) {
  const std::scoped_lock lock(mutex_);
  shared_ = std::move(shared);
}

std::shared_ptr<SharedObjects> ArtifactTransfer::shared() const {
  const std::scoped_lock lock(mutex_);
  return shared_;
}

bool ArtifactTransfer::IsSharing() const { return shared() != nullptr; }

Status ArtifactTransfer::IsCancelled() const {
  const std::scoped_lock lock(mutex_);
  return cancelled_ ? Status(Code::kCancelled, "the worker is stopping") : Status();
}

Status ArtifactTransfer::Link(const ArtifactFile& file, const std::string& path,
                              const std::string& remedy, const std::atomic<bool>& unwanted) {
  const std::shared_ptr<SharedObjects> folder = shared();
  if (folder == nullptr) return Status(Code::kUnavailable, "the folder is not shared any more");
  const auto go_on = [&]() -> Status {
    if (unwanted) return Status(Code::kCancelled, "the task is not wanted any more");
    return IsCancelled();
  };
  Status there = folder->Check(file.sha256, file.n_bytes, go_on);
  if (there.code() == Code::kNotFound) {
    const auto fetch = [&](const std::string& to) { return Receive(file, to, remedy, unwanted); };
    there = folder->Put(file.sha256, file.n_bytes, writer_, fetch, go_on);
  }
  RETURN_IF_ERROR(there);
  (void)unlink(path.c_str());
  if (symlink(folder->PathOf(file.sha256).c_str(), path.c_str()) == 0) return Status();
  return ErrnoStatus(errno, Str("cannot make the link ", path));
}

Status ArtifactTransfer::PutAll(SharedObjects& folder, const std::vector<LocalArtifact>& files) {
  v1::AdoptArtifactsRequest request;
  std::int64_t n_bytes = 0;
  const auto go_on = [&] { return IsCancelled(); };
  for (const LocalArtifact& file : files) {
    const auto copy = [&](const std::string& to) -> Status {
      std::error_code error;
      if (std::filesystem::copy_file(file.path, to, error)) return Status();
      return ErrnoStatus(error.value(), Str("cannot copy ", file.path, " to ", to));
    };
    RETURN_IF_ERROR(folder.Put(file.sha256, file.n_bytes, writer_, copy, go_on));
    request.add_sha256(file.sha256);
    request.add_bytes(file.n_bytes);
    n_bytes += file.n_bytes;
  }
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  Call call(*this, kTransferDeadline + std::chrono::seconds(n_bytes / kBytesInSecondMin));
  v1::AdoptArtifactsResponse response;
  RETURN_IF_ERROR(StatusOfRpc(stub->AdoptArtifacts(&call.context, request, &response)));
  for (int i = 0; i < response.adopted_size(); ++i) {
    if (response.adopted(i)) continue;
    return Status(Code::kFailedPrecondition,
                  Str("the coordinator does not see artifact ", request.sha256(i),
                      ", which this worker has put into the shared folder"));
  }
  return Status();
}

Status ArtifactTransfer::Upload(const std::vector<LocalArtifact>& files) {
  if (const std::shared_ptr<SharedObjects> folder = shared(); folder != nullptr) {
    Status put = PutAll(*folder, files);
    if (put.ok() || IsTransient(put)) return put;
    // An error of the folder's disk has these codes, too. Another way helps only if no file is at
    // fault.
    if (put.code() == Code::kDataLoss || put.code() == Code::kNotFound) {
      for (const LocalArtifact& file : files) RETURN_IF_ERROR(CheckAgainstRecord(file));
    }
    LogWarning("not_put_into_shared_folder",
               {{"error", put.message()}, {"instead", "it is sent to the coordinator"}});
  }
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  const auto new_context = [this](std::chrono::system_clock::duration deadline) {
    const auto call = std::make_shared<Call>(*this, deadline);
    return std::shared_ptr<grpc::ClientContext>(call, &call->context);
  };
  return UploadFiles(*stub, files,
                     {.new_context = new_context,
                      .question_deadline = kQuestionDeadline,
                      .file_deadline = kTransferDeadline,
                      .progress = [](std::int64_t) { Failpoint("worker_mid_upload"); },
                      .store_errors_are_transient = true});
}

Status ArtifactTransfer::Receive(const ArtifactFile& file, const std::string& path,
                                 const std::string& remedy, const std::atomic<bool>& unwanted) {
  if (unwanted) return Status(Code::kCancelled, "the task is not wanted any more");
  // An interrupted Link may have left a link there. The bytes would go to the shared folder, under
  // a name that says that they are complete.
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode)) (void)unlink(path.c_str());
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
