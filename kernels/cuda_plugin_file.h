// The file of the plug-in of the CUDA kernels (cuda_plugin.h), for programs that do not load it.
#pragma once

#include <string_view>

namespace longrun {

// Lies beside the trainer, if it was built with nvcc.
inline constexpr std::string_view kCudaPluginName = "liblongrun_cuda.so";
// Its attention needs a GPU of this compute capability, or a newer one.
inline constexpr int kCudaCapabilityMajor = 8;

}  // namespace longrun
