// See cpu_paths.h.
#include "model/cpu_paths.h"

#include "model/instruction_set.h"
#include "model/matrix_path.h"

namespace longrun {
CpuPaths DetectCpuPaths() {
  CpuPaths paths = {.cpu = IdentifyCpu(), .simd = DetectSimd(), .linear = {}, .bf16 = {}};
  const std::string& vendor = paths.cpu.vendor;
  paths.linear = MatrixPathName(NewRunMatrixPath(vendor, paths.simd), vendor);
  paths.bf16 = Bf16Path(paths.cpu.flags, paths.simd);
  return paths;
}

}  // namespace longrun
