// Artifacts over gRPC's blocking interface.
#include "worker/agent/transfer.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "longrun/v1/artifacts.grpc.pb.h"

namespace longrun {
namespace {

constexpr std::size_t kFrameBytes = 1u << 20;
constexpr std::size_t kCheckpointFilesMax = 64;
constexpr std::chrono::seconds kQuestionDeadline{10};
constexpr std::chrono::minutes kTransferDeadline{10};  // of one file

Status FromRpc(const grpc::Status& status) {
  if (status.ok()) return Status();
  return Status(static_cast<Code>(status.error_code()), status.error_message());
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

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

// A call's context, known to the client as long as it runs so that Cancel reaches it.
class ArtifactClient::Call {
 public:
  Call(ArtifactClient& client, std::chrono::system_clock::duration deadline) : client_(client) {
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
  ArtifactClient& client_;
};

void ArtifactClient::Cancel() {
  const std::scoped_lock lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

Status ArtifactClient::Upload(const std::vector<LocalArtifact>& files) {
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  v1::HasArtifactsRequest request;
  v1::HasArtifactsResponse response;
  for (const LocalArtifact& file : files) request.add_sha256(file.sha256);
  {
    Call call(*this, kQuestionDeadline);
    RETURN_IF_ERROR(
        FromRpc(stub->HasArtifacts(&call.context, request, &response)).In("asking for artifacts"));
  }
  if (response.present_size() != static_cast<int>(files.size())) {
    return Status(Code::kInternal, Str("asked for ", files.size(),
                                       " artifacts, the store answered ", response.present_size()));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (response.present(static_cast<int>(i))) continue;
    RETURN_IF_ERROR(UploadOne(files[i]).In(Str("uploading ", files[i].path)));
  }
  return Status();
}

Status ArtifactClient::UploadOne(const LocalArtifact& file) {
  const File input(std::fopen(file.path.c_str(), "rbe"));
  if (input == nullptr) return ErrnoStatus(errno, Str("cannot open ", file.path));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(file.path));
  if (n_bytes != file.n_bytes) {
    return Status(Code::kDataLoss,
                  Str("the file has ", n_bytes, " bytes; its record says ", file.n_bytes));
  }
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  Call call(*this, kTransferDeadline);
  v1::UploadArtifactResponse response;
  const auto writer = stub->UploadArtifact(&call.context, &response);
  v1::UploadArtifactRequest frame;
  frame.set_sha256(file.sha256);
  frame.set_total_bytes(n_bytes);
  Sha256 hash;
  Status broken;
  // An empty file is one frame without data. The last frame goes only when the digest holds.
  for (std::int64_t n_left = n_bytes;;) {
    std::string data(std::min<std::size_t>(kFrameBytes, static_cast<std::size_t>(n_left)), '\0');
    if (std::fread(data.data(), 1, data.size(), input.get()) != data.size()) {
      broken = std::ferror(input.get()) != 0
                   ? ErrnoStatus(errno, Str("cannot read ", file.path))
                   : Status(Code::kDataLoss, "the file became shorter while it was read");
      break;
    }
    hash.Update(data);
    n_left -= static_cast<std::int64_t>(data.size());
    if (n_left == 0) {
      if (const std::string found = hash.FinishHex(); found != file.sha256) {
        broken = Status(Code::kDataLoss,
                        Str("the file's SHA-256 is ", found, "; its record says ", file.sha256));
        break;
      }
    }
    frame.set_data(std::move(data));
    if (!writer->Write(frame)) break;  // Finish says why
    Failpoint("worker_mid_upload");
    frame.clear_sha256();
    frame.clear_total_bytes();
    if (n_left == 0) break;
  }
  if (!broken.ok()) call.context.TryCancel();
  writer->WritesDone();
  const Status sent = FromRpc(writer->Finish());
  return broken.ok() ? sent : broken;
}

Status ArtifactClient::Download(const ArtifactFile& file, const std::string& path) {
  const File output(std::fopen(path.c_str(), "wbe"));
  if (output == nullptr) return ErrnoStatus(errno, Str("cannot create ", path));
  const auto stub = v1::ArtifactService::NewStub(coordinator_.channel);
  Call call(*this, kTransferDeadline);
  v1::DownloadArtifactRequest request;
  request.set_sha256(file.sha256);
  const auto reader = stub->DownloadArtifact(&call.context, request);
  v1::DownloadArtifactResponse frame;
  Sha256 hash;
  Status broken;
  std::int64_t n_bytes = 0;
  while (broken.ok() && reader->Read(&frame)) {
    const std::string& data = frame.data();
    hash.Update(data);
    n_bytes += static_cast<std::int64_t>(data.size());
    if (n_bytes > file.n_bytes) {
      broken = Status(Code::kDataLoss,
                      Str("the store gave more than the ", file.n_bytes, " bytes of the file"));
    } else if (std::fwrite(data.data(), 1, data.size(), output.get()) != data.size()) {
      broken = ErrnoStatus(errno, Str("cannot write ", path));
    }
  }
  if (!broken.ok()) call.context.TryCancel();
  const Status received = FromRpc(reader->Finish());
  RETURN_IF_ERROR(broken);
  RETURN_IF_ERROR(received);
  if (const std::string found = hash.FinishHex(); found != file.sha256) {
    return Status(Code::kDataLoss, Str("the store gave ", n_bytes, " bytes with SHA-256 ", found,
                                       ", expected ", file.n_bytes, " with ", file.sha256));
  }
  if (std::fflush(output.get()) != 0) return ErrnoStatus(errno, Str("cannot write ", path));
  return SyncFile(path);
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

Result<std::string> ArtifactClient::FetchCheckpoint(const CheckpointSource& source,
                                                    const std::string& cache_dir) {
  if (!IsSha256Hex(source.sha256) || source.files.size() > kCheckpointFilesMax) {
    return Status(Code::kInvalidArgument,
                  Str("checkpoint \"", source.sha256, "\" with ", source.files.size(),
                      " files: expected a SHA-256 and at most ", kCheckpointFilesMax, " files"));
  }
  bool has_manifest = false;
  for (const ArtifactFile& file : source.files) {
    if (!IsSafeName(file.name) || !IsSha256Hex(file.sha256) || file.n_bytes < 0) {
      return Status(Code::kInvalidArgument, Str("checkpoint ", source.sha256, ": the file \"",
                                                file.name, "\" with SHA-256 \"", file.sha256,
                                                "\" and ", file.n_bytes, " bytes cannot be"));
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
    RETURN_IF_ERROR(RemoveAll(folder));
  }
  const std::string temporary = Str(folder, ".tmp");
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeFolders(temporary));
  for (const ArtifactFile& file : source.files) {
    Status status = Download(file, JoinPath(temporary, file.name));
    if (status.ok()) continue;
    RETURN_IF_ERROR(RemoveAll(temporary));
    return std::move(status).In(Str("fetching ", file.name, " of checkpoint ", source.sha256));
  }
  RETURN_IF_ERROR(SyncFolder(temporary));
  RETURN_IF_ERROR(RenameSync(temporary, folder));
  return folder;
}

}  // namespace longrun
