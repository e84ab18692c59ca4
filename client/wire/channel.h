// Channels to a coordinator: over a unix socket as they are, over the network with TLS and the
// user's token.
#pragma once

#include <memory>

#include "client/wire/context.h"

namespace grpc {
class Channel;
}

namespace longrun::client {

// Connects lazily: only the first call notices whether a coordinator is there.
std::shared_ptr<grpc::Channel> OpenChannel(const Destination& destination);

}  // namespace longrun::client
