// The file of the plug-in of the CUDA kernels (cuda_plugin.h), for programs that do not load it.
#pragma once

#include <string_view>

namespace longrun {

// Lies beside the trainer, if it was built with nvcc.
inline constexpr std::string_view kCudaPluginName = "liblongrun_cuda.so";
// The widest heads of its attention, in channels, on GPUs of a compute capability (8 for 8.9); 0 if
// they lack its instructions. A block takes up to 225 KiB of shared memory for heads of 256
// channels, which GPUs of capability 9 (H100, H200) and 10 (B200) have, and at most 99 KiB for
// heads of up to 128, which all have from 8.0 (A100) on.
constexpr int CudaHeadDimMax(int capability_major) {
  if (capability_major < 8) return 0;
  return capability_major == 9 || capability_major == 10 ? 256 : 128;
}

}  // namespace longrun
