#include "client/wire/artifacts.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "client/wire/channel.h"
#include "client/wire/connection.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "proto/artifact_transfer.h"

namespace longrun::client {
namespace {

constexpr std::chrono::seconds kQuestionDeadline{30};
constexpr std::chrono::minutes kTransferDeadline{60};  // of one file

}  // namespace

struct ArtifactClient::Impl {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::ArtifactService::Stub> stub;
};

ArtifactClient::ArtifactClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArtifactClient::~ArtifactClient() = default;

Result<std::unique_ptr<ArtifactClient>> ArtifactClient::Connect(const std::string& state) {
  ASSIGN_OR_RETURN(const Destination destination, DestinationOf(state));
  RETURN_IF_ERROR(RoomForConnections());
  auto impl = std::make_unique<Impl>();
  impl->channel = OpenChannel(destination);
  impl->stub = v1::ArtifactService::NewStub(impl->channel);
  return std::unique_ptr<ArtifactClient>(new ArtifactClient(std::move(impl)));
}

Result<std::vector<bool>> ArtifactClient::Has(const std::vector<std::string>& digests) {
  v1::HasArtifactsRequest request;
  v1::HasArtifactsResponse response;
  for (const std::string& digest : digests) request.add_sha256(digest);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kQuestionDeadline);
  RETURN_IF_ERROR(StatusOfRpc(impl_->stub->HasArtifacts(&context, request, &response)));
  if (response.present_size() != static_cast<int>(digests.size())) {
    return Status(Code::kInternal,
                  Str("the client asked about ", digests.size(),
                      " artifacts, but the coordinator answered about ", response.present_size()));
  }
  return std::vector<bool>(response.present().begin(), response.present().end());
}

Status ArtifactClient::Upload(const File& file, const Progress& progress) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTransferDeadline);
  return UploadFile(*impl_->stub, context,
                    {.path = file.path, .sha256 = file.sha256, .n_bytes = file.n_bytes}, progress);
}

Status ArtifactClient::Download(const File& file, const Progress& progress) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTransferDeadline);
  return DownloadFile(*impl_->stub, context,
                      {.path = file.path, .sha256 = file.sha256, .n_bytes = file.n_bytes},
                      progress);
}

}  // namespace longrun::client
