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
constexpr std::int64_t kPatienceMs = 120'000;  // over the network, until a byte has gone again

}  // namespace

struct ArtifactClient::Impl {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::ArtifactService::Stub> stub;
  bool is_remote = false;
};

ArtifactClient::ArtifactClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArtifactClient::~ArtifactClient() = default;

Result<std::unique_ptr<ArtifactClient>> ArtifactClient::Connect(const std::string& state) {
  ASSIGN_OR_RETURN(const Destination destination, DestinationOf(state));
  RETURN_IF_ERROR(RoomForConnections());
  auto impl = std::make_unique<Impl>();
  impl->channel = OpenChannel(destination);
  impl->is_remote = IsContext(state);
  impl->stub = v1::ArtifactService::NewStub(impl->channel);
  return std::unique_ptr<ArtifactClient>(new ArtifactClient(std::move(impl)));
}

Status ArtifactClient::Upload(const std::vector<LocalArtifact>& files, const Progress& progress,
                              const std::function<void(const std::string&)>& tell) {
  const auto new_context = [](std::chrono::system_clock::duration deadline) {
    auto context = std::make_shared<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + deadline);
    return context;
  };
  const auto before_pause = [&tell](const Status& why) {
    tell(Str("the upload was interrupted (", why.message(), "): trying again"));
  };
  return UploadFiles(*impl_->stub, files,
                     {.new_context = new_context,
                      .question_deadline = kQuestionDeadline,
                      .file_deadline = kTransferDeadline,
                      .progress = progress,
                      .patience_ms = impl_->is_remote ? kPatienceMs : 0,
                      .before_pause = before_pause});
}

Status ArtifactClient::Download(const LocalArtifact& file, const Progress& progress) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTransferDeadline);
  return DownloadFile(*impl_->stub, context, file, progress);
}

}  // namespace longrun::client
