// Decides about every call over the network before a handler sees it: who calls, whether the table
// of method_rules.h allows it, and whether the caller keeps its limits. A refusal goes into the
// audit log.
//
// Anybody may call JoinWorker, with a join token in the request. gRPC reads the request only after
// this decision, so the worker shows the token in the metadata, too (kJoinTokenMetadata). The calls
// of each valid token have a limit of their own, and all others share one. So whoever guesses, or
// floods the port, takes nothing from those who hold a token, and costs little: at most one SHA-256
// of a token's text for each call, and a call beyond the limit is refused before its request is
// read. A worker that does not show its token has the shared limit. The metadata only choose the
// limit: the handler checks the token of the request.
#pragma once

#include <grpcpp/security/auth_metadata_processor.h>

#include <memory>

#include "coordinator/access.h"
#include "coordinator/audit_log.h"
#include "coordinator/rpc/live_calls.h"

namespace longrun::coordinator {

std::shared_ptr<grpc::AuthMetadataProcessor> MakeAuthenticator(Access& access, AuditLog& audit,
                                                               const LiveCalls& calls);

}  // namespace longrun::coordinator
