// Which processor is under us. Its vendor decides which code a matrix product takes, and with it the
// bits of a result; its microarchitecture says on what a speed was measured.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

struct CpuIdentity {
  std::string name;    // "AMD EPYC 9V74 80-Core Processor"; "CPU" where the system does not say
  std::string vendor;  // "AuthenticAMD"; on ARM the implementer's number; "unknown"
  // As the vendor numbers its designs; on ARM the architecture's version and the part. -1: not said.
  int family = -1;
  int model = -1;
};

// Of the first processor of /proc/cpuinfo.
CpuIdentity IdentifyCpu();
// The same of such a page.
CpuIdentity ParseCpuInfo(std::string_view cpuinfo);

// By the page's form: only x86 has a "cpu family".
bool IsX86(const CpuIdentity& cpu);

// "Zen 5", "Sapphire Rapids"; "" where these numbers are not in the table.
std::string_view MicroarchitectureOf(const CpuIdentity& cpu);
// For people and for the headings of tables: "AMD EPYC, Zen 5"; virtual machines often hide the rest of
// a model's name. Where the microarchitecture is unknown, its numbers: "AMD EPYC, family 31 model 2".
std::string ProcessorName(const CpuIdentity& cpu);

}  // namespace longrun
