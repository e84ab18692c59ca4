// Sums of dq~ over the blocks of all keys, for backward in a single kernel. Each block adds the
// part of its keys, in whatever order the blocks come. The sums are 64-bit integers: additions then
// have the same result in every order. Floating-point numbers would have other bits each time, or
// the blocks would have to wait for each other.
//
//   MaximaOfKeysKernel   the largest |k| and |v| of each kSkipTile keys
//   BeginSumsKernel      chooses a factor for each query, and makes its sums 0
//   (backward)           adds products of a factor and a part of dq~, rounded to integers
//   EndSumsKernel        dq~, from the sums and the factors
//
// A query's factor is a power of two by which no sum overflows: with delta = <do, o>,
//
//   |dq~| <= sum_j p_j (|<do, v_j>| + |delta|) |k_j| <= (|do|_1 max |v| + |delta|) max |k|
//
// times the factor is from 2^(kBits - 1) to 2^kBits, with the largest |k| and |v| of the head. So
// the integers' unit is at most 2^-45 of the bound. A query's dq~ would lose bits of bf16 only if
// some |k| |v| of the head were 2^30 times those that it sees.
//
// For benchmarks only, blocks may also add fp32 numbers, in the same layout (UnorderedSums): there
// are no maxima, factors and flags then, and dq~ has other bits each time. This is what the bits
// that are the same each time are measured against.
#pragma once

#include "kernels/cuda/pipeline-inl.h"
#include "kernels/cuda/rows-inl.h"

namespace longrun {
namespace gpu {

struct QuerySums {
  // (B, H, tiles of kRows queries, the tile's channels in the order of the threads that add).
  std::int64_t* sums = nullptr;
  float* factors = nullptr;             // (B, H, T_q)
  std::int32_t* is_infinite = nullptr;  // (B, H, T_q): 1 where a part was too large, or NaN

  static constexpr int kBits = 46;
  // A part that does not fit, or NaN, makes dq~ NaN. It may be 16 times what the bound allows for
  // all: the rounding of rotated rows changes large scores, so a row's probabilities may add up to
  // more than 1. 2^12 such parts, of at least 262,144 keys, do not overflow.
  static LR_DEVICE bool Fits(float part) { return fabsf(part) < 0x1p50F; }
};
struct UnorderedSums {
  float* sums = nullptr;  // as in QuerySums
};

// How the threads of a block share the rows and channels of a tile's dq~: a warp has 32 rows and
// half of the channels, of which it multiplies kColumns at once.
template <typename Layer, int kTheHeadDim>
struct QueryPart {
  static constexpr int kHeadDim = kTheHeadDim, kFragments = 2, kColumns = 32;
  static constexpr int kPasses = kHeadDim / 2 / kColumns;
  static constexpr int kTileSums = kRows * kHeadDim, kPassSums = kTileSums / kPasses;
  static_assert(kRows == 2 * 16 * kFragments && kWarps == 4);

  static LR_DEVICE int FirstRow(int thread) { return thread / 64 * 32; }
  static LR_DEVICE int FirstChannel(int thread, int pass) {
    return thread / 32 % 2 * (kHeadDim / 2) + pass * kColumns;
  }
  // How far behind the thread's first sum of a pass that of element c[n][e] of fragment m lies. The
  // threads' first sums lie side by side.
  static LR_DEVICE int SumOf(int m, int n, int e) {
    return ((m * (kColumns / 8) + n) * 4 + e) * kThreads;
  }
};

struct QuerySumParams : Params {
  static constexpr bool kAddsIntegers = true;
  QuerySums of_queries;
  float* maxima = nullptr;  // (B, H_kv, n_tile, 2): of |k| and of |v|
  int n_tile = 0;           // of kSkipTile keys
};
struct UnorderedSumParams : Params {
  static constexpr bool kAddsIntegers = false;
  UnorderedSums of_queries;
};

// The larger of x and |element|, but for one that is infinite or NaN. The queries that see such a
// key get no finite dq~ anyway; those that visit no tile of it shall get theirs.
LR_DEVICE float LargerFinite(float x, float element) {
  const float size = fabsf(element);
  return size < static_cast<float>(__builtin_huge_valf()) ? Larger(x, size) : x;
}

// x of the thread becomes the largest of the block. No number is negative.
template <typename Layer, int kCount>
LR_DEVICE void BlockMax(const typename Layer::template Shared<float>& of_warps,
                        float (&x)[kCount]) {
  LR_UNROLL
  for (int i = 0; i < kCount; ++i) {
    int bits = 0;  // of such numbers are in the order of the numbers
    __builtin_memcpy(&bits, &x[i], sizeof bits);
    bits = Layer::WarpMax(bits);
    __builtin_memcpy(&x[i], &bits, sizeof bits);
    if (Layer::Thread() % 32 == 0) of_warps.Set(i * kWarps + Layer::Thread() / 32, x[i]);
  }
  Layer::Barrier();
  LR_UNROLL
  for (int i = 0; i < kCount; ++i) {
    for (int warp = 0; warp < kWarps; ++warp) x[i] = Larger(x[i], of_warps.Get(i * kWarps + warp));
  }
}

// A block has one tile of keys of one head, and each thread one key.
template <typename TheLayer>
struct MaximaOfKeysKernel {
  using Layer = TheLayer;
  using Params = QuerySumParams;
  static_assert(kSkipTile == kThreads);
  static int SharedBytes(const Params& /*p*/) { return 2 * 4 * kWarps; }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_kv_head * p.n_tile;
  }

