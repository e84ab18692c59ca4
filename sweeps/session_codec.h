// The session's messages as Protobuf and back: the only place that knows both forms. Whether a
// message makes sense is checked by the end that receives it.
#pragma once

#include <optional>

#include "longrun/v1/session.pb.h"
#include "sweeps/session_messages.h"

namespace longrun {

// In a Rejected's reason and an AttemptEnded's log_tail, bytes that are not UTF-8 are replaced, as
// ToUtf8 (base/str.h) does.
v1::WorkerMessage ToWire(UpMessage message);
v1::CoordinatorMessage ToWire(DownMessage message);

// nullopt for a message of a later protocol, and for a Hello with a device of an unknown kind. A
// verdict of a later protocol is left out: its attempt waits for the next session.
std::optional<UpMessage> FromWire(const v1::WorkerMessage& wire);
std::optional<DownMessage> FromWire(const v1::CoordinatorMessage& wire);

}  // namespace longrun
