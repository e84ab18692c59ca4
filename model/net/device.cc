#include "model/net/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>
#include <torch/headeronly/version.h>

#include <cstdlib>

#include "base/cpu.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "base/utf8.h"
#include "kernels/cuda_attention.h"
#include "kernels/cuda_plugin_file.h"
#include "model/instruction_set.h"
#include "model/net/parallel.h"

namespace longrun {
namespace {

// LibTorch's CUDA libraries need no driver themselves, and do not say why they find no GPU.
Status WhyNoGpu() {
  if (dlopen("libcuda.so.1", RTLD_NOW) == nullptr) {
    const char* const why = dlerror();
    return Status(Code::kFailedPrecondition,
                  Str("no GPU can be used: NVIDIA's driver cannot be loaded: ",
                      why == nullptr ? "unknown reason" : why,
                      "; install the driver (a container gets it from the host if it is started "
                      "with GPUs), or use the device \"cpu\""));
  }
  const std::optional<std::string> visible = GetEnv("CUDA_VISIBLE_DEVICES");
  return Status(Code::kFailedPrecondition,
                Str("no GPU can be used: LibTorch finds none, although NVIDIA's driver is there: "
                    "see whether `nvidia-smi -L` lists one",
                    visible ? Str(", and what CUDA_VISIBLE_DEVICES=", Quoted(*visible), " leaves")
                            : std::string(),
                    ", or use the device \"cpu\""));
}

// libtorch_cuda.so registers its hooks when it is loaded, and ATen keeps the hooks object of the
// first CUDA query: load it before any such query, or the GPU stays invisible.
Status LoadCudaHalf() {
  static const Status status = []() -> Status {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      const char* why = dlerror();
      return Status(Code::kFailedPrecondition,
                    Str("no GPU can be used: LibTorch's CUDA libraries cannot be loaded: ",
                        why == nullptr ? "unknown reason" : why,
                        "; install torch with its NVIDIA packages, or use the device \"cpu\""));
    }
    return at::globalContext().hasCUDA() ? Status() : WhyNoGpu();
  }();
  return status;
}

// Our kernels for the instruction set that LibTorch uses, so that one name means both.
std::optional<Simd> OwnKernels() {
  const std::optional<Simd> simd = FindSimd(SimdPath());
  return simd && IsRunnable(*simd) ? simd : std::nullopt;
}

}  // namespace

Result<Compute> OpenCompute(std::string_view device, std::string_view precision) {
  Compute compute;
  if (precision == "fp64") {
    compute.dtype = compute.product = c10::ScalarType::Double;
  } else if (precision == "bf16") {
    compute.product = c10::ScalarType::BFloat16;
  } else if (precision == "fp16") {
    compute.product = c10::ScalarType::Half;
  } else if (precision != "fp32") {
    return Status(Code::kInvalidArgument, Str("precision \"", precision,
                                              "\" is unknown: expected fp32, fp64, bf16 or fp16"));
  }
  if (device == "cpu") {
    compute.path = NewRunMatrixPath(IdentifyCpu().vendor, SimdPath());
    if (compute.dtype == c10::ScalarType::Float) compute.kernels = OwnKernels();
    return compute;
  }
  int index = 0;
  if (device != "cuda") {
    const std::string_view digits =
        device.starts_with("cuda:") ? device.substr(5) : std::string_view();
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (digits.empty() || digits.size() > 2 || end.ptr != digits.data() + digits.size()) {
      return Status(Code::kInvalidArgument,
                    Str("device \"", device, "\" is unknown: expected cpu, cuda or cuda:N"));
    }
  }
  RETURN_IF_ERROR(LoadCudaHalf());
  compute.device = c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
  compute.gpu_kernels =
      compute.dtype == c10::ScalarType::Float && CheckCudaGpu(CudaPluginPath(), index).ok();
  return compute;
}

std::string CudaPluginPath() { return JoinPath(ProgramFolder(), kCudaPluginName); }

void FixNumerics(const Numerics& numerics, const c10::Device& device) {
  at::set_num_threads(static_cast<int>(numerics.threads));
  SetSubnormals(numerics.subnormals);
  // Threads of an existing pool have the mode that was set when they started.
  OnEachTorchThread([&] { SetSubnormals(numerics.subnormals); });
  // cuBLAS gives the same bits each time only with a workspace of its own per stream.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(device.is_cpu() || numerics.sdpa_attention, false);
  context.setAllowTF32CuBLAS(false);
  // Sums of products in fp16 might be beyond its range before they are added up.
  context.setAllowFP16ReductionCuBLAS(false);
  context.setDeterministicFillUninitializedMemory(false);
  context.setBenchmarkCuDNN(false);
}

std::string TorchVersion() { return TORCH_VERSION; }

std::string CudaVersion() {
  if (!at::globalContext().hasCUDA()) return "";
  const long version = at::detail::getCUDAHooks().versionCUDART();  // 13000 is 13.0
  return Str(version / 1000, ".", version % 1000 / 10);
}

std::string SimdPath() { return SimdOfCapability(at::get_cpu_capability()); }

std::string LinearName(const Compute& compute) {
  return compute.device.is_cuda() ? "aten/cuda"
                                  : MatrixPathName(compute.path, IdentifyCpu().vendor);
}

bool HasKernels(const Compute& compute) {
  return compute.device.is_cpu() ? compute.kernels.has_value() : compute.gpu_kernels;
}

std::string OperatorsName(const Compute& compute) {
  return HasKernels(compute) ? "longrun" : "aten";
}

void UseAtenOperators(Compute& compute) {
  compute.kernels.reset();
  compute.gpu_kernels = false;
}

}  // namespace longrun
