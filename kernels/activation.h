// Activations of a feed-forward layer, forward and backward, element by element.
//
//   y = f(h + b)                          b: the product's bias; 0 if absent
//   y = f(g) u                            gated (SwiGLU with f = silu)
//
//   gelu_new  f(x) = x sigma(2 k (x + 0.044715 x^3)), k = sqrt(2 / pi)     = x (1 + tanh(..)) / 2
//   gelu      f(x) = x Phi(x), Phi the normal distribution
//   silu      f(x) = x sigma(x)
//
//   (Hendrycks, Gimpel 2016, arXiv:1606.08415; Shazeer 2020, arXiv:2002.05202)
//
// Backward, given dy:
//
//   dh = dy f'(h + b),   db = sum over rows of dh
//   dg = dy u f'(g),     du = dy f(g)
//
// Shapes:  h, g, u, y and their gradients (N, C), dense; b (C)
// Types:   all (N, C) tensors have one type, fp32 or bf16, in forward also fp16; b, db and
//          intermediate values are fp32
// Bits:    an element's bits depend only on that element; the bits of db depend on the rows, not on
//          threads
// Errors:  a null or negative argument, or types that differ, are a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/elements.h"
#include "kernels/simd.h"

namespace longrun {

enum class Activation { kGeluNew, kGelu, kSilu };

// "gelu_new", "gelu", "silu", the names in transformers; nullopt for any other name.
std::optional<Activation> FindActivation(std::string_view name);

struct ActivationShape {
  std::int64_t n_row = 0, n_channel = 0;
  Activation activation = Activation::kGeluNew;
};

struct ActivationForwardCall {
  ActivationShape shape;
  ConstElements h = {};
  const float* bias = nullptr;  // may be null
  Elements y = {};              // may be h itself
};
void ActivationForward(const ActivationForwardCall& call, const KernelOptions& options);

struct ActivationBackwardCall {
  ActivationShape shape;
  ConstElements h = {};
  const float* bias = nullptr;
  ConstElements dy = {};
  Elements dh = {};         // may be dy itself
  float* d_bias = nullptr;  // written; null: not computed
};
void ActivationBackward(const ActivationBackwardCall& call, const KernelOptions& options);

struct GatedForwardCall {
  ActivationShape shape;
  ConstElements gate = {}, up = {};
  Elements y = {};
};
void GatedForward(const GatedForwardCall& call, const KernelOptions& options);

struct GatedBackwardCall {
  ActivationShape shape;
  ConstElements gate = {}, up = {}, dy = {};
  Elements d_gate = {}, d_up = {};
};
void GatedBackward(const GatedBackwardCall& call, const KernelOptions& options);

}  // namespace longrun
