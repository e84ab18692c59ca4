// What gRPC reports besides the errors that it returns, such as TLS handshakes that failed. By
// itself, it writes such lines to standard error, in a format of its own.
#pragma once

namespace longrun {

// From now on, gRPC's errors become lines of our log: at most one in ten seconds, with the number
// of those left out, since anybody who reaches a port can cause them. For a daemon.
void LogGrpcErrors();
// From now on, gRPC reports nothing, since a command prints the error that a call returns. With
// GRPC_VERBOSITY in the environment, gRPC's lines stay as they are.
void SilenceGrpc();

}  // namespace longrun
