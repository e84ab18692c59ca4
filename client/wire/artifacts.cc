#include "client/wire/artifacts.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "client/wire/channel.h"
#include "client/wire/connection.h"
#include "client/wire/silence.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "proto/artifact_transfer.h"

namespace longrun::client {
namespace {

constexpr std::chrono::seconds kQuestionDeadline{30};
constexpr std::chrono::minutes kTransferDeadline{60};  // of one file
constexpr std::int64_t kPatienceMs = 120'000;  // over the network, until a byte has gone again

constexpr const char* kInterrupted = "the upload was interrupted: ";
constexpr const char* kBusy = "the coordinator is stopping, or busy";  // its own words
constexpr std::int64_t kPauseMsMin = 500;

// Waits until the channel has a connection again, for at most `ms_max`; for all of it if it has
// one. At least kPauseMsMin, since a connection may break again at once.
void AwaitConnection(grpc::Channel& channel, std::int64_t ms_max) {
  const std::int64_t first_ms = std::min(kPauseMsMin, ms_max);
  const std::chrono::milliseconds rest(ms_max - first_ms);
  std::this_thread::sleep_for(std::chrono::milliseconds(first_ms));
  // gRPC gets on with connecting only while somebody waits for it.
  if (channel.GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY) {
    channel.WaitForConnected(std::chrono::system_clock::now() + rest);
  } else {
    std::this_thread::sleep_for(rest);
  }
}

}  // namespace

struct ArtifactClient::Impl {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::ArtifactService::Stub> stub;
  Destination destination;
  bool is_remote = false;

  // The same failure in our words if nobody answered, since then the words are gRPC's.
  Status InOurWords(Status failed) const {
    if (failed.code() == Code::kDeadlineExceeded) {
      return Status(failed.code(), "the coordinator did not answer in time");
    }
    const bool is_answer = failed.message().find(kBusy) != std::string::npos;
    if (failed.code() != Code::kUnavailable || is_answer) return failed;
    if (is_remote) return WhyNotReached(destination);
    const std::string lost = LostText(failed.message());
    return lost.empty() ? std::move(failed) : Status(failed.code(), lost);
  }
};

ArtifactClient::ArtifactClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArtifactClient::~ArtifactClient() = default;

Result<std::unique_ptr<ArtifactClient>> ArtifactClient::Connect(const std::string& state) {
  ASSIGN_OR_RETURN(const Destination destination, DestinationOf(state));
  RETURN_IF_ERROR(RoomForConnections());
  auto impl = std::make_unique<Impl>();
  impl->channel = OpenChannel(destination);
  impl->destination = destination;
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
  RetryNotice notice;
  const auto pause = [&](const Status& why, std::int64_t ms_max) {
    if (notice.IsDue(BootMs())) {
      const std::string cause(impl_->InOurWords(why).message());
      tell(Str(kInterrupted, TryingAgainText(cause, kPatienceMs)));
    }
    AwaitConnection(*impl_->channel, ms_max);
  };
  // Only new bytes are progress: the same ones may be sent again and again.
  const auto note_progress = [&, most = std::int64_t{0}](std::int64_t n_bytes_so_far) mutable {
    if (n_bytes_so_far > most) notice.Reset();
    most = std::max(most, n_bytes_so_far);
    if (progress) progress(n_bytes_so_far);
  };
  Status sent = UploadFiles(*impl_->stub, files,
                            {.new_context = new_context,
                             .question_deadline = kQuestionDeadline,
                             .file_deadline = kTransferDeadline,
                             .progress = note_progress,
                             .patience_ms = impl_->is_remote ? kPatienceMs : 0,
                             .pause = pause});
  if (sent.code() != Code::kUnavailable && sent.code() != Code::kDeadlineExceeded) return sent;
  const char* const remedy = impl_->is_remote ? "; the same command continues it" : "";
  return Status(sent.code(),
                Str(kInterrupted, impl_->InOurWords(std::move(sent)).message(), remedy));
}

Status ArtifactClient::Download(const LocalArtifact& file, const Progress& progress) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTransferDeadline);
  return impl_->InOurWords(DownloadFile(*impl_->stub, context, file, progress));
}

}  // namespace longrun::client
