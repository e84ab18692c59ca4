// Channels to a coordinator: over a unix socket as they are, over the network with TLS and the
// user's token.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "client/wire/context.h"

namespace grpc {
class Channel;
}

namespace longrun::client {

// Connects lazily: only the first call notices whether a coordinator is there.
std::shared_ptr<grpc::Channel> OpenChannel(const Destination& destination);

// gRPC's message about a connection that was not made; a text of ours may be before it.
inline constexpr std::string_view kNotConnected = "failed to connect";

// What to tell the user instead of gRPC's own message about a connection that was not made or that
// broke; "" if the message is not one of these.
std::string LostText(std::string_view message);

}  // namespace longrun::client
