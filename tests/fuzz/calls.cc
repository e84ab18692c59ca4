// See calls.h.
#include "tests/fuzz/calls.h"

#include <google/protobuf/descriptor.h>

#include <atomic>
#include <thread>
#include <utility>

#include "base/str.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"

namespace longrun::coordinator {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::Message;

using SweepCalls = v1::SweepService::CallbackService;
using WatchCalls = v1::SweepService::WithRawCallbackMethod_WatchSweep<SweepCalls>;
using ArtifactCalls = v1::ArtifactService::CallbackService;
using IdentityCalls = v1::IdentityService::CallbackService;

constexpr int kMessagesMax = 64;
constexpr int kQuietMax = 3;  // the most jobs of a stream between two messages

struct MethodCall {
  LocalCoordinator& daemon;
  const RpcPeer& peer;
  bool is_gone = false;
  const Message& request;
  Message* response = nullptr;  // of a unary call; may be null
};
struct Method {
  std::string name;  // "Service/Method"
  std::function<grpc::Status(const MethodCall& call)> run;
};
using Methods = std::map<const Descriptor*, Method>;

template <typename Service>
Service& As(const std::unique_ptr<grpc::Service>& service) {
  auto* const typed = dynamic_cast<Service*>(service.get());
  LR_CHECK(typed != nullptr);
  return *typed;
}

// Of the message, as it comes off the wire.
template <typename Request>
Request Received(const Message& request) {
  Request received;
  LR_CHECK(received.ParseFromString(request.SerializeAsString()));
  return received;
}

template <typename Request, typename Response, typename Service>
grpc::Status RunUnary(const MethodCall& call, FuzzContext& context, Service& service,
                      grpc::ServerUnaryReactor* (Service::*method)(grpc::CallbackServerContext*,
                                                                   const Request*, Response*)) {
  const auto request = Received<Request>(call.request);
  Response response;
  RpcEnd end;
  grpc::testing::DefaultReactorTestPeer reactor(
      &context, [&](grpc::Status status) { end.Set(std::move(status)); });
  (service.*method)(&context, &request, &response);
  const grpc::Status status = end.Wait();
  while (!reactor.test_status_set()) std::this_thread::yield();  // its last use of the context
  CheckReadable(response);
  if (call.response != nullptr) call.response->CopyFrom(response);
  return status;
}

// A stream has sent the message. A watcher of a sweep leaves after the first one.
template <typename Request>
void Took(const Message& message, std::atomic<int>& n_messages, FuzzContext& context) {
  CheckReadable(message);
  n_messages += 1;
  const bool is_enough = n_messages >= kMessagesMax;
  if (is_enough || Request::descriptor() == v1::WatchSweepRequest::descriptor()) context.Cancel();
}

// Once a stream waits for news, it ends because its client leaves.
template <typename Response>
grpc::Status EndOf(const MethodCall& call, FuzzContext& context,
                   grpc::ServerWriteReactor<Response>& reactor, FuzzWriteStream<Response>& stream,
                   const std::atomic<int>& n_messages) {
  for (int n_quiet = 0; !stream.IsSet() && n_quiet < kQuietMax; ++n_quiet) {
    const int n_before = n_messages;
    call.daemon.Settle();
    if (n_messages > n_before) n_quiet = 0;
  }
  if (!stream.IsSet()) context.Cancel();
  const grpc::Status status = stream.Wait();
  reactor.OnDone();
  return status;
}

template <typename Request, typename Response, typename Service>
grpc::Status RunStream(const MethodCall& call, FuzzContext& context, Service& service,
                       grpc::ServerWriteReactor<Response>* (Service::*method)(
                           grpc::CallbackServerContext*, const Request*)) {
  const auto request = Received<Request>(call.request);
  std::atomic<int> n_messages = 0;
  grpc::ServerWriteReactor<Response>* const reactor = (service.*method)(&context, &request);
  FuzzWriteStream<Response> stream(
      reactor, [&](const Response& message) { Took<Request>(message, n_messages, context); });
  return EndOf(call, context, *reactor, stream, n_messages);
}

// The same for a method that takes and gives the bytes of messages.
template <typename Request, typename Response, typename Service>
grpc::Status RunStreamOfBytes(const MethodCall& call, FuzzContext& context, Service& service,
                              grpc::ServerWriteReactor<grpc::ByteBuffer>* (Service::*method)(
                                  grpc::CallbackServerContext*, const grpc::ByteBuffer*)) {
  const grpc::Slice slice(call.request.SerializeAsString());
  const grpc::ByteBuffer request(&slice, 1);
  std::atomic<int> n_messages = 0;
  auto* const reactor = (service.*method)(&context, &request);
  FuzzWriteStream<grpc::ByteBuffer> stream(reactor, [&](const grpc::ByteBuffer& bytes) {
    grpc::Slice all;
    Response message;
    LR_CHECK(bytes.DumpToSingleSlice(&all).ok());
    LR_CHECK(message.ParseFromArray(all.begin(), static_cast<int>(all.size())));
    Took<Request>(message, n_messages, context);
  });
  return EndOf(call, context, *reactor, stream, n_messages);
}

// One method of a service; what it takes and gives follows from `pointer`.
template <typename Request, typename Response, typename Base, typename Of>
void Add(Methods& methods, const std::string& name, Of of,
         grpc::ServerUnaryReactor* (Base::*pointer)(grpc::CallbackServerContext*, const Request*,
                                                    Response*)) {
  methods[Request::descriptor()] = {
      .name = name, .run = [=](const MethodCall& call) {
        FuzzContext context(call.peer);
        if (call.is_gone) context.Cancel();
        grpc::Status status = call.daemon.LetIn(context, call.peer, name);
        if (!status.ok()) return status;
        return RunUnary<Request, Response, Base>(call, context, of(call.daemon), pointer);
      }};
}
template <typename Request, typename Response, typename Base, typename Of>
void Add(Methods& methods, const std::string& name, Of of,
         grpc::ServerWriteReactor<Response>* (Base::*pointer)(grpc::CallbackServerContext*,
                                                              const Request*)) {
  methods[Request::descriptor()] = {
      .name = name, .run = [=](const MethodCall& call) {
        FuzzContext context(call.peer);
        if (call.is_gone) context.Cancel();
        grpc::Status status = call.daemon.LetIn(context, call.peer, name);
        if (!status.ok()) return status;
        return RunStream<Request, Response, Base>(call, context, of(call.daemon), pointer);
      }};
}

template <typename Request, typename Response, typename Base, typename Of>
void AddOfBytes(Methods& methods, const std::string& name, Of of,
                grpc::ServerWriteReactor<grpc::ByteBuffer>* (Base::*pointer)(
                    grpc::CallbackServerContext*, const grpc::ByteBuffer*)) {
  methods[Request::descriptor()] = {
      .name = name, .run = [=](const MethodCall& call) {
        FuzzContext context(call.peer);
        if (call.is_gone) context.Cancel();
        grpc::Status status = call.daemon.LetIn(context, call.peer, name);
        if (!status.ok()) return status;
        return RunStreamOfBytes<Request, Response, Base>(call, context, of(call.daemon), pointer);
      }};
}

SweepCalls& Sweeps(LocalCoordinator& daemon) { return As<SweepCalls>(daemon.sweeps); }
WatchCalls& Watches(LocalCoordinator& daemon) { return As<WatchCalls>(daemon.sweeps); }
ArtifactCalls& Artifacts(LocalCoordinator& daemon) {
  return As<ArtifactCalls>(daemon.artifact_service);
}
IdentityCalls& Identity(LocalCoordinator& daemon) { return As<IdentityCalls>(daemon.identity); }

// The name, and the method of the callback service.
#define LONGRUN_SWEEPS(name) "SweepService/" #name, &Sweeps, &SweepCalls::name
#define LONGRUN_ARTIFACTS(name) "ArtifactService/" #name, &Artifacts, &ArtifactCalls::name
#define LONGRUN_IDENTITY(name) "IdentityService/" #name, &Identity, &IdentityCalls::name

Methods AllMethods() {
  Methods methods;
  Add(methods, LONGRUN_SWEEPS(GetServerInfo));
  Add(methods, LONGRUN_SWEEPS(PlanSweep));
  Add(methods, LONGRUN_SWEEPS(SubmitSweep));
  Add(methods, LONGRUN_SWEEPS(ListSweeps));
  Add(methods, LONGRUN_SWEEPS(GetSweep));
  Add(methods, LONGRUN_SWEEPS(GetRun));
  Add(methods, LONGRUN_SWEEPS(GetReasons));
  AddOfBytes<v1::WatchSweepRequest, v1::WatchSweepResponse, WatchCalls>(
      methods, "SweepService/WatchSweep", &Watches, &WatchCalls::WatchSweep);
  Add(methods, LONGRUN_SWEEPS(GetResults));
  Add(methods, LONGRUN_SWEEPS(GetSeries));
  Add(methods, LONGRUN_SWEEPS(CancelSweep));
  Add(methods, LONGRUN_SWEEPS(PauseSweep));
  Add(methods, LONGRUN_SWEEPS(ResumeSweep));
  Add(methods, LONGRUN_SWEEPS(RemoveSweep));
  Add(methods, LONGRUN_SWEEPS(AnnotateSweep));
  Add(methods, LONGRUN_SWEEPS(RetryTasks));
  Add(methods, LONGRUN_SWEEPS(CollectGarbage));
  Add(methods, LONGRUN_SWEEPS(GetLogs));
  Add(methods, LONGRUN_SWEEPS(ListWorkers));
  Add(methods, LONGRUN_SWEEPS(DrainWorker));
  Add(methods, LONGRUN_SWEEPS(UndrainWorker));
  Add(methods, LONGRUN_SWEEPS(RemoveWorker));
  Add(methods, LONGRUN_SWEEPS(ReleaseSlots));
  Add(methods, LONGRUN_SWEEPS(ReportPilot));
  Add(methods, LONGRUN_SWEEPS(RegisterDataset));
  Add(methods, LONGRUN_SWEEPS(StoreDataset));
  Add(methods, LONGRUN_SWEEPS(ListDatasets));
  Add(methods, LONGRUN_SWEEPS(RemoveDataset));
  Add(methods, LONGRUN_SWEEPS(RegisterModel));
  Add(methods, LONGRUN_SWEEPS(ListModels));
  Add(methods, LONGRUN_SWEEPS(RemoveModel));
  Add(methods, LONGRUN_SWEEPS(FindCheckpoint));
  Add(methods, LONGRUN_SWEEPS(Query));
  Add(methods, LONGRUN_SWEEPS(ListViews));
  Add(methods, LONGRUN_ARTIFACTS(HasArtifacts));
  Add(methods, LONGRUN_ARTIFACTS(AdoptArtifacts));
  Add(methods, LONGRUN_ARTIFACTS(DownloadArtifact));
  Add(methods, LONGRUN_IDENTITY(GetCaller));
  Add(methods, LONGRUN_IDENTITY(CreateToken));
  Add(methods, LONGRUN_IDENTITY(ListTokens));
  Add(methods, LONGRUN_IDENTITY(RevokeToken));
  Add(methods, LONGRUN_IDENTITY(ListAudit));
  Add(methods, LONGRUN_IDENTITY(JoinWorker));
  Add(methods, LONGRUN_IDENTITY(RenewWorker));
  // A method that is missing here would never be called.
  for (const char* const name : {"SweepService", "ArtifactService", "IdentityService"}) {
    const auto* const service =
        DescriptorPool::generated_pool()->FindServiceByName(Str("longrun.v1.", name));
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      LR_CHECK(method.client_streaming() || methods.contains(method.input_type()));
    }
  }
  return methods;
}

}  // namespace

