// See cpu.h.
#include "base/cpu.h"

#include <string_view>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// The value of "name   : value", of the first processor.
std::string FieldOf(const std::vector<std::string>& lines, std::string_view key) {
  for (const std::string& line : lines) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (Trim(std::string_view(line).substr(0, colon)) != key) continue;
    return std::string(Trim(std::string_view(line).substr(colon + 1)));
  }
  return "";
}

}  // namespace

CpuIdentity IdentifyCpu() {
  CpuIdentity cpu;
  if (const Result<std::string> text = ReadFile("/proc/cpuinfo")) {
    const std::vector<std::string> lines = Split(*text, '\n');
    cpu.name = FieldOf(lines, "model name");
    cpu.vendor = FieldOf(lines, "vendor_id");
    // ARM's page has a number instead.
    if (cpu.vendor.empty()) cpu.vendor = FieldOf(lines, "CPU implementer");
  }
  if (cpu.name.empty()) cpu.name = "CPU";
  if (cpu.vendor.empty()) cpu.vendor = "unknown";
  return cpu;
}

}  // namespace longrun
