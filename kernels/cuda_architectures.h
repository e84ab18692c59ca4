// Which GPUs the code in the plug-in of the CUDA kernels runs on. A GPU without code would fail at
// its first kernel, with a message that does not say what to do.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

// Whether one of `architectures`, which spaces separate, runs on a GPU of this compute capability:
//
//   80-real      machine code: for 8.0 and what follows it with the same first number
//   90a-real     machine code, or PTX (90a-virtual), for 9.0 only
//   100f-real    the same, for 10.0 and what follows it with the same first number
//   80-virtual   PTX, which the driver compiles: for 8.0 and all that is newer
//   80           both
bool HasCudaCode(std::string_view architectures, int major, int minor);

// The architecture to compile for such a GPU: "80-real".
std::string CudaArchitectureOf(int major, int minor);

}  // namespace longrun
