// Artifacts over gRPC's blocking interface.
#include "worker/agent/transfer.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <set>
#include <utility>

#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "model/hugging_face/manifest.h"
#include "proto/artifact_transfer.h"
#include "worker/agent/refusal.h"

namespace longrun::agent {
namespace {

constexpr std::chrono::seconds kQuestionDeadline{10};
constexpr std::chrono::minutes kTransferDeadline{10};  // for one file

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

Status ArtifactTransfer::Download(const ArtifactFile& file, const std::string& path) {
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  Call call(*this, kTransferDeadline);
  return DownloadFile(*stub, call.context,
                      {.path = path, .sha256 = file.sha256, .n_bytes = file.n_bytes});
}

Status VerifyCheckpoint(const CheckpointSource& source, const std::string& folder) {
  for (const ArtifactFile& file : source.files) {
    const std::string path = JoinPath(folder, file.name);
    ASSIGN_OR_RETURN(const std::string found, Sha256OfFile(path));
    if (found != file.sha256) {
      return Status(Code::kDataLoss,
                    Str("SHA-256 of ", path, " is ", found, ", expected ", file.sha256));
    }
  }
  return Status();
}

Result<std::string> ArtifactTransfer::FetchCheckpoint(const CheckpointSource& source,
                                                      const std::string& cache_dir) {
  if (!IsSha256Hex(source.sha256) || source.files.size() > kFolderFilesMax + 1) {
    return Status(Code::kInvalidArgument,
                  Str("checkpoint \"", source.sha256, "\" with ", source.files.size(),
                      " files: expected a SHA-256 and at most ", kFolderFilesMax, " files"));
  }
  bool has_manifest = false;
  for (const ArtifactFile& file : source.files) {
    if (!IsSafeName(file.name) || !IsSha256Hex(file.sha256) || file.n_bytes < 0) {
      return Status(
          Code::kInvalidArgument,
          Str("checkpoint ", source.sha256, ": the file \"", file.name, "\" with SHA-256 \"",
              file.sha256, "\" and ", file.n_bytes, " bytes is not a valid entry"));
    }
    has_manifest |= file.name == "manifest.json" && file.sha256 == source.sha256;
  }
  if (!has_manifest) {
    return Status(Code::kDataLoss, Str("checkpoint ", source.sha256,
                                       ": no manifest.json with this SHA-256 among its files"));
  }
  const std::scoped_lock lock(fetching_);
  const std::string folder = JoinPath(cache_dir, source.sha256);
  if (IsFolder(folder)) {
    if (VerifyCheckpoint(source, folder).ok()) return folder;
    RETURN_IF_ERROR(CacheNotWritten(RemoveAll(folder)));
  }
  const std::string temporary = Str(folder, ".tmp");
  RETURN_IF_ERROR(CacheNotWritten(RemoveAll(temporary)));
  RETURN_IF_ERROR(CacheNotWritten(MakeFolder(temporary)));
  for (const ArtifactFile& file : source.files) {
    Status status = Download(file, JoinPath(temporary, file.name));
    if (status.ok()) continue;
    RETURN_IF_ERROR(CacheNotWritten(RemoveAll(temporary)));
    return std::move(status).In(Str("fetching ", file.name, " of checkpoint ", source.sha256));
  }
  RETURN_IF_ERROR(CacheNotWritten(SyncFolder(temporary)));
  RETURN_IF_ERROR(CacheNotWritten(RenameSync(temporary, folder)));
  return folder;
}

}  // namespace longrun::agent
