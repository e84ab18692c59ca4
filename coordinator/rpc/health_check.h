// `longrun-coordinator --check-health`: whether the coordinator of a state folder serves. For the
// probes of a container: the kubelet's own gRPC probe speaks neither TLS nor over a unix socket, so
// the probe is this command, inside the container.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace longrun::coordinator {

// Less than the timeout of the probes in deploy/kubernetes.
inline constexpr std::int64_t kHealthCheckMs = 5'000;

// Calls grpc.health.v1.Health/Check over the coordinator's unix socket. kUnavailable, with the
// remedy, if nobody answers or the answer is not SERVING.
Status CheckHealth(const std::string& state_folder);

}  // namespace longrun::coordinator
