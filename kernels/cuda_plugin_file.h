// The file of the plug-in of the CUDA kernels (cuda_plugin.h), for programs that do not load it.
#pragma once

#include <string_view>

namespace longrun {

// Lies beside the trainer, if it was built with nvcc.
inline constexpr std::string_view kCudaPluginName = "liblongrun_cuda.so";
// Its attention runs on GPUs of compute capability 9 (H100, H200) and 10 (B200). A block of it
// takes up to 217 KiB of shared memory, and no other GPU has as much.
constexpr bool RunsCudaAttention(int capability_major) {
  return capability_major == 9 || capability_major == 10;
}

}  // namespace longrun
