// Describes a GPU, through the plug-in liblongrun_cuda.so (kernels/cuda/) beside the program.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace longrun::trainer {

struct GpuInfo {
  std::string name;  // "NVIDIA H200"
  std::int64_t memory_bytes = 0;
  int capability_major = 0;  // 9.0
  int capability_minor = 0;
};

// kFailedPrecondition if the plug-in was not compiled or there is no such GPU.
Result<GpuInfo> DescribeGpu(int ordinal);

// Opens the device ("cuda", "cuda:1") as a task would, and prints what it is. Takes no memory of
// the GPU, so others may be using all of it. kFailedPrecondition if a task could not compute on it:
// the error names what is missing.
Status ShowGpu(const std::string& device);

}  // namespace longrun::trainer
