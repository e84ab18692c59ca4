#include "proto/artifact_transfer.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kFrameBytes = 1u << 20;
constexpr const char* kStoredFileRemedy =
    "restore a backup (docs/operating.md), and ask `longrun doctor --deep` what else is damaged";

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

}  // namespace

Status StatusOfRpc(const grpc::Status& status) {
  if (status.ok()) return Status();
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    return Status(Code::kPermissionDenied, status.error_message());
  }
  return Status(static_cast<Code>(status.error_code()), status.error_message());
}

Status UploadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                  const ArtifactFileRef& file, const TransferProgress& progress) {
  const File input(std::fopen(file.path.c_str(), "rbe"));
  if (input == nullptr) return ErrnoStatus(errno, Str("cannot open ", file.path));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(file.path));
  if (n_bytes != file.n_bytes) {
    return Status(Code::kDataLoss,
                  Str("the file has ", n_bytes, " bytes; its record says ", file.n_bytes));
  }
  v1::UploadArtifactResponse response;
  const auto writer = stub.UploadArtifact(&context, &response);
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
    if (progress) progress(n_bytes - n_left);
    frame.clear_sha256();
    frame.clear_total_bytes();
    if (n_left == 0) break;
  }
  if (!broken.ok()) context.TryCancel();
  writer->WritesDone();
  const Status sent = StatusOfRpc(writer->Finish());
  return broken.ok() ? sent : broken;
}

Status DownloadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                    const ArtifactFileRef& file, const TransferProgress& progress) {
  const std::string& path = file.path;
  const File output(std::fopen(path.c_str(), "wbe"));
  if (output == nullptr) return ErrnoStatus(errno, Str("cannot create ", path));
  v1::DownloadArtifactRequest request;
  request.set_sha256(file.sha256);
  const auto reader = stub.DownloadArtifact(&context, request);
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
                      Str("the stored file ", file.sha256, " is damaged: it is longer than its ",
                          file.n_bytes, " bytes; ", kStoredFileRemedy));
    } else if (std::fwrite(data.data(), 1, data.size(), output.get()) != data.size()) {
      broken = ErrnoStatus(errno, Str("cannot write ", path));
    }
    if (progress) progress(n_bytes);
  }
  if (!broken.ok()) context.TryCancel();
  const Status received = StatusOfRpc(reader->Finish());
  RETURN_IF_ERROR(broken);
  RETURN_IF_ERROR(received);
  if (const std::string found = hash.FinishHex(); found != file.sha256) {
    return Status(
        Code::kDataLoss,
        Str("the stored file ", file.sha256, " is damaged: ",
            n_bytes == file.n_bytes ? Str("its bytes have the SHA-256 ", found)
                                    : Str("it has ", n_bytes, " of its ", file.n_bytes, " bytes"),
            "; ", kStoredFileRemedy));
  }
  if (std::fflush(output.get()) != 0) return ErrnoStatus(errno, Str("cannot write ", path));
  return SyncFile(path);
}

}  // namespace longrun
