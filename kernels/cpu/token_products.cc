#include "kernels/token_products.h"

#include <algorithm>

#include "kernels/cpu/row_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/token_products.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {
namespace {

constexpr int kVectorsTogether = 4;  // of o in registers
constexpr int kKeysTogether = 4;     // whose products share the loads of q
constexpr std::int64_t kChain = 64;  // keys that are summed before they are added to o: keeps the
                                     // rounding error of a long text small

template <int kKeys>
HWY_INLINE void Dots(const float* q, const float* k, std::int64_t n, float* scores) {
  Kept sums[kKeys];
  for (int key = 0; key < kKeys; ++key) sums[key] = hn::Zero(F());
  ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
    const V q_v = at.Load(q + c);
    for (int key = 0; key < kKeys; ++key) {
      sums[key] = hn::MulAdd(at.Keep(q_v), at.Load(k + key * n + c), sums[key]);
    }
  });
  for (int key = 0; key < kKeys; ++key) {
    const V sum = hn::SumOfLanes(F(), sums[key]);
    scores[key] = hn::GetLane(sum);
  }
}

// Adds the weighted sum of keys [0, n_key), at most kChain of them, to kVectors vectors of o.
template <int kVectors, typename At>
HWY_INLINE void AddChain(const float* p, const float* v, std::int64_t n, std::int64_t n_key, At at,
                         float* o) {
  Kept even[kVectors], odd[kVectors];
  for (int c = 0; c < kVectors; ++c) even[c] = odd[c] = hn::Zero(F());
  std::int64_t j = 0;
  for (; j + 2 <= n_key; j += 2) {
    const V p_even = hn::Set(F(), p[j]), p_odd = hn::Set(F(), p[j + 1]);
    for (int c = 0; c < kVectors; ++c) {
      even[c] = hn::MulAdd(p_even, at.Load(v + j * n + c * kLanes), even[c]);
      odd[c] = hn::MulAdd(p_odd, at.Load(v + (j + 1) * n + c * kLanes), odd[c]);
    }
  }
  if (j < n_key) {
    const V p_even = hn::Set(F(), p[j]);
    for (int c = 0; c < kVectors; ++c) {
      even[c] = hn::MulAdd(p_even, at.Load(v + j * n + c * kLanes), even[c]);
    }
  }
  for (int c = 0; c < kVectors; ++c) {
    const V sum = hn::Add(even[c], odd[c]);
    at.Store(hn::Add(at.Load(o + c * kLanes), sum), o + c * kLanes);
  }
}

}  // namespace

void ScoresOfRows(const TokenScoresCall& call, std::int64_t begin, std::int64_t end) {
  const auto [n_row, group, n_key, n, matrix_step, row_step] = call.shape;
  for (std::int64_t row = begin; row < end; ++row) {
    const float* const q = call.q + row * n;
    const float* const k = call.k + row / group * matrix_step;
    float* const scores = call.scores + row * row_step;
    std::int64_t j = 0;
    for (; j + kKeysTogether <= n_key; j += kKeysTogether) {
      Dots<kKeysTogether>(q, k + j * n, n, scores + j);
    }
    for (; j < n_key; ++j) Dots<1>(q, k + j * n, n, scores + j);
  }
}

void MixOfRows(const TokenMixCall& call, std::int64_t begin, std::int64_t end) {
  const auto [n_row, group, n_key, n, matrix_step, row_step] = call.shape;
  for (std::int64_t row = begin; row < end; ++row) {
    const float* const p = call.p + row * row_step;
    const float* const v = call.v + row / group * matrix_step;
    float* const o = call.o + row * n;
    for (std::int64_t j = 0; j < n_key; j += kChain) {
      const std::int64_t n_chain = std::min(kChain, n_key - j);
      std::int64_t c = 0;
      for (; c + kVectorsTogether * kLanes <= n; c += kVectorsTogether * kLanes) {
        AddChain<kVectorsTogether>(p + j, v + j * n + c, n, n_chain, Whole(), o + c);
      }
      for (; c + kLanes <= n; c += kLanes) {
        AddChain<1>(p + j, v + j * n + c, n, n_chain, Whole(), o + c);
      }
      if (c < n) AddChain<1>(p + j, v + j * n + c, n, n_chain, Part{n - c}, o + c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace longrun {
namespace {

void Check(const TokenProductShape& s) {
  LR_CHECK(s.n_row >= 0 && s.group > 0 && s.n_row % s.group == 0 && s.n_key >= 0);
  LR_CHECK(s.head_dim >= 0 && s.matrix_step >= s.n_key * s.head_dim && s.row_step >= s.n_key);
}

}  // namespace

void TokenScores(const TokenScoresCall& call, const KernelOptions& options) {
  Check(call.shape);
  LR_CHECK(call.shape.n_row * call.shape.n_key == 0 ||
           (call.q != nullptr && call.k != nullptr && call.scores != nullptr));
  const auto rows = LONGRUN_OF_SIMD(ScoresOfRows, options.simd);
  ForParts(options, call.shape.n_row,
           [&](std::int64_t begin, std::int64_t end) { rows(call, begin, end); });
}

void TokenMix(const TokenMixCall& call, const KernelOptions& options) {
  Check(call.shape);
  LR_CHECK(call.shape.n_row * call.shape.n_key == 0 ||
           (call.p != nullptr && call.v != nullptr && call.o != nullptr));
  const auto rows = LONGRUN_OF_SIMD(MixOfRows, options.simd);
  ForParts(options, call.shape.n_row,
           [&](std::int64_t begin, std::int64_t end) { rows(call, begin, end); });
}

}  // namespace longrun

#endif  // HWY_ONCE
