// See cpu.h.
#include "base/cpu.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <vector>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// Numbers from the Linux kernel: arch/x86/kernel/cpu/amd.c (bsp_init_amd),
// arch/x86/include/asm/intel-family.h, arch/arm64/include/asm/cputype.h.
struct Microarchitecture {
  std::string_view vendor;
  int family = 0;
  int model_first = 0;
  int model_last = 0;
  std::string_view name;
};
constexpr int kArmV8 = 8;
constexpr Microarchitecture kMicroarchitectures[] = {
    {"AuthenticAMD", 0x17, 0x00, 0x2f, "Zen"},
    {"AuthenticAMD", 0x17, 0x30, 0x4f, "Zen 2"},
    {"AuthenticAMD", 0x17, 0x60, 0x7f, "Zen 2"},
    {"AuthenticAMD", 0x19, 0x00, 0x0f, "Zen 3"},
    {"AuthenticAMD", 0x19, 0x10, 0x1f, "Zen 4"},
    {"AuthenticAMD", 0x19, 0x20, 0x5f, "Zen 3"},
    {"AuthenticAMD", 0x19, 0x60, 0xaf, "Zen 4"},
    {"AuthenticAMD", 0x1a, 0x00, 0x2f, "Zen 5"},
    {"AuthenticAMD", 0x1a, 0x40, 0x4f, "Zen 5"},
    {"AuthenticAMD", 0x1a, 0x60, 0x7f, "Zen 5"},
    {"GenuineIntel", 6, 0x3f, 0x3f, "Haswell"},
    {"GenuineIntel", 6, 0x4f, 0x4f, "Broadwell"},
    // Only the stepping distinguishes these.
    {"GenuineIntel", 6, 0x55, 0x55, "Skylake or Cascade Lake"},
    {"GenuineIntel", 6, 0x6a, 0x6a, "Ice Lake"},
    {"GenuineIntel", 6, 0x6c, 0x6c, "Ice Lake"},
    {"GenuineIntel", 6, 0x8f, 0x8f, "Sapphire Rapids"},
    {"GenuineIntel", 6, 0xad, 0xae, "Granite Rapids"},
    {"GenuineIntel", 6, 0xcf, 0xcf, "Emerald Rapids"},
    {"0x41", kArmV8, 0xd0c, 0xd0c, "Neoverse N1"},
    {"0x41", kArmV8, 0xd40, 0xd40, "Neoverse V1"},
    {"0x41", kArmV8, 0xd49, 0xd49, "Neoverse N2"},
    {"0x41", kArmV8, 0xd4f, 0xd4f, "Neoverse V2"},
};

// The value of "name   : value" for the first processor.
std::string FieldOf(const std::vector<std::string>& lines, std::string_view key) {
  for (const std::string& line : lines) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (Trim(std::string_view(line).substr(0, colon)) != key) continue;
    return std::string(Trim(std::string_view(line).substr(colon + 1)));
  }
  return "";
}

// Parses "26" and "0xd0c"; -1 for anything else.
int NumberOf(std::string_view text) {
  const bool is_hex = text.starts_with("0x");
  if (is_hex) text.remove_prefix(2);
  int number = 0;
  const auto end =
      std::from_chars(text.data(), text.data() + text.size(), number, is_hex ? 16 : 10);
  return end.ec == std::errc() && end.ptr == text.data() + text.size() ? number : -1;
}

// Shortens "Intel(R) Xeon(R) Platinum 8480C CPU @ 2.00GHz" to "Intel Xeon Platinum 8480C".
std::string ShortName(std::string name) {
  for (const std::string_view mark : {"(R)", "(TM)"}) {
    for (std::size_t at; (at = name.find(mark)) != std::string::npos;) name.erase(at, mark.size());
  }
  std::vector<std::string> words;
  for (std::string& word : Split(name, ' ')) {
    if (word == "@") break;
    const bool says_nothing =
        word.empty() || word == "Processor" || word == "CPU" || word.ends_with("-Core");
    if (!says_nothing) words.push_back(std::move(word));
  }
  return words.empty() ? std::string("CPU") : Join(words, " ");
}

}  // namespace

CpuIdentity ParseCpuInfo(std::string_view cpuinfo) {
  const std::vector<std::string> lines = Split(cpuinfo, '\n');
  CpuIdentity cpu;
  cpu.name = FieldOf(lines, "model name");
  cpu.vendor = FieldOf(lines, "vendor_id");
  const bool is_arm = cpu.vendor.empty();  // whose /proc/cpuinfo has numbers instead
  if (is_arm) cpu.vendor = FieldOf(lines, "CPU implementer");
  cpu.family = NumberOf(FieldOf(lines, is_arm ? "CPU architecture" : "cpu family"));
  cpu.model = NumberOf(FieldOf(lines, is_arm ? "CPU part" : "model"));
  cpu.flags = FieldOf(lines, is_arm ? "Features" : "flags");
  if (cpu.name.empty()) cpu.name = "CPU";
  if (cpu.vendor.empty()) cpu.vendor = "unknown";
  return cpu;
}

CpuIdentity IdentifyCpu() {
  const Result<std::string> text = ReadFile("/proc/cpuinfo");
  return ParseCpuInfo(text.ok() ? std::string_view(*text) : std::string_view());
}

bool IsX86(const CpuIdentity& cpu) { return cpu.family >= 0 && !cpu.vendor.starts_with("0x"); }

std::string_view MicroarchitectureOf(const CpuIdentity& cpu) {
  for (const Microarchitecture& one : kMicroarchitectures) {
    if (cpu.vendor == one.vendor && cpu.family == one.family && cpu.model >= one.model_first &&
        cpu.model <= one.model_last) {
      return one.name;
    }
  }
  return "";
}

std::string ProcessorName(const CpuIdentity& cpu) {
  const std::string_view microarchitecture = MicroarchitectureOf(cpu);
  // ARM's /proc/cpuinfo rarely has a name.
  if (cpu.vendor.starts_with("0x") && cpu.name == "CPU") {
    if (!microarchitecture.empty()) return Str("Arm ", microarchitecture);
    char part[16];
    std::snprintf(part, sizeof part, "0x%03x", static_cast<unsigned>(std::max(cpu.model, 0)));
    return Str("Arm CPU, implementer ", cpu.vendor, " part ", part);
  }
  const std::string name = ShortName(cpu.name);
  if (!microarchitecture.empty()) return Str(name, ", ", microarchitecture);
  if (cpu.family < 0 || cpu.model < 0) return name;
  return Str(name, ", family ", cpu.family, " model ", cpu.model);
}

}  // namespace longrun
