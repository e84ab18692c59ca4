#include "client/wire/connection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/file_room.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/thread.h"
#include "client/wire/damage_notice.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"

namespace longrun {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::string_view kJsonSuffix = "_json";
constexpr std::int64_t kMessageBytesMax = 64 << 20;
constexpr int kThreadsMax = 8;  // of gRPC, in a client
constexpr int kFilesMax = 12;   // the same

// ---- messages <-> JSON --------------------------------------------------------------------------

Json ToJson(const Message& message);

Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// One value of a field; `index` < 0 for a field that is not repeated.
Json ValueToJson(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* r = message.GetReflection();
  const bool repeated = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? r->GetRepeatedInt32(message, field, index) : r->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? r->GetRepeatedInt64(message, field, index) : r->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? r->GetRepeatedUInt32(message, field, index) : r->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberOrNull(repeated ? r->GetRepeatedDouble(message, field, index)
                                   : r->GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return NumberOrNull(static_cast<double>(repeated ? r->GetRepeatedFloat(message, field, index)
                                                       : r->GetFloat(message, field)));
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return repeated ? r->GetRepeatedEnum(message, field, index)->name()
                      : r->GetEnum(message, field)->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return repeated ? r->GetRepeatedString(message, field, index) : r->GetString(message, field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(repeated ? r->GetRepeatedMessage(message, field, index)
                             : r->GetMessage(message, field));
  }
  return nullptr;
}

// A map field arrives as a list of {key, value} messages.
Json MapToJson(const Message& message, const FieldDescriptor* field) {
  Json object = Json::object();
  const Reflection* r = message.GetReflection();
  for (int i = 0; i < r->FieldSize(message, field); ++i) {
    const Json entry = ToJson(r->GetRepeatedMessage(message, field, i));
    object[entry.at("key").get<std::string>()] = entry.at("value");
  }
  return object;
}

Json FieldToJson(const Message& message, const FieldDescriptor* field) {
  if (field->is_map()) return MapToJson(message, field);
  if (field->has_optional_keyword() && !message.GetReflection()->HasField(message, field)) {
    return nullptr;
  }
  if (!field->is_repeated()) return ValueToJson(message, field, -1);
  Json list = Json::array();
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    list.push_back(ValueToJson(message, field, i));
  }
  return list;
}

// A field and its name in the JSON.
struct NamedField {
  std::string name;
  const FieldDescriptor* field = nullptr;
  bool is_json = false;  // text that contains JSON, and is parsed
};

// The fields of a message type, cached: a message about thousands of runs has few types.
const std::vector<NamedField>& FieldsOf(const Descriptor* descriptor) {
  thread_local std::unordered_map<const Descriptor*, std::vector<NamedField>> all;
  const auto [known, is_new] = all.try_emplace(descriptor);
  std::vector<NamedField>& fields = known->second;
  if (!is_new) return fields;
  for (int i = 0; i < descriptor->field_count(); ++i) {
    std::string name = descriptor->field(i)->name();
    const bool is_json = std::string_view(name).ends_with(kJsonSuffix);
    if (is_json) name.resize(name.size() - kJsonSuffix.size());
    fields.push_back({.name = std::move(name), .field = descriptor->field(i), .is_json = is_json});
  }
  std::ranges::sort(fields, {}, &NamedField::name);
  return fields;
}

Json ParsedOrText(Json text) {
  const auto& bytes = text.get_ref<const std::string&>();
  if (bytes.empty()) return nullptr;
  Result<Json> parsed = ParseJson(bytes);
  return parsed.ok() ? std::move(parsed).value() : std::move(text);
}

// Every field is present, so that a reader needs no defaults:
// null stands for an unset `optional` one.
Json ToJson(const Message& message) {
  Json object = Json::object();
  auto& members = *object.get_ptr<Json::object_t*>();
  for (const NamedField& one : FieldsOf(message.GetDescriptor())) {
    Json value = FieldToJson(message, one.field);
    if (one.is_json) value = ParsedOrText(std::move(value));
    members.emplace_hint(members.end(), one.name, std::move(value));
  }
  return object;
}

void Fill(const Json& json, Message* message);

void FillValue(const Json& value, const FieldDescriptor* field, Message* message) {
  const Reflection* r = message->GetReflection();
  const bool repeated = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      r->SetBool(message, field, value.get<bool>());
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      r->SetInt64(message, field, value.get<std::int64_t>());
      return;
    case FieldDescriptor::CPPTYPE_STRING:
      if (repeated) {
        r->AddString(message, field, value.get<std::string>());
      } else {
        r->SetString(message, field, value.get<std::string>());
      }
      return;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      Fill(value, repeated ? r->AddMessage(message, field) : r->MutableMessage(message, field));
      return;
    default:
      LR_CHECK(false);  // no request has a field of another type
  }
}

void Fill(const Json& json, Message* message) {
  for (const auto& [name, value] : json.items()) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    LR_CHECK(field != nullptr);
    if (field->is_repeated()) {
      for (const Json& item : value) FillValue(item, field, message);
    } else {
      FillValue(value, field, message);
    }
  }
}

