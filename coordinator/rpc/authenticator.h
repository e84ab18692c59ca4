// Decides about every call over the network before a handler sees it: who calls, whether the table
// of method_rules.h allows it, and whether the caller keeps its limits. A refusal goes into the
// audit log.
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
