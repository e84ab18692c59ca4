#include "kernels/cuda_architectures.h"

#include <charconv>

#include "base/str.h"

namespace longrun {
namespace {

bool RunsOn(std::string_view architecture, int major, int minor) {
  int number = 0;
  const char* const end = architecture.data() + architecture.size();
  const char* const rest = std::from_chars(architecture.data(), end, number).ptr;
  const std::string_view kind(rest, static_cast<std::size_t>(end - rest));
  const bool is_same_family = number / 10 == major && number % 10 <= minor;
  if (kind.starts_with('a')) return number == 10 * major + minor;
  if (kind.starts_with('f') || kind == "-real") return is_same_family;
  return number <= 10 * major + minor;
}

}  // namespace

bool HasCudaCode(std::string_view architectures, int major, int minor) {
  while (!architectures.empty()) {
    const std::size_t n = architectures.find(' ');
    if (RunsOn(architectures.substr(0, n), major, minor)) return true;
    architectures.remove_prefix(n == std::string_view::npos ? architectures.size() : n + 1);
  }
  return false;
}

std::string CudaArchitectureOf(int major, int minor) {
  return Str(major, minor, major == 9 && minor == 0 ? "a" : "", "-real");
}

}  // namespace longrun
