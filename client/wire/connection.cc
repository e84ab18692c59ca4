#include "client/wire/connection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_room.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/thread.h"
#include "client/wire/channel.h"
#include "client/wire/damage_notice.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::client {
namespace {

using google::protobuf::Message;

constexpr int kThreadsMax = 8;  // of gRPC, in a client
constexpr int kFilesMax = 12;   // the same

// ---- statuses -----------------------------------------------------------------------------------

Status FromRpc(const grpc::Status& status) {
  if (status.ok()) return {};
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    const std::string lost = LostText(status.error_message());
    if (!lost.empty()) return {Code::kUnavailable, lost};
  }
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    return {Code::kPermissionDenied, status.error_message()};
  }
  return {static_cast<Code>(status.error_code()), status.error_message()};
}

constexpr const char* kErrorTrailer = "longrun-error-bin";

// The coordinator's own errors have the trailer. Other codes come from it as well, before it begins
// a call: it does not know the caller, or the caller calls too often.
bool IsUnanswered(const grpc::Status& status, const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  if (trailers.find(kErrorTrailer) != trailers.end()) return false;
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return !status.error_message().starts_with(kNotConnected);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
      return true;
    default:
      return false;
  }
}

std::vector<std::string> ViolationsOf(const grpc::ClientContext& context,
                                      const char* trailer = kErrorTrailer) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(trailer);
  v1::ErrorDetail detail;
  if (found == trailers.end() ||
      !detail.ParseFromArray(found->second.data(), static_cast<int>(found->second.size()))) {
    return {};
  }
  return {detail.violations().begin(), detail.violations().end()};
}

void NoticeDamageOf(const std::string& method, const grpc::ClientContext& context) {
  NoticeDamage(method, ViolationsOf(context, "longrun-damaged-bin"));
}

const google::protobuf::MethodDescriptor& MethodOf(const Message& request, const Message& answer) {
  // Each file declares the messages of its own service.
  const google::protobuf::FileDescriptor* const file = request.GetDescriptor()->file();
  LR_CHECK(file->service_count() == 1);
  const google::protobuf::ServiceDescriptor* const service = file->service(0);
  for (int i = 0; i < service->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service->method(i);
    if (method.input_type() != request.GetDescriptor()) continue;
    LR_CHECK(method.output_type() == answer.GetDescriptor());
    return method;
  }
  LR_CHECK(false);
}

std::string PathOf(const google::protobuf::MethodDescriptor& method) {
  return Str("/", method.service()->full_name(), "/", method.name());
}

grpc::ByteBuffer Serialise(const Message& message) {
  const std::string bytes = message.SerializeAsString();
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

Status Parse(const grpc::ByteBuffer& buffer, Message* message) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (buffer.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    if (message->ParseFromString(bytes)) return {};
  }
  return {Code::kInternal,
          "the coordinator's answer cannot be read: do both programs have the same version?"};
}

}  // namespace

const Status& RoomForConnections() {
  static const Status room = [] {
    Status files = CheckFileRoom(kFilesMax, "this command");
    return files.ok() ? CheckThreadRoom(kThreadsMax) : files;
  }();
  return room;
}

struct CoordinatorConnection::Impl {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<grpc::GenericStub> stub;
  std::mutex mutex;  // guards stream_context
  grpc::ClientContext* stream_context = nullptr;
};

CoordinatorConnection::CoordinatorConnection(const Destination& destination)
    : impl_(std::make_unique<Impl>()) {
  if (!RoomForConnections().ok()) return;  // each call reports that
  impl_->channel = OpenChannel(destination);
  impl_->stub = std::make_unique<grpc::GenericStub>(impl_->channel);
}

CoordinatorConnection::~CoordinatorConnection() = default;

