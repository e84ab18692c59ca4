// The coordinator's port for other machines: TLS 1.3 only, for workers and people alike. It asks
// clients for a certificate, but they need not have one: people show a token instead.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "base/host_port.h"
#include "base/status.h"

namespace longrun::coordinator {

// Leaves TLS 1.3 only, for the whole process. To be called before any other use of gRPC.
void AllowOnlyTls13();

// Whether a server can listen there: kInvalidArgument if the name resolves nowhere or is no address
// of this machine, kUnavailable if the port is in use, kPermissionDenied for a privileged port.
Status CheckListenPlace(const HostPort& place);
// The error of a place where a socket cannot listen.
Status CannotListen(int error_number, const HostPort& place);

// Reads the keys and certificates of the state folder (pki/files.h), and reads them again within
// seconds after they were replaced.
std::shared_ptr<grpc::ServerCredentials> NetworkCredentials(const std::string& state_folder);

}  // namespace longrun::coordinator
