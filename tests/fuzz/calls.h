// Every method of the services for clients and for the administration, called by its request.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/fuzz/rpc.h"
#include "tests/fuzz/world.h"

namespace longrun::coordinator {

// Calls the method that takes requests of this type, as `peer`, if gRPC would. Checks that the end
// is a status with a code, and that every message can be read. `response`, if it is not null, gets
// the answer to a unary call. `is_gone`: the client has disconnected.
grpc::Status CallMethod(LocalCoordinator& daemon, const RpcPeer& peer, bool is_gone,
                        const google::protobuf::Message& request,
                        google::protobuf::Message* response = nullptr);
// The same for the one method whose client sends a stream.
grpc::Status CallUpload(LocalCoordinator& daemon, const RpcPeer& peer, bool is_gone,
                        const std::vector<const google::protobuf::Message*>& frames);

}  // namespace longrun::coordinator
