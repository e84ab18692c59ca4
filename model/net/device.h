// How a network computes: its device, the type of its weights, and whether products are taken in
// bf16 or fp16. With these (autocast), only the factors and results of matrix products are rounded;
// weights, LayerNorm, residual stream, softmax and loss stay fp32.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/subnormals.h"
#include "kernels/simd.h"
#include "model/device_kind.h"
#include "model/head_chunks.h"
#include "model/matrix_path.h"

namespace longrun {

struct Compute {
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  c10::ScalarType dtype = c10::ScalarType::Float;  // of weights and results: Float or Double
  // Of matrix products: dtype, or BFloat16, or (without gradients) Half.
  c10::ScalarType product = c10::ScalarType::Float;
  MatrixPath path = MatrixPath::kAten;             // for a CPU's fp32 products
  HeadChunks head_chunks = HeadChunks::kByLogits;  // of a CPU's training steps
  // If set, our kernels of this instruction set compute the optimiser's steps and the operations of
  // row_operators.h, which are all but products and attention; nullopt: LibTorch's operators do.
  // These kernels run only on a CPU, and not in fp64.
  std::optional<Simd> kernels = {};
  // Whether the plug-in's kernels (kernels/cuda_rows.h) compute norms, activations, learned biases
  // per key, the gradients of products' biases, the loss and AdamW on a GPU.
  bool gpu_kernels = false;

  DeviceKind device_kind() const { return device.is_cpu() ? DeviceKind::kCpu : DeviceKind::kGpu; }
};

// "fp32", "fp64", "bf16", "fp16" on "cpu", "cuda" or "cuda:1"; on a CPU with the matrix path of a
// new run (model/matrix_path.h) and our kernels, on a GPU with our kernels if the plug-in has them
// for it, both except in fp64. The CUDA half of LibTorch is loaded when a GPU is first requested:
// kFailedPrecondition says why it cannot be (no library, no driver, no GPU).
Result<Compute> OpenCompute(std::string_view device, std::string_view precision);

// The plug-in of the CUDA kernels, in the folder of the program. It need not be there.
std::string CudaPluginPath();

struct Numerics {
  std::int64_t threads = 1;     // for a product
  bool sdpa_attention = false;  // LibTorch's scaled_dot_product_attention is used
  // The mode of all threads that compute: the calling one, those of LibTorch's pool, and any that
  // these start later. Our kernels use the mode of the thread that calls them.
  Subnormals subnormals = DefaultSubnormals();
};

// Call this once at the start of a process. It sets the number of threads and the mode of subnormal
// numbers, turns TF32 and sums in fp16 off, and chooses algorithms that give the same bits each
// time. On a GPU, LibTorch's own switch for deterministic algorithms is used only with its fused
// attention, and for the gradient of an embedding (row_operators.cc): the switch refuses the
// cumulative sum, although that operator is as repeatable as all others that the reference back-end
// calls.
void FixNumerics(const Numerics& numerics, const c10::Device& device);

std::string TorchVersion();  // "2.11.0"
std::string CudaVersion();   // "13.0", once the CUDA half is loaded; else ""
// The parts of LibTorch that decide a CPU's bits, besides the number of threads: its vector path
// (named as in model/instruction_set.h), and its matrix products, which also depend on the CPU's
// vendor ("onednn/AuthenticAMD").
std::string SimdPath();
std::string LinearName(const Compute& compute);  // "aten/cuda" on a GPU
// Whether our kernels compute the operators on its device.
bool HasKernels(const Compute& compute);
// "longrun": our kernels, where there are any for the device; "aten": LibTorch's operators.
std::string OperatorsName(const Compute& compute);
// Leaves all but products and attention to LibTorch's operators.
void UseAtenOperators(Compute& compute);

}  // namespace longrun
