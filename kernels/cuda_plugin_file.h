// The file of the plug-in of the CUDA kernels (cuda_plugin.h), for programs that do not load it.
#pragma once

#include <string_view>

namespace longrun {

// Lies beside the trainer, if it was built with nvcc.
inline constexpr std::string_view kCudaPluginName = "liblongrun_cuda.so";
// Whether GPUs of a compute capability (8 for 8.9) have its kernels' instructions, and the 99 KiB
// of shared memory that a block of them takes at most where it cannot have more.
constexpr bool HasCudaKernels(int capability_major) { return capability_major >= 8; }

}  // namespace longrun
