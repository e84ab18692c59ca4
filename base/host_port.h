// "gpu-host:7443" or "[::1]:7443": a place on the network.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

struct HostPort {
  std::string host;  // a name or an address, without brackets
  int port = 0;

  std::string Text() const;  // as ParseHostPort reads it
  bool operator==(const HostPort&) const = default;
};

// `port_default`: for a text without a port; 0 demands a port. Port 0 is accepted: any free one.
Result<HostPort> ParseHostPort(std::string_view text, int port_default = 0);

}  // namespace longrun