  static LR_DEVICE void Run(const Params& p) {
    const int tile = static_cast<int>(Layer::Block() % p.n_tile);
    const auto head = static_cast<int>(Layer::Block() / p.n_tile);
    const int b = head / p.n_kv_head, h_kv = head % p.n_kv_head;
    const int j = tile * kSkipTile + Layer::Thread();
    typename Layer::Arena arena;
    const auto of_warps = arena.template Take<float>(2 * kWarps);
    float maxima[2] = {0.0F, 0.0F};
    if (j < p.n_key) {
      for (int c = 0; c < p.head_dim; c += kChunk) {
        alignas(16) float k[kChunk], v[kChunk];
        ReadEight<Layer>(p.k[0], p.k[0].At(b, h_kv, j) + c, k);
        ReadEight<Layer>(p.v, p.v.At(b, h_kv, j) + c, v);
        LR_UNROLL
        for (int e = 0; e < kChunk; ++e) {
          maxima[0] = LargerFinite(maxima[0], k[e]);
          maxima[1] = LargerFinite(maxima[1], v[e]);
        }
      }
    }
    BlockMax<Layer>(of_warps, maxima);
    if (Layer::Thread() < 2) {
      p.maxima[2 * Layer::Block() + Layer::Thread()] = Layer::Thread() == 0 ? maxima[0] : maxima[1];
    }
  }
};

// A block of the two kernels below has one tile of queries of one head; `head` counts the heads of
// all sequences.
struct QueryTile {
  int tile, head, b, h;
};
template <typename Layer>
LR_DEVICE QueryTile OwnTile(const Params& p) {
  const auto head = static_cast<int>(Layer::Block() / p.n_query_tile);
  return {static_cast<int>(Layer::Block() % p.n_query_tile), head, head / p.n_head,
          head % p.n_head};
}

template <typename TheLayer, int kHeadDim, typename TheParams>
struct BeginSumsKernel {
  using Layer = TheLayer;
  using Params = TheParams;
  static int SharedBytes(const Params& /*p*/) { return Params::kAddsIntegers ? 2 * 4 * kWarps : 0; }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.n_query_tile;
  }

  static LR_DEVICE void Run(const Params& p) {
    const QueryTile own = OwnTile<Layer>(p);
    constexpr int kTileSums = QueryPart<Layer, kHeadDim>::kTileSums;
    constexpr std::uint32_t kZeros[4] = {};
    auto* const sums = p.of_queries.sums + Layer::Block() * kTileSums;
    constexpr int kAtOnce = 16 / static_cast<int>(sizeof *sums);
    for (int at = kAtOnce * Layer::Thread(); at < kTileSums; at += kAtOnce * kThreads) {
      Layer::StoreWords(sums + at, kZeros);
    }
    if constexpr (Params::kAddsIntegers) ChooseFactors(p, own);
  }

