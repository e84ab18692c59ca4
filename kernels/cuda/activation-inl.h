// Activations of a feed-forward layer, forward and backward: the formulas of kernels/activation.h.
// And sums over rows, which are such a kernel without a result for each element.
//
// A warp owns 256 channels, 8 for each lane, and the four warps of a block take rows in turn. So
// the bias, and the sums over rows, stay in registers. A warp reads kAhead rows before it computes.
#pragma once

#include "kernels/cuda/columns-inl.h"

namespace longrun {
namespace gpu {

// The numbers of longrun::Activation.
inline constexpr int kGeluNew = 0, kGelu = 1, kSilu = 2;

struct ElementParams {
  std::int64_t n_row = 0, rows_of_range = 0;
  int n_channel = 0, activation = kGeluNew;
  const void* in[3] = {};  // as Operation says
  void* out[2] = {};
  const float* bias = nullptr;  // may be null
  float* sums = nullptr;        // (ranges, C): over a range of rows; null: not asked for
};

// ---- functions ---------------------------------------------------------------------------------

// sigma(z) = 1 / (1 + e), where e = exp(-z) = 2^t. e is kept finite, so that e sigma, which is
// 1 - sigma without a cancellation, is not NaN.
template <typename Layer>
LR_DEVICE float Sigma(float t, float& e) {
  e = Layer::Exp2(fminf(t, 126.0F));
  return Layer::Reciprocal(1.0F + e);
}

template <typename Layer, int kActivation>
struct Function {
  // f(x), f'(x)
  static LR_DEVICE void At(float x, float& value, float& slope) {
    if constexpr (kActivation == kGelu) {
      constexpr auto kRootHalf = static_cast<float>(0.70710678118654752440);
      constexpr auto kDensity = static_cast<float>(0.39894228040143267794);  // 1 / sqrt(2 pi)
      const float phi = 0.5F + 0.5F * erff(x * kRootHalf);
      value = x * phi;
      slope = phi + x * kDensity * Layer::Exp2(x * x * static_cast<float>(-0.5 * kLog2E));
    } else {
      constexpr auto kLog2 = static_cast<float>(kLog2E);
      constexpr auto kLine = static_cast<float>(2.0 * 0.79788456080286535588);  // 2 sqrt(2 / pi)
      constexpr auto kCube = static_cast<float>(2.0 * 0.79788456080286535588 * 0.044715);
      // Beyond this, sigma is 0 or 1, and a larger square could be infinite.
      const float bounded = fminf(fmaxf(x, -1e4F), 1e4F);
      float z = bounded, dz = 1.0F;
      if constexpr (kActivation == kGeluNew) {
        const float square = bounded * bounded;
        z = bounded * (kLine + kCube * square);
        dz = kLine + 3.0F * kCube * square;
      }
      float e = 0.0F;
      const float sigma = Sigma<Layer>(-kLog2 * z, e);
      value = x * sigma;
      slope = x == x ? sigma + bounded * dz * (sigma * (e * sigma)) : x;
    }
  }
};

// ---- operations --------------------------------------------------------------------------------

// What is computed of a chunk: kIn tensors are read and kOut written; kSums: x is what is summed
// over rows. Inputs are in order, as kernels/activation.h names them.
template <int kInputs, int kOutputs, bool kHasSums, bool kIsOfForward = false>
struct Operation {
  static constexpr int kIn = kInputs, kOut = kOutputs;
  static constexpr bool kSums = kHasSums, kIsForward = kIsOfForward;
};

struct ActivateForward : Operation<1, 1, false, true> {  // h -> y
  template <typename F>
  static LR_DEVICE void Compute(const float (&in)[1], float b, float (&out)[1], float& /*sum*/) {
    float slope = 0.0F;
    F::At(in[0] + b, out[0], slope);
  }
};
struct ActivateBackward : Operation<2, 1, true> {  // h, dy -> dh
  template <typename F>
  static LR_DEVICE void Compute(const float (&in)[2], float b, float (&out)[1], float& sum) {
    float value = 0.0F, slope = 0.0F;
    F::At(in[0] + b, value, slope);
    out[0] = in[1] * slope;
    sum = out[0];
  }
};
struct GateForward : Operation<2, 1, false, true> {  // gate, up -> y
  template <typename F>
  static LR_DEVICE void Compute(const float (&in)[2], float /*b*/, float (&out)[1],
                                float& /*sum*/) {
    float value = 0.0F, slope = 0.0F;
    F::At(in[0], value, slope);
    out[0] = value * in[1];
  }
};
struct GateBackward : Operation<3, 2, false> {  // gate, up, dy -> d_gate, d_up
  template <typename F>
  static LR_DEVICE void Compute(const float (&in)[3], float /*b*/, float (&out)[2],
                                float& /*sum*/) {
    float value = 0.0F, slope = 0.0F;
    F::At(in[0], value, slope);
    out[0] = in[2] * in[1] * slope;
    out[1] = in[2] * value;
  }
};
struct SumOnly : Operation<1, 0, true> {  // x ->
  template <typename F>
  static LR_DEVICE void Compute(const float (&in)[1], float /*b*/, float (&)[1], float& sum) {
    sum = in[0];
  }
};

template <typename TheLayer, typename T, typename Op, bool kAligned>
struct ElementKernel {
  using Layer = TheLayer;
  using Params = ElementParams;
  static constexpr int kColumns = 32 * kChunk;  // of a warp
  static constexpr int kAhead = 4;
  static constexpr int kOuts = Op::kOut > 0 ? Op::kOut : 1;

