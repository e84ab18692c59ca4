// Where and in which numbers a network computes: the device, the type of its weights, and whether
// products are taken in bf16 (autocast: weights, LayerNorm, residual stream, softmax and loss stay
// fp32, only the factors of matrix products are rounded).
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
#include "model/matrix_path.h"

namespace longrun {

struct Compute {
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  c10::ScalarType dtype = c10::ScalarType::Float;    // of weights and results: Float or Double
  c10::ScalarType product = c10::ScalarType::Float;  // of matrix products: dtype, or BFloat16
  MatrixPath path = MatrixPath::kAten;               // of a CPU's fp32 products
  // Between products and attention, and for the optimiser: our kernels of this instruction set
  // (row_operators.h); nothing: LibTorch's operators. They are for a CPU, and not for fp64.
  std::optional<Simd> kernels = {};
};

// "fp32", "fp64", "bf16" on "cpu", "cuda" or "cuda:1"; on a CPU with the matrix path of a new run
// (model/matrix_path.h) and with our kernels. The CUDA half of LibTorch is loaded at the first demand for a GPU: kFailedPrecondition says why it cannot be (no library, no driver, no GPU).
Result<Compute> OpenCompute(std::string_view device, std::string_view precision);

struct Numerics {
  std::int64_t threads = 1;      // of a product
  bool fused_attention = false;  // LibTorch's own is used
  // Of all threads that compute: this one, those of LibTorch's pool, and those that they start later.
  // Our kernels take the mode of the thread that calls them.
  Subnormals subnormals = DefaultSubnormals();
};

// Fixed once at the start of a process: threads, subnormal numbers, no TF32, and algorithms that give
// the same bits each time. On a GPU, LibTorch's own switch for those is for its fused attention only: it
// refuses the cumulative sum, which is as repeatable as all else that the reference back-end calls.
void FixNumerics(const Numerics& numerics, const c10::Device& device);

std::string TorchVersion();  // "2.11.0"
std::string CudaVersion();   // "13.0", of the CUDA half once it is loaded; "" before
// What decides a CPU's bits beside the thread count: LibTorch's vector path (as
// model/instruction_set.h names it) and its matrix products, which follow the CPU's vendor too
// ("onednn/AuthenticAMD").
std::string SimdPath();
std::string LinearName(const Compute& compute);  // "aten/cuda" on a GPU
std::string OperatorsName(
    const Compute& compute);  // "longrun": our kernels; "aten": LibTorch's operators

}  // namespace longrun
