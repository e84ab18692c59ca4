// The second kernel of a forward call whose keys are split: it merges what the blocks of
// forward-inl.h or few_queries-inl.h have found of each range of keys.
#pragma once

#include "kernels/cuda/products-inl.h"
#include "kernels/cuda/terms-inl.h"

namespace longrun {
namespace gpu {

// A block has one row of o. Each warp adds every fourth range, in the ranges' order, so that many
// loads are under way at once; then the warps' sums are added in their order. A lane has the
// channels that are its number modulo 32.
template <typename TheLayer, typename TheShape>
struct MergeKernel {
  using Layer = TheLayer;
  using Params = SplitParams;
  static constexpr int kHeadDim = TheShape::kHeadDim;
  static constexpr int kChannels = kHeadDim / 32;
  static int SharedBytes(const Params& /*p*/) {
    return 4 * (2 * kThreads + kWarps * kHeadDim + kWarps);
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.n_query;
  }

  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t row = Layer::Block();
    const auto i = static_cast<int>(row % p.n_query);
    const std::int64_t head = row / p.n_query;
    const int b = static_cast<int>(head / p.n_head), h = static_cast<int>(head % p.n_head);
    const int warp = Layer::Thread() / 32, lane = Layer::Thread() % 32;

    typename Layer::Arena arena;
    const auto part_largest = arena.template Take<float>(kThreads);
    const auto part_sums = arena.template Take<float>(kThreads);
    const auto warp_o = arena.template Take<float>(kWarps * kHeadDim);
    const auto warp_sums = arena.template Take<float>(kWarps);
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
      float grown[2] = {largest, kHidden};
      for (int at = lane % 4; at < n; at += 4) grown[0] = Larger(grown[0], part_largest.Get(at));
      Layer::QuadMax(grown);
      const float reference = grown[0] == kHidden ? 0.0F : grown[0];  // no key was visible yet
      const float factor = Layer::Exp2(largest - reference);
      largest = grown[0];
      sum *= factor;
      LR_UNROLL
      for (int n_c = 0; n_c < kChannels; ++n_c) o[n_c] *= factor;
      for (int at = warp; at < n; at += kWarps) {
        const float weight = Layer::Exp2(part_largest.Get(at) - reference);
        sum += weight * part_sums.Get(at);
        LR_UNROLL
        for (int n_c = 0; n_c < kChannels; ++n_c) {
          const int c = lane + 32 * n_c;
          const float of_part = c < p.head_dim ? parts[at * p.PartStep() + c] : 0.0F;
          o[n_c] += weight * of_part;
        }
      }
    }
    LR_UNROLL
    for (int n_c = 0; n_c < kChannels; ++n_c) {
      warp_o.Set(warp * kHeadDim + lane + 32 * n_c, o[n_c]);
    }
    if (lane == 0) warp_sums.Set(warp, sum);
    Layer::Barrier();

    sum = 0.0F;
    LR_UNROLL
    for (int w = 0; w < kWarps; ++w) sum += warp_sums.Get(w);
    const float factor = sum == 0.0F ? 0.0F : 1.0F / sum;
    for (int c = Layer::Thread(); c < p.head_dim; c += kThreads) {
      float x = 0.0F;
      LR_UNROLL
      for (int w = 0; w < kWarps; ++w) x += warp_o.Get(w * kHeadDim + c);
      WriteNumber(p.o.scalar, p.o.data, p.o.At(b, h, i) + c, x * factor);
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
