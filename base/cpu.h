// Who made the processor under us. Its vendor decides which code a matrix product takes, and with it
// the bits of a result.
#pragma once

#include <string>

namespace longrun {

struct CpuIdentity {
  std::string name;    // "AMD EPYC 9V74 80-Core Processor"; "CPU" where the system does not say
  std::string vendor;  // "AuthenticAMD"; on ARM the implementer's number; "unknown"
};

// Of the first processor of /proc/cpuinfo.
CpuIdentity IdentifyCpu();

}  // namespace longrun
