// The operations of a network between its products and its attention, with gradients. They are
// computed by our kernels over rows (kernels/norm.h, activation.h, embedding.h, key_bias.h) if
// `compute` names them for its device and they support the operation, else by LibTorch's operators.
//
// The kernels support LayerNorm and RMSNorm, and gelu_new, gelu and silu, gated or not, in fp32 and
// with results of products in bf16, or without gradients in fp16; the cumulated gate in fp32; on a
// CPU also the embedding's gradient in fp32, on a GPU the gradients of biases. A gradient can be
// taken once (no double backward).
//
// Legend: B batch, T positions, H heads, C channels, V vocabulary, N rows, I inputs of a product;
// ".." any leading dimensions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/simd.h"
#include "model/config.h"
#include "model/net/device.h"
#include "model/net/linear.h"

namespace longrun {

// Options with which kernels divide rows of `n_channel` elements among LibTorch's threads, in parts
// that have enough rows to be worth a thread.
KernelOptions RowOptions(Simd simd, std::int64_t n_channel);

struct NormWeights {
  at::Tensor weight_C;
  at::Tensor bias_C = {};  // undefined where there is none
  bool centred = true;     // LayerNorm; else RMSNorm
  double epsilon = 1e-5;
};

// `type` is the type of the result: compute.dtype, or compute.product if only products read it.
at::Tensor Norm(const at::Tensor& x, const NormWeights& norm, c10::ScalarType type,
                const Compute& compute);

// x + addend, to be added by the norm that reads the sum. The addend has x's type or that of
// products; an undefined one means x alone.
struct PendingSum {
  at::Tensor x, addend = {};
  at::Tensor Value() const;
};
// The sum and its norm, in one pass.
struct AddedNorm {
  at::Tensor sum, normed;
};
AddedNorm AddNorm(const PendingSum& pending, const NormWeights& norm, c10::ScalarType type,
                  const Compute& compute);

// Whether Activate adds the bias in the same pass: then the product must leave it out.
bool ActivateTakesBias(MlpActivation f, const Compute& compute);
// f(h + b); an undefined b means none.
at::Tensor Activate(MlpActivation f, const at::Tensor& h, const at::Tensor& bias_C,
                    const Compute& compute);
// f(gate) up.
at::Tensor ActivateGate(MlpActivation f, const at::Tensor& gate, const at::Tensor& up,
                        const Compute& compute);

// x w + b (linear.h); b may have another type, and an undefined b means none. On a GPU, LibTorch's
// gradient of b, a sum over rows, takes longer than ours, and is rounded to the type of x.
at::Tensor BiasedLinear(const at::Tensor& x_NI, const ProductWeight& w, const at::Tensor& bias_C,
                        const Compute& compute);
// Whether the weight of a product with rows in the type of products gets its gradient by
// ProductWeight::stored.
bool TakesStoredWeight(const at::Tensor& x_NI, const at::Tensor& weight, const Compute& compute);

// The rows of the ids; padding_id gets no gradient. If the weight is a leaf that already has a
// gradient, the kernels add to it instead of returning a (V, C) tensor with few non-zero rows.
at::Tensor Embed(const at::Tensor& weight_VC, const at::Tensor& ids, std::int64_t padding_id,
                 const Compute& compute);

// The negative inclusive sums over t of softplus(h), or with log_sigmoid of softplus(-h); with
// `negated` the sums themselves (kernels/key_bias.h): (B, H, T), in double.
at::Tensor CumulatedGate(const at::Tensor& h_BTH, bool log_sigmoid, bool negated,
                         const Compute& compute);

}  // namespace longrun
