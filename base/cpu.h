// The processor that we run on. Its vendor decides which code computes a matrix product, and so the
// bits of a result. Measured speeds (model/known_speed.h) are listed by its microarchitecture.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

struct CpuIdentity {
  std::string name;    // "AMD EPYC 9V74 80-Core Processor"; "CPU" where the system does not say
  std::string vendor;  // "AuthenticAMD"; on ARM the implementer's number; "unknown"
  // The vendor's numbers of the design; on ARM the architecture's version and the
  // part. -1: unknown.
  int family = -1;
  int model = -1;
  // The features that the kernel lets us use: "fpu vme ... amx_bf16"; on ARM its "Features".
  std::string flags = {};
};

// Describes the first processor of /proc/cpuinfo.
CpuIdentity IdentifyCpu();
// The same, from the text of /proc/cpuinfo.
CpuIdentity ParseCpuInfo(std::string_view cpuinfo);

// Decided by the form of /proc/cpuinfo: only x86 has a "cpu family".
bool IsX86(const CpuIdentity& cpu);

// "Zen 5", "Sapphire Rapids"; "" where these numbers are not in the table.
std::string_view MicroarchitectureOf(const CpuIdentity& cpu);
// For messages and table headings: "AMD EPYC, Zen 5". Only the brand is kept of the model's name,
// since virtual machines often hide the rest. If the microarchitecture is unknown, its numbers:
// "AMD EPYC, family 31 model 2".
std::string ProcessorName(const CpuIdentity& cpu);

}  // namespace longrun
