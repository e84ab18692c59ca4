// Who makes a call: read from the connection's certificate or the call's metadata each time, since
// gRPC shares what a call adds to its security context with all calls of the connection.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <string>

#include "coordinator/access.h"

namespace longrun::coordinator {

using RpcMetadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// The caller of a network connection. kPermissionDenied with the remedy if the call has neither a
// token nor a certificate, or one that does not hold.
Result<Principal> NetworkCaller(const Access& access, const grpc::AuthContext& connection,
                                const RpcMetadata& metadata);

// The same for a call that a handler answers. A call over the unix socket is local.
Result<Principal> CallerOf(const Access& access, const grpc::ServerContextBase& context);

}  // namespace longrun::coordinator
