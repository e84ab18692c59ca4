// See cpu_paths.h.
#include "model/cpu_paths.h"

#include "model/matrix_path.h"

namespace longrun {
namespace {

// What at::native's dispatcher asks of the CPU for each of its names.
std::string DetectSimd() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512) return "avx512";
  if (avx2) return "avx2";
#endif
  return "default";
}

}  // namespace

CpuPaths DetectCpuPaths() {
  CpuPaths paths = {.cpu = IdentifyCpu(), .simd = DetectSimd(), .linear = {}};
  const std::string& vendor = paths.cpu.vendor;
  paths.linear = MatrixPathName(NewRunMatrixPath(vendor, paths.simd), vendor);
  return paths;
}

}  // namespace longrun