  static LR_DEVICE void ChooseFactors(const Params& p, const QueryTile& own) {
    const auto [tile, head, b, h] = own;
    typename Layer::Arena arena;
    const auto of_warps = arena.template Take<float>(2 * kWarps);
    const std::int64_t kv_head = static_cast<std::int64_t>(b) * p.n_kv_head + h / p.group;
    float maxima[2] = {0.0F, 0.0F};
    for (int at = Layer::Thread(); at < p.n_tile; at += kThreads) {
      LR_UNROLL
      for (int i = 0; i < 2; ++i) {
        maxima[i] = Larger(maxima[i], p.maxima[2 * (kv_head * p.n_tile + at) + i]);
      }
    }
    BlockMax<Layer>(of_warps, maxima);

    const int i = tile * kRows + Layer::Thread();
    if (Layer::Thread() >= kRows || i >= p.n_query) return;
    const std::int64_t at = static_cast<std::int64_t>(head) * p.n_query + i;
    float sum = 0.0F;
    for (int c = 0; c < p.head_dim; c += kChunk) {
      alignas(16) float x[kChunk];
      ReadEight<Layer>(p.o_gradient, p.o_gradient.At(b, h, i) + c, x);
      LR_UNROLL
      for (int e = 0; e < kChunk; ++e) sum += fabsf(x[e]);
    }
    const float bound = (sum * maxima[1] + fabsf(p.delta[at])) * maxima[0];
    p.of_queries.factors[at] = FactorOf(bound);
    p.of_queries.is_infinite[at] = 0;
  }

  // The largest power of two that makes the bound less than 2^kBits, if it and its inverse are
  // normal numbers.
  static LR_DEVICE float FactorOf(float bound) {
    constexpr int kBias = 127, kExponentMax = 126;
    std::uint32_t bits = 0;
    __builtin_memcpy(&bits, &bound, sizeof bits);
    const int exponent = QuerySums::kBits - 1 + kBias - static_cast<int>(bits >> 23 & 0xff);
    bits = static_cast<std::uint32_t>(kBias + Max(-kExponentMax, Min(exponent, kExponentMax)))
           << 23;
    float factor = 0.0F;
    __builtin_memcpy(&factor, &bits, sizeof factor);
    return factor;
  }
};

template <typename TheLayer, int kHeadDim, typename TheParams>
struct EndSumsKernel {
  using Layer = TheLayer;
  using Params = TheParams;
  using Part = QueryPart<Layer, kHeadDim>;
  static int SharedBytes(const Params& /*p*/) { return 0; }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.n_query_tile;
  }

  static LR_DEVICE void Run(const Params& p) {
    const auto [tile, head, b, h] = OwnTile<Layer>(p);
    const int g = Layer::Thread() % 32 / 4;
    const auto* const sums = p.of_queries.sums + Layer::Block() * Part::kTileSums + Layer::Thread();
    LR_UNROLL
    for (int m = 0; m < Part::kFragments; ++m) {
      const int row = tile * kRows + Part::FirstRow(Layer::Thread()) + 16 * m;
      const float scales[2] = {p.product_scale, p.product_scale};
      float units[2] = {0.0F, 0.0F};
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int i = row + 8 * half + g;
        if (i >= p.n_query) continue;
        units[half] = UnitOf(p, static_cast<std::int64_t>(head) * p.n_query + i);
      }
      LR_UNROLL
      for (int pass = 0; pass < Part::kPasses; ++pass) {
        float dq[Part::kColumns / 8][4];
        LR_UNROLL
        for (int n = 0; n < Part::kColumns / 8; ++n) {
          LR_UNROLL
          for (int e = 0; e < 4; ++e) {
            const auto sum = sums[pass * Part::kPassSums + Part::SumOf(m, n, e)];
            dq[n][e] = static_cast<float>(sum) * units[e / 2];
          }
        }
        StoreRows<Layer, Bf16Math, Part::kColumns>(
            p, p.dq, b, h, row, p.n_query, Part::FirstChannel(Layer::Thread(), pass), scales, dq);
      }
    }
  }

  // Of the sums of the query at this place.
  static LR_DEVICE float UnitOf(const Params& p, std::int64_t at) {
    if constexpr (Params::kAddsIntegers) {
      const float factor = p.of_queries.factors[at];
      return p.of_queries.is_infinite[at] != 0 ? __builtin_nanf("") : 1.0F / factor;
    } else {
      return 1.0F;
    }
  }
};

}  // namespace gpu
}  // namespace longrun
