// The size of a session's messages as they travel. gRPC ends a session whose peer receives a larger
// one, and the worker's next session would get the same message again.
#pragma once

#include <cstdint>

#include "sweeps/session_messages.h"

namespace longrun {

// Both ends set this limit. Workers of earlier releases have the same.
inline constexpr int kSessionMessageBytesMax = 8 << 20;

// The bytes of the message in Protobuf, at most: a little is added for each text and number, so
// that this needs no Protobuf.
std::int64_t WireBytesMax(const StartMessage& message);

}  // namespace longrun