  static int SharedBytes(const Params& p) { return p.sums == nullptr ? 0 : kWarps * kColumns * 4; }
  static LR_BOTH int Groups(const Params& p) { return (p.n_channel + kColumns - 1) / kColumns; }
  static std::int64_t Blocks(const Params& p) {
    return RangesOf(p.n_row, p.rows_of_range) * Groups(p);
  }

  // Of a chunk's row at `at`.
  template <typename F>
  static LR_DEVICE void ComputeChunk(const Params& p, std::int64_t at, int c,
                                     const T (&in)[Op::kIn][kChunk], const float (&bias)[kChunk],
                                     float (&sums)[kChunk]) {
    alignas(16) float out[kOuts][kChunk];
    LR_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      float x[Op::kIn], y[kOuts], sum = 0.0F;
      LR_UNROLL
      for (int of = 0; of < Op::kIn; ++of) x[of] = Widened(in[of][i]);
      Op::template Compute<F>(x, bias[i], y, sum);
      LR_UNROLL
      for (int of = 0; of < Op::kOut; ++of) out[of][i] = y[of];
      if constexpr (Op::kSums) sums[i] += sum;
    }
    LR_UNROLL
    for (int of = 0; of < Op::kOut; ++of) {
      WriteChunk<Layer, kAligned>(static_cast<T*>(p.out[of]) + at, c, p.n_channel, out[of]);
    }
  }

  static LR_DEVICE void ComputeChunk(const Params& p, std::int64_t at, int c,
                                     const T (&in)[Op::kIn][kChunk], const float (&bias)[kChunk],
                                     float (&sums)[kChunk]) {
    if constexpr (Op::kOut == 0) {
      ComputeChunk<void>(p, at, c, in, bias, sums);
    } else if (p.activation == kGeluNew) {
      ComputeChunk<Function<Layer, kGeluNew>>(p, at, c, in, bias, sums);
    } else if (p.activation == kGelu) {
      ComputeChunk<Function<Layer, kGelu>>(p, at, c, in, bias, sums);
    } else {
      ComputeChunk<Function<Layer, kSilu>>(p, at, c, in, bias, sums);
    }
  }

  static LR_DEVICE void Run(const Params& p) {
    const int warp = Layer::Thread() / 32;
    const std::int64_t range = Layer::Block() / Groups(p);
    const int first = static_cast<int>(Layer::Block() % Groups(p)) * kColumns;
    const int c = first + Layer::Thread() % 32 * kChunk;
    const int n = p.n_channel;
    const std::int64_t begin = range * p.rows_of_range;
    const std::int64_t end = begin + p.rows_of_range < p.n_row ? begin + p.rows_of_range : p.n_row;

    alignas(16) float sums[kChunk] = {};
    if (c < n) {
      alignas(16) float bias[kChunk] = {};
      if (p.bias != nullptr) ReadChunk<Layer, kAligned>(p.bias, c, n, bias);
      LR_ROLL
      for (std::int64_t row = begin + warp; row < end; row += kAhead * kWarps) {
        alignas(16) T in[kAhead][Op::kIn][kChunk];
        LR_UNROLL
        for (int of_row = 0; of_row < kAhead; ++of_row) {
          const std::int64_t next = row + of_row * kWarps;
          if (next >= end) continue;
          LR_UNROLL
          for (int of = 0; of < Op::kIn; ++of) {
            ReadChunk<Layer, kAligned>(static_cast<const T*>(p.in[of]) + next * n, c, n,
                                       in[of_row][of]);
          }
        }
        LR_UNROLL
        for (int of_row = 0; of_row < kAhead; ++of_row) {
          const std::int64_t next = row + of_row * kWarps;
          if (next < end) ComputeChunk(p, next * n, c, in[of_row], bias, sums);
        }
      }
    }

    if constexpr (Op::kSums) {
      if (p.sums == nullptr) return;
      typename Layer::Arena arena;
      const auto shares = arena.template Take<float>(kWarps * kColumns);
      shares.SetEight(warp * kColumns + c - first, sums);
      Layer::Barrier();
      for (int at = Layer::Thread(); at < kColumns && first + at < n; at += kThreads) {
        float sum = 0.0F;
        LR_UNROLL
        for (int of = 0; of < kWarps; ++of) sum += shares.Get(of * kColumns + at);
        p.sums[range * n + first + at] = sum;
      }
    }
  }
};

}  // namespace gpu
}  // namespace longrun
