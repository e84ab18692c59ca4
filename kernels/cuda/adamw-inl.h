// AdamW over many tensors in one launch: the formulas of kernels/adamw.h, rounded as LibTorch's
// fused operator rounds them (ATen/native/cuda/fused_adam_utils.cuh, LibTorch 2.11), so that a run
// has the same bits with either. All numbers are fp32; with g' = clip g, rounded, and fma(a, b, c)
// = a b + c, rounded once:
//
//   theta = fma(-(lr lambda), theta, theta)
//   m = fma(beta1, m, fma(-beta1, g', g')),   v = fma(beta2, v, fma(-beta2, g'^2, g'^2))
//   theta = theta - (lr / (1 - beta1^t)) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
//
// What changes from step to step is read from the GPU's memory (t, lr, the clip factor, the results
// of the step), so the host does not wait for it, and a captured launch could be replayed.
//
// A block owns 4,096 adjacent elements of one tensor.
#pragma once

#include "kernels/cuda/columns-inl.h"

namespace longrun {
namespace gpu {

struct AdamWVector {
  const float* gradient = nullptr;
  float *parameter = nullptr, *m = nullptr, *v = nullptr;
  Bf16Bits* copy = nullptr;  // of the parameter; null: none is kept
  std::int64_t n = 0;
  float weight_decay = 0.0F;
  int is_aligned = 0;  // all begin at a multiple of 16 bytes
};

// A launch takes up to 32,764 bytes of parameters.
inline constexpr int kAdamWVectorsMax = 256;

struct AdamWParams {
  AdamWVector vectors[kAdamWVectorsMax];
  int first_block[kAdamWVectorsMax + 1] = {};  // of each vector; then the number of all blocks
  int n_vector = 0;
  float beta1 = 0.0F, beta2 = 0.0F, eps = 0.0F;
  const float* t = nullptr;
  const float* lr = nullptr;
  const double* clip = nullptr;  // null: 1
  // Unless all are finite, nothing changes.
  const double* results = nullptr;
  int n_result = 0;
};

template <typename TheLayer>
struct AdamWKernel {
  using Layer = TheLayer;
  using Params = AdamWParams;
  static constexpr int kPiece = 32 * kThreads;  // elements of a block

  static int SharedBytes(const Params& /*p*/) { return 0; }
  static std::int64_t Blocks(const Params& p) { return p.first_block[p.n_vector]; }
  static std::int64_t BlocksOfVector(std::int64_t n) { return (n + kPiece - 1) / kPiece; }

  static LR_DEVICE void Run(const Params& p) {
    for (int i = 0; i < p.n_result; ++i) {
      const double x = p.results[i];
      if (!(x - x == 0.0)) return;  // infinite, or NaN
    }
    const auto block = static_cast<int>(Layer::Block());
    // The last vector that begins at this block or before it.
    int vector = 0;
    for (int end = p.n_vector; end - vector > 1;) {
      const int middle = (vector + end) / 2;
      if (p.first_block[middle] <= block) {
        vector = middle;
      } else {
        end = middle;
      }
    }
    const AdamWVector& of = p.vectors[vector];
    const std::int64_t begin = std::int64_t{block - p.first_block[vector]} * kPiece;
    const auto n = static_cast<int>(of.n - begin < kPiece ? of.n - begin : kPiece);
    if (of.is_aligned != 0 && n % kChunk == 0) {
      Update<true>(p, of, begin, n);
    } else {
      Update<false>(p, of, begin, n);
    }
  }

 private:
  template <bool kAligned>
  static LR_DEVICE void Update(const Params& p, const AdamWVector& of, std::int64_t begin, int n) {
    const float lr = *p.lr, t = *p.t;
    const float step = lr / (1.0F - Layer::Pow(p.beta1, t));
    const float root = sqrtf(1.0F - Layer::Pow(p.beta2, t));
    const float decay = lr * of.weight_decay;
    const float clip = p.clip == nullptr ? 1.0F : static_cast<float>(*p.clip);
    LR_ROLL
    for (int c = Layer::Thread() * kChunk; c < n; c += kThreads * kChunk) {
      alignas(16) float g[kChunk], theta[kChunk], m[kChunk], v[kChunk];
      ReadChunk<Layer, kAligned>(of.gradient + begin, c, n, g);
      ReadChunk<Layer, kAligned>(of.parameter + begin, c, n, theta);
      ReadChunk<Layer, kAligned>(of.m + begin, c, n, m);
      ReadChunk<Layer, kAligned>(of.v + begin, c, n, v);
      LR_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        const float clipped = g[i] * clip;
        if (of.weight_decay != 0.0F) theta[i] = fmaf(-decay, theta[i], theta[i]);
        m[i] = fmaf(p.beta1, m[i], fmaf(-p.beta1, clipped, clipped));
        const float square = clipped * clipped;
        v[i] = fmaf(p.beta2, v[i], fmaf(-p.beta2, square, square));
        const float divisor = sqrtf(v[i]) / root + p.eps;
        theta[i] -= step * m[i] / divisor;
      }
      WriteChunk<Layer, kAligned>(of.parameter + begin, c, n, theta);
      WriteChunk<Layer, kAligned>(of.m + begin, c, n, m);
      WriteChunk<Layer, kAligned>(of.v + begin, c, n, v);
      if (of.copy != nullptr) WriteChunk<Layer, kAligned>(of.copy + begin, c, n, theta);
    }
  }
};

}  // namespace gpu
}  // namespace longrun
