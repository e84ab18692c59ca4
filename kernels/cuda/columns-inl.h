// What the kernels over rows (norm-inl.h, activation-inl.h, cross_entropy-inl.h) share: chunks of
// eight channels, which a rotation (rows-inl.h) also stores, and sums over rows.
//
// A sum over rows takes two kernels. The first one gives each block a range of rows and leaves the
// sums of its range in working memory, (ranges, C); PartialSumKernel adds the ranges in their
// order. How rows are divided depends only on the sizes, so the bits are the same each time and on
// every GPU.
#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/device.h"

namespace longrun {
namespace gpu {

using Bf16Bits = std::uint16_t;
struct Fp16Bits {
  std::uint16_t bits;
};

// ---- chunks ------------------------------------------------------------------------------------

// Whether an array begins at a multiple of 16 bytes, as its chunks then do. Null does.
inline bool IsAligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

LR_DEVICE float Widened(float x) { return x; }
LR_DEVICE float Widened(Bf16Bits x) { return FromBf16(x); }
LR_DEVICE float Widened(Fp16Bits x) { return FromFp16(x.bits); }
LR_DEVICE void Narrow(float x, float& to) { to = x; }
LR_DEVICE void Narrow(float x, Bf16Bits& to) { to = ToBf16(x); }
LR_DEVICE void Narrow(float x, Fp16Bits& to) { to.bits = ToFp16(x); }

// Whether channel c exists. Only a chunk that is read element by element may reach beyond the row.
template <bool kAligned>
LR_DEVICE bool Exists(int c, int n_channel) {
  return kAligned || c < n_channel;
}

// Eight channels of a row, from channel c. With kAligned all of them exist, and begin at a multiple
// of 16 bytes; else those that do not exist are 0.
template <typename Layer, bool kAligned, typename T>
LR_DEVICE void ReadChunk(const T* row, int c, int n_channel, T (&x)[kChunk]) {
  if constexpr (kAligned) {
    Layer::LoadEight(row + c, x);
  } else {
    LR_UNROLL
    for (int i = 0; i < kChunk; ++i) x[i] = c + i < n_channel ? row[c + i] : T{};
  }
}

template <typename Layer>
LR_DEVICE void StoreChunk(float* to, const float (&x)[kChunk]) {
  LR_UNROLL
  for (int half = 0; half < 2; ++half) {
    std::uint32_t words[4];
    __builtin_memcpy(words, x + 4 * half, sizeof words);
    Layer::StoreWords(to + 4 * half, words);
  }
}
template <typename Layer, typename TwoBytes>
LR_DEVICE void StoreChunk(TwoBytes* to, const float (&x)[kChunk]) {
  constexpr int kScalar = std::is_same_v<TwoBytes, Fp16Bits> ? kScalarFp16 : kScalarBf16;
  std::uint32_t words[4];
  LR_UNROLL
  for (int w = 0; w < 4; ++w) words[w] = PackTwo<Layer>(kScalar, x[2 * w], x[2 * w + 1]);
  Layer::StoreWords(to, words);
}
template <typename Layer, bool kAligned, typename T>
LR_DEVICE void WriteChunk(T* row, int c, int n_channel, const float (&x)[kChunk]) {
  if constexpr (kAligned) {
    StoreChunk<Layer>(row + c, x);
  } else {
    LR_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      if (c + i < n_channel) Narrow(x[i], row[c + i]);
    }
  }
}

// ---- sums over rows ----------------------------------------------------------------------------

// The rows of a range: a multiple of `least`, so that there are at most 1,024 ranges.
inline std::int64_t RowsOfRange(std::int64_t n_row, std::int64_t least) {
  constexpr std::int64_t kRangesMax = 1024;
  const std::int64_t n_least = (n_row + least - 1) / least;
  return least * std::max<std::int64_t>(1, (n_least + kRangesMax - 1) / kRangesMax);
}
inline std::int64_t RangesOf(std::int64_t n_row, std::int64_t rows_of_range) {
  return (n_row + rows_of_range - 1) / rows_of_range;
}

// One or two arrays of partial sums, and where their totals go.
struct PartialSums {
  const float* partial[2] = {};  // (n_part, n_channel)
  float* total[2] = {};
  std::int64_t n_part = 0;
  int n_channel = 0, n_sum = 1;
};

// A block adds the parts of 8 channels, which are one sector of memory: each of 16 threads adds
// every 16th part, and one adds what they found.
template <typename TheLayer>
struct PartialSumKernel {
  using Layer = TheLayer;
  using Params = PartialSums;
  static constexpr int kColumns = 8, kLanes = kThreads / kColumns;
  static constexpr int kAhead = 8;  // loads that do not wait for one another
  static int SharedBytes(const Params& /*p*/) { return kThreads * 4; }
  static std::int64_t Blocks(const Params& p) { return p.n_sum * std::int64_t{Groups(p)}; }
  static LR_BOTH int Groups(const Params& p) { return (p.n_channel + kColumns - 1) / kColumns; }

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const auto shares = arena.template Take<float>(kThreads);
    const auto block = static_cast<int>(Layer::Block());
    const bool is_second = block >= Groups(p);
    const float* const partial = is_second ? p.partial[1] : p.partial[0];
    const int group = is_second ? block - Groups(p) : block;
    const int c = group * kColumns + Layer::Thread() % kColumns;
    float sum = 0.0F;
    if (c < p.n_channel) {
      for (std::int64_t first = Layer::Thread() / kColumns; first < p.n_part;
           first += kAhead * kLanes) {
        float x[kAhead];
        LR_UNROLL
        for (int i = 0; i < kAhead; ++i) {
          const std::int64_t part = first + i * kLanes;
          x[i] = part < p.n_part ? partial[part * p.n_channel + c] : 0.0F;
        }
        LR_UNROLL
        for (int i = 0; i < kAhead; ++i) sum += x[i];
      }
    }
    shares.Set(Layer::Thread(), sum);
    Layer::Barrier();
    if (Layer::Thread() >= kColumns || c >= p.n_channel) return;
    float total = 0.0F;
    for (int lane = 0; lane < kLanes; ++lane) {
      total += shares.Get(lane * kColumns + Layer::Thread());
    }
    (is_second ? p.total[1] : p.total[0])[c] = total;
  }
};

}  // namespace gpu
}  // namespace longrun
