// The second kernel of a forward call whose keys are split: it merges what the blocks of
// forward-inl.h have found of each range of keys, in the ranges' order.
#pragma once

#include "kernels/cuda/terms-inl.h"

namespace longrun {
namespace gpu {

// A block has one row of o. Each of its threads has the channels that are its number modulo
// kThreads.
template <typename TheLayer>
struct MergeKernel {
  using Layer = TheLayer;
  using Params = SplitParams;
  static constexpr int kChannels = 2;  // of a thread: a head has up to 256
  static int SharedBytes(const Params& /*p*/) { return 2 * 4 * kThreads; }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.n_query;
  }

  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t row = Layer::Block();
    const auto i = static_cast<int>(row % p.n_query);
    const std::int64_t head = row / p.n_query;
    const int b = static_cast<int>(head / p.n_head), h = static_cast<int>(head % p.n_head);

    typename Layer::Arena arena;
    const auto part_largest = arena.template Take<float>(kThreads);
    const auto part_sums = arena.template Take<float>(kThreads);
    float largest = kHidden, sum = 0.0F, o[kChannels] = {};
    for (int first = 0; first < p.n_split; first += kThreads) {
      const float* const parts = p.parts + (row * p.n_split + first) * p.PartStep();
      const int n = Min(kThreads, p.n_split - first);
      Layer::Barrier();  // the parts before have been read
      if (Layer::Thread() < n) {
        const float* const numbers = parts + Layer::Thread() * p.PartStep() + p.head_dim;
        part_largest.Set(Layer::Thread(), numbers[0]);
        part_sums.Set(Layer::Thread(), numbers[1]);
      }
      Layer::Barrier();
      float grown = largest;
      for (int at = 0; at < n; ++at) grown = Larger(grown, part_largest.Get(at));
      const float reference = grown == kHidden ? 0.0F : grown;  // no key was visible yet
      const float factor = Layer::Exp2(largest - reference);
      largest = grown;
      sum *= factor;
      LR_UNROLL
      for (int n_c = 0; n_c < kChannels; ++n_c) o[n_c] *= factor;
      for (int at = 0; at < n; ++at) {
        const float weight = Layer::Exp2(part_largest.Get(at) - reference);
        sum += weight * part_sums.Get(at);
        LR_UNROLL
        for (int n_c = 0; n_c < kChannels; ++n_c) {
          const int c = Layer::Thread() + n_c * kThreads;
          if (c < p.head_dim) o[n_c] += weight * parts[at * p.PartStep() + c];
        }
      }
    }

    const float factor = sum == 0.0F ? 0.0F : 1.0F / sum;
    LR_UNROLL
    for (int n_c = 0; n_c < kChannels; ++n_c) {
      const int c = Layer::Thread() + n_c * kThreads;
      if (c < p.head_dim) {
        WriteNumber(p.o.scalar, p.o.data, p.o.At(b, h, i) + c, o[n_c] * factor);
      }
    }
    if (Layer::Thread() != 0) return;
    const double lse = sum == 0.0F ? static_cast<double>(kHidden)
                                   : LseAnchor(p, AnchorOf(p, b, h, i)) +
                                         static_cast<double>(largest) * kLn2 +
                                         Layer::Log(static_cast<double>(sum));
    WriteNumber(p.lse, row, lse);
  }
};

}  // namespace gpu
}  // namespace longrun