Status CoordinatorConnection::Send(const Message& request, std::int64_t answer_ms,
                                   Message* answer) {
  violations_.clear();
  unanswered_ = false;
  RETURN_IF_ERROR(RoomForConnections());
  const google::protobuf::MethodDescriptor& method = MethodOf(request, *answer);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(answer_ms));
  const grpc::ByteBuffer bytes = Serialise(request);
  grpc::ByteBuffer answer_bytes;
  grpc::CompletionQueue queue;
  const auto reader = impl_->stub->PrepareUnaryCall(&context, PathOf(method), bytes, &queue);
  reader->StartCall();
  grpc::Status status;
  reader->Finish(&answer_bytes, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  NoticeDamageOf(method.name(), context);
  if (!status.ok()) {
    violations_ = ViolationsOf(context);
    unanswered_ = IsUnanswered(status, context);
    // gRPC's bare message means that our deadline passed;
    // the coordinator's own messages are specific.
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
        status.error_message() == "Deadline Exceeded") {
      return Status(
          Code::kDeadlineExceeded,
          Str("the coordinator has not answered within ", answer_ms / 1000, " s (", method.name(),
              "): it or its machine is overloaded; try again, or see `longrun doctor`"));
    }
    return Lost(FromRpc(status));
  }
  return Parse(answer_bytes, answer);
}

Status CoordinatorConnection::WatchSweep(
    const std::string& sweep, bool first,
    const std::function<bool(const v1::WatchSweepResponse&)>& each) {
  v1::WatchSweepRequest request;
  request.set_sweep(sweep);
  request.set_first(first);
  v1::WatchSweepResponse message;
  return Stream(request, &message, [&] { return each(message); });
}

Status CoordinatorConnection::GetLogs(const std::string& target, bool follow,
                                      const std::function<bool(const v1::GetLogsResponse&)>& each) {
  v1::GetLogsRequest request;
  request.set_target(target);
  request.set_follow(follow);
  v1::GetLogsResponse message;
  return Stream(request, &message, [&] { return each(message); });
}

Status CoordinatorConnection::Stream(const Message& request, Message* message,
                                     const std::function<bool()>& each) {
  RETURN_IF_ERROR(RoomForConnections());
  const google::protobuf::MethodDescriptor& method = MethodOf(request, *message);
  grpc::ClientContext context;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stream_context = &context;
  }
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto stream = impl_->stub->PrepareCall(&context, PathOf(method), &queue);
  stream->StartCall(nullptr);
  bool open = next();
  if (open) {
    stream->WriteLast(Serialise(request), grpc::WriteOptions(), nullptr);
    open = next();
  }
  Status result;
  bool stopped = false;
  while (open) {
    grpc::ByteBuffer bytes;
    stream->Read(&bytes, nullptr);
    if (!next()) break;
    result = Parse(bytes, message);
    stopped = !result.ok() || !each();
    if (stopped) {
      context.TryCancel();
      break;
    }
  }
  grpc::Status status;
  stream->Finish(&status, nullptr);
  next();
  NoticeDamageOf(method.name(), context);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stream_context = nullptr;
  }
  return stopped ? result : Lost(FromRpc(status));
}

Result<std::string> CoordinatorConnection::Download(const std::string& sha256,
                                                    std::int64_t bytes_max) {
  RETURN_IF_ERROR(RoomForConnections());
  const auto stub = v1::ArtifactService::NewStub(impl_->channel);
  v1::DownloadArtifactRequest request;
  request.set_sha256(sha256);
  grpc::ClientContext context;
  const auto reader = stub->DownloadArtifact(&context, request);
  v1::DownloadArtifactResponse frame;
  std::string bytes;
  while (reader->Read(&frame)) {
    const auto n_bytes = static_cast<std::int64_t>(bytes.size() + frame.data().size());
    if (std::max(n_bytes, frame.total_bytes()) > bytes_max) {
      context.TryCancel();
      return Status(Code::kResourceExhausted,
                    Str("artifact ", sha256, " has ", std::max(n_bytes, frame.total_bytes()),
                        " bytes, but at most ", bytes_max, " can be read"));
    }
    bytes += frame.data();
  }
  if (Status status = Lost(FromRpc(reader->Finish())); !status.ok()) {
    return std::move(status).In(Str("reading artifact ", sha256));
  }
  if (Sha256Hex(bytes) == sha256) return bytes;
  return Status(
      Code::kDataLoss,
      Str("artifact ", sha256, " is damaged in the store: its bytes do not match its SHA-256"));
}

Status CoordinatorConnection::Lost(Status failed) const {
  if (failed.code() != Code::kUnavailable || !why_lost_) return failed;
  Status why = why_lost_();
  return why.ok() ? std::move(failed) : why;
}

void CoordinatorConnection::CancelStream() {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->stream_context != nullptr) impl_->stream_context->TryCancel();
}

}  // namespace longrun::client
