// See health_check.h.
#include "coordinator/rpc/health_check.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <future>
#include <string_view>
#include <vector>

#include "base/str.h"
#include "sweeps/coordinator_address.h"

namespace longrun::coordinator {
namespace {

// gRPC has its health service's messages built in, but does not publish them. HealthCheckRequest
// without a service's name is empty; HealthCheckResponse is {ServingStatus status = 1;}, and
// SERVING is 1.
constexpr std::string_view kServing = "\x08\x01";

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return "";
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

}  // namespace

Status CheckHealth(const std::string& state_folder) {
  const Result<std::string> address = ReadCoordinatorAddress(state_folder);
  if (!address.ok()) {
    return Status(Code::kUnavailable,
                  Str("no coordinator serves ", state_folder, " (", address.status().message(),
                      "): start longrun-coordinator, and give its folder as --state"));
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  grpc::GenericStub stub(grpc::CreateCustomChannel(GrpcTarget(*address),
                                                   grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(kHealthCheckMs));
  const grpc::Slice empty("");
  const grpc::ByteBuffer request(&empty, 1);
  grpc::ByteBuffer answer;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &answer,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok()) {
    return Status(Code::kUnavailable, Str("the coordinator at ", *address, " does not answer (",
                                          status.error_message(), "): look at its log"));
  }
  if (BytesOf(answer) != kServing) {
    return Status(Code::kUnavailable, Str("the coordinator at ", *address,
                                          " answers that it does not serve: it is stopping"));
  }
  return Status();
}

}  // namespace longrun::coordinator
