#include "client/wire/channel.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "sweeps/coordinator_address.h"

namespace longrun::client {
namespace {

// A sweep of 100,000 runs, the largest one, has a table of 180 MB.
constexpr int kMessageBytesMax = 1 << 30;
constexpr int kKeepaliveMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;

// gRPC's messages about a connection that broke, after a text of ours as well.
constexpr std::string_view kBroken[] = {"Socket closed", "Connection reset", "Broken pipe"};

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

std::string LostText(std::string_view message) {
  if (Has(message, kNotConnected)) {
    return "no coordinator answers: it may be starting or stopping; try again";
  }
  const auto is_in_it = [&](std::string_view part) { return Has(message, part); };
  if (std::ranges::none_of(kBroken, is_in_it)) return "";
  return "the coordinator ended before it answered: `coordinator.log` in the state folder says "
         "why; try again";
}

std::shared_ptr<grpc::Channel> OpenChannel(const Destination& destination) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  // Finds a coordinator quickly that is just starting. The minimal back-off stays gRPC's: it is
  // also the time limit of an attempt to connect, and a busy machine needs more time than we
  // would want to pause.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // Never a proxy: it would have to read what only the coordinator may read.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (destination.authority.empty()) {
    return grpc::CreateCustomChannel(GrpcTarget(destination.address),
                                     grpc::InsecureChannelCredentials(), arguments);
  }
  // A network may swallow packets without a word: find out while a stream is quiet.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  grpc::SslCredentialsOptions trust;
  trust.pem_root_certs = destination.authority;
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::SslCredentials(trust);
  if (!destination.token.empty()) {
    credentials = grpc::CompositeChannelCredentials(
        credentials, grpc::AccessTokenCredentials(destination.token));
  }
  return grpc::CreateCustomChannel(destination.address, credentials, arguments);
}

}  // namespace longrun::client
