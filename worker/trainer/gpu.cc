#include "worker/trainer/gpu.h"

#include <cstdio>

#include "base/str.h"
#include "base/units.h"
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

Status ShowGpu(const std::string& device) {
  ASSIGN_OR_RETURN(const Compute compute, OpenCompute(device, "fp32"));
  if (compute.device.is_cpu()) {
    return Status(Code::kInvalidArgument,
                  "the device \"cpu\" is not a GPU: expected cuda or cuda:N");
  }
  ASSIGN_OR_RETURN(const GpuInfo gpu, DescribeGpu(compute.device.index()));
  std::printf("%s\n",
              Str(gpu.name, ", ", FormatBytes(gpu.memory_bytes), ", compute capability ",
                  gpu.capability_major, ".", gpu.capability_minor, "; LibTorch ", TorchVersion(),
                  " with CUDA ", CudaVersion(), ", operators ", OperatorsName(compute))
                  .c_str());
  return Status();
}

}  // namespace longrun::trainer