// ---- statuses -----------------------------------------------------------------------------------

bool IsOfTheSocket(const grpc::Status& status) {
  const std::string_view message = status.error_message();
  return message.starts_with("Socket closed") || message.starts_with("Connection reset") ||
         message.starts_with("Broken pipe");
}

Status FromRpc(const grpc::Status& status) {
  if (status.ok()) return {};
  // gRPC's own message for a missing socket is not fit for users.
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE &&
      status.error_message().starts_with("failed to connect")) {
    return {Code::kUnavailable,
            "no coordinator answers: it may be starting or stopping; try again"};
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && IsOfTheSocket(status)) {
    return {Code::kUnavailable,
            "the coordinator ended before it answered: `coordinator.log` in the state folder says "
            "why; try again"};
  }
  return {static_cast<Code>(status.error_code()), status.error_message()};
}

std::vector<std::string> ViolationsOf(const grpc::ClientContext& context,
                                      const char* trailer = "longrun-error-bin") {
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

const google::protobuf::MethodDescriptor* FindMethod(const std::string& name) {
  const google::protobuf::ServiceDescriptor* service =
      v1::GetServerInfoRequest::descriptor()->file()->FindServiceByName("SweepService");
  LR_CHECK(service != nullptr);
  const google::protobuf::MethodDescriptor* method = service->FindMethodByName(name);
  LR_CHECK(method != nullptr);
  return method;
}

std::unique_ptr<Message> NewMessage(const Descriptor* descriptor) {
  auto* factory = google::protobuf::MessageFactory::generated_factory();
  return std::unique_ptr<Message>(factory->GetPrototype(descriptor)->New());
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

CoordinatorConnection::CoordinatorConnection(const std::string& address)
    : impl_(std::make_unique<Impl>()) {
  if (!RoomForConnections().ok()) return;  // each call reports that
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  // Finds a coordinator quickly that is just starting. The minimal back-off stays gRPC's: it is
  // also the time limit of an attempt to connect, and a busy machine needs more time than we
  // would want to pause.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // Never a proxy: the coordinator is on this machine.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  impl_->channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  impl_->stub = std::make_unique<grpc::GenericStub>(impl_->channel);
}

CoordinatorConnection::~CoordinatorConnection() = default;

Result<Json> CoordinatorConnection::Call(const std::string& method, const Json& request,
                                         std::int64_t timeout_ms) {
  violations_.clear();
  RETURN_IF_ERROR(RoomForConnections());
  const auto* descriptor = FindMethod(method);
  const auto request_message = NewMessage(descriptor->input_type());
  Fill(request, request_message.get());

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  const grpc::ByteBuffer bytes = Serialise(*request_message);
  grpc::ByteBuffer answer;
  grpc::CompletionQueue queue;
  const auto reader =
      impl_->stub->PrepareUnaryCall(&context, "/longrun.v1.SweepService/" + method, bytes, &queue);
  reader->StartCall();
  grpc::Status status;
  reader->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  NoticeDamageOf(method, context);
  if (!status.ok()) {
    violations_ = ViolationsOf(context);
    // gRPC's bare message means that our deadline passed;
    // the coordinator's own messages are specific.
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
        status.error_message() == "Deadline Exceeded") {
      return Status(
          Code::kDeadlineExceeded,
          Str("the coordinator has not answered within ", timeout_ms / 1000, " s (", method,
              "): it or its machine is overloaded; try again, or see `longrun doctor`"));
    }
    return Lost(FromRpc(status));
  }
  const auto response = NewMessage(descriptor->output_type());
  RETURN_IF_ERROR(Parse(answer, response.get()));
  return ToJson(*response);
}

Status CoordinatorConnection::Stream(const std::string& method, const Json& request,
                                     const std::function<bool(const Json&)>& each) {
  RETURN_IF_ERROR(RoomForConnections());
  const auto* descriptor = FindMethod(method);
  const auto request_message = NewMessage(descriptor->input_type());
  Fill(request, request_message.get());

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
  const auto stream =
      impl_->stub->PrepareCall(&context, "/longrun.v1.SweepService/" + method, &queue);
  stream->StartCall(nullptr);
  bool open = next();
  if (open) {
    stream->WriteLast(Serialise(*request_message), grpc::WriteOptions(), nullptr);
    open = next();
  }
  Status result;
  bool stopped = false;
  while (open) {
    grpc::ByteBuffer bytes;
    stream->Read(&bytes, nullptr);
    if (!next()) break;
    const auto message = NewMessage(descriptor->output_type());
    result = Parse(bytes, message.get());
    stopped = !result.ok() || !each(ToJson(*message));
    if (stopped) {
      context.TryCancel();
      break;
    }
  }
  grpc::Status status;
  stream->Finish(&status, nullptr);
  next();
  NoticeDamageOf(method, context);
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
                        " bytes, at most ", bytes_max, " are read"));
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

}  // namespace longrun
