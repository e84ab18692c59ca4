#include "worker/trainer/gpu.h"

#include "kernels/cuda_attention.h"
#include "model/net/device.h"

namespace longrun::trainer {
Result<GpuInfo> DescribeGpu(int ordinal) {
  ASSIGN_OR_RETURN(const LongrunGpu gpu, DescribeCudaGpu(CudaPluginPath(), ordinal));
  return GpuInfo{.name = gpu.name,
                 .memory_bytes = gpu.memory_bytes,
                 .capability_major = gpu.capability_major,
                 .capability_minor = gpu.capability_minor};
}

}  // namespace longrun::trainer
