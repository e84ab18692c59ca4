// Cross-entropy and its gradient: the formulas of kernels/cross_entropy.h.
//
// A row belongs to a block, a thread has every 128th chunk of 8 logits. The first pass keeps the
// maximum so far and the sum below it, so it reads the row once; the second one, for the gradient,
// reads it again and may write over it.
#pragma once

#include "kernels/cuda/columns-inl.h"

namespace longrun {
namespace gpu {

struct CrossEntropyParams {
  std::int64_t n_row = 0;
  int n_vocab = 0;
  float weight = 1.0F;
  const void* logits = nullptr;
  const std::int64_t* targets = nullptr;
  float* nll = nullptr;
  float* lse = nullptr;      // null: not stored
  void* d_logits = nullptr;  // may be the logits; null: not computed
};

template <typename TheLayer, typename T, bool kAligned>
struct CrossEntropyKernel {
  using Layer = TheLayer;
  using Params = CrossEntropyParams;
  static constexpr std::int64_t kIgnored = -100;
  static constexpr int kAhead = 4;  // loads that do not wait for one another
  static constexpr int kStep = kThreads * kChunk;
  static constexpr auto kInLog2 = static_cast<float>(kLog2E);

  static int SharedBytes(const Params& /*p*/) { return 2 * kWarps * 4; }
  static std::int64_t Blocks(const Params& p) { return p.n_row; }

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const auto maxima = arena.template Take<int>(kWarps);
    const auto sums = arena.template Take<float>(kWarps);
    const std::int64_t row = Layer::Block();
    const T* const logits = static_cast<const T*>(p.logits) + row * p.n_vocab;
    const std::int64_t target = p.targets[row];
    const bool is_ignored = target == kIgnored;
    // The caller's bug; what is read from elsewhere would be a finite lie.
    const bool is_wrong = !is_ignored && (target < 0 || target >= p.n_vocab);
    // Read before the gradient is written over it.
    const float of_target = is_ignored || is_wrong ? 0.0F : Widened(logits[target]);

    float maximum = kHidden, sum = 0.0F;
    ForChunks(logits, p.n_vocab, [&](int c, float(&x)[kChunk]) {
      float largest = maximum;
      LR_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        if (Exists<kAligned>(c + i, p.n_vocab)) largest = Larger(largest, x[i]);
      }
      // Only -inf so far, or NaN, which no maximum shows: -inf - -inf would be NaN as well.
      const float from = largest == kHidden ? 0.0F : largest;
      float of_chunk = 0.0F;
      LR_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        if (Exists<kAligned>(c + i, p.n_vocab)) of_chunk += Below(x[i], from);
      }
      sum = sum * Below(maximum, from) + of_chunk;
      maximum = largest;
    });

    const int largest_of_warp = Layer::WarpMax(Ordered(maximum));
    if (Layer::Thread() % 32 == 0) maxima.Set(Layer::Thread() / 32, largest_of_warp);
    Layer::Barrier();
    int largest = maxima.Get(0);
    for (int warp = 1; warp < kWarps; ++warp) largest = Max(largest, maxima.Get(warp));
    const float largest_of_row = FromOrdered(largest);
    sum = Layer::WarpSum(sum * Below(maximum, largest_of_row));
    if (Layer::Thread() % 32 == 0) sums.Set(Layer::Thread() / 32, sum);
    Layer::Barrier();
    float total = 0.0F;
    for (int warp = 0; warp < kWarps; ++warp) total += sums.Get(warp);

    if (Layer::Thread() == 0) {
      // In double: beside huge logits, fp32 would lose the logarithm, which may be all of the loss.
      const auto high = static_cast<double>(largest_of_row);
      const double log_total = Layer::Log(static_cast<double>(total));
      const auto nll = static_cast<float>(high - static_cast<double>(of_target) + log_total);
      if (p.lse != nullptr) p.lse[row] = static_cast<float>(high + log_total);
      p.nll[row] = is_ignored ? 0.0F : is_wrong ? Nan() : nll;
    }
    if (p.d_logits == nullptr) return;
    T* const d_logits = static_cast<T*>(p.d_logits) + row * p.n_vocab;
    const float factor = is_wrong ? Nan() : p.weight / total;
    ForChunks(logits, p.n_vocab, [&](int c, float(&x)[kChunk]) {
      LR_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        const float probability = factor * Below(x[i], largest_of_row);
        x[i] = is_ignored ? 0.0F : c + i == target ? probability - p.weight : probability;
      }
      WriteChunk<Layer, kAligned>(d_logits, c, p.n_vocab, x);
    });
  }

 private:
  // Calls body(c, x) for the chunks of this thread, where c is the first of the logits in x.
  template <typename Body>
  static LR_DEVICE void ForChunks(const T* logits, int n_vocab, const Body& body) {
    LR_ROLL
    for (int begin = Layer::Thread() * kChunk; begin < n_vocab; begin += kAhead * kStep) {
      alignas(16) T read[kAhead][kChunk] = {};
      LR_UNROLL
      for (int k = 0; k < kAhead; ++k) {
        const int c = begin + k * kStep;
        if (c < n_vocab) ReadChunk<Layer, kAligned>(logits, c, n_vocab, read[k]);
      }
      LR_UNROLL
      for (int k = 0; k < kAhead; ++k) {
        const int c = begin + k * kStep;
        if (c >= n_vocab) break;
        alignas(16) float x[kChunk];
        LR_UNROLL
        for (int i = 0; i < kChunk; ++i) x[i] = Widened(read[k][i]);
        body(c, x);
      }
    }
  }

  static LR_DEVICE float Below(float x, float largest) {
    return Layer::Exp2((x - largest) * kInLog2);
  }
  static LR_DEVICE float Nan() { return __builtin_nanf(""); }

  // Integers in the order of the numbers.
  static LR_DEVICE int Ordered(float x) {
    int bits = 0;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? bits ^ 0x7fffffff : bits;
  }
  static LR_DEVICE float FromOrdered(int ordered) {
    const int bits = ordered < 0 ? ordered ^ 0x7fffffff : ordered;
    float x = 0.0F;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
  }
};

}  // namespace gpu
}  // namespace longrun