grpc::Status CallMethod(LocalCoordinator& daemon, const RpcPeer& peer, bool is_gone,
                        const Message& request, Message* response) {
  static const Methods& methods = *new Methods(AllMethods());
  const auto method = methods.find(request.GetDescriptor());
  LR_CHECK(method != methods.end());
  const grpc::Status status = method->second.run({.daemon = daemon,
                                                  .peer = peer,
                                                  .is_gone = is_gone,
                                                  .request = request,
                                                  .response = response});
  CheckEnd(status);
  return status;
}

grpc::Status CallUpload(LocalCoordinator& daemon, const RpcPeer& peer, bool is_gone,
                        const std::vector<const Message*>& frames) {
  FuzzContext context(peer);
  if (is_gone) context.Cancel();
  grpc::Status status = daemon.LetIn(context, peer, "ArtifactService/UploadArtifact");
  if (status.ok()) {
    v1::UploadArtifactResponse response;
    auto* const reactor = Artifacts(daemon).UploadArtifact(&context, &response);
    FuzzReadStream<v1::UploadArtifactRequest> stream(reactor);
    bool is_open = true;
    for (const Message* const frame : frames) {
      const auto received = Received<v1::UploadArtifactRequest>(*frame);
      is_open = is_open && stream.Give(&received);
    }
    if (is_open) stream.Give(nullptr);
    status = stream.Wait();
    reactor->OnDone();
    CheckReadable(response);
  }
  CheckEnd(status);
  return status;
}

}  // namespace longrun::coordinator
