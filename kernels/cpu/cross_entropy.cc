#include "kernels/cross_entropy.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/row_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {
namespace {

// The largest number of a row. It may miss a NaN, which the sum then catches.
template <typename T>
HWY_INLINE float Largest(const T* z, std::int64_t n) {
  const F f;
  const V least = hn::Set(f, -std::numeric_limits<float>::infinity());
  V even = least, odd = least;
  std::int64_t c = 0;
  for (; c + 2 * kLanes <= n; c += 2 * kLanes) {
    even = hn::Max(even, LoadVector(z + c));
    odd = hn::Max(odd, LoadVector(z + c + kLanes));
  }
  if (c + kLanes <= n) {
    even = hn::Max(even, LoadVector(z + c));
    c += kLanes;
  }
  float largest = hn::GetLane(hn::MaxOfLanes(f, hn::Max(even, odd)));
  for (; c < n; ++c) largest = std::max(largest, ToFloat(z[c]));
  return largest;
}

template <typename T>
HWY_NOINLINE void Rows(const CrossEntropyCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = call.n_vocab;
  const auto weight = static_cast<float>(call.weight);
  for (std::int64_t row = begin; row < end; ++row) {
    const T* const z = call.logits.as<T>() + row * n;
    T* const dz = call.d_logits.is_null() ? nullptr : call.d_logits.as<T>() + row * n;
    const std::int64_t target = call.targets[row];
    const bool ignored = target == kIgnoredTarget;
    if (ignored && call.lse == nullptr) {
      call.nll[row] = 0.0F;
      if (dz != nullptr) std::fill_n(dz, n, T());
      continue;
    }
    // A row with only -inf has no probabilities: its differences are NaN,
    // and so is everything after.
    const float largest = Largest(z, n);
    const V largest_v = hn::Set(F(), largest);
    const float z_target = ignored ? 0.0F : ToFloat(z[target]);
    float sum = 0.0F;
    // fp32 exponentials are stored in dz; rounded to bf16 they would be too coarse,
    // so those are recomputed.
    constexpr bool kKept = std::is_same_v<T, float>;
    SumColumns<1>(n, &sum, [&](std::int64_t c, auto at, Kept* sums) HWY_ATTR {
      const V e = at.Keep(Exp(hn::Sub(at.Load(z + c), largest_v)));
      sums[0] = hn::Add(sums[0], e);
      if constexpr (kKept) {
        if (dz != nullptr) at.Store(e, dz + c);
      }
    });
    const double log_sum = std::log(static_cast<double>(sum));
    if (call.lse != nullptr) {
      call.lse[row] = static_cast<float>(static_cast<double>(largest) + log_sum);
    }
    call.nll[row] = ignored ? 0.0F
                            : static_cast<float>(static_cast<double>(largest) -
                                                 static_cast<double>(z_target) + log_sum);
    if (dz == nullptr) continue;
    if (ignored) {
      std::fill_n(dz, n, T());
      continue;
    }
    const float factor = weight / sum;
    const V factor_v = hn::Set(F(), factor);
    ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
      V e;
      if constexpr (kKept) {
        e = at.Load(dz + c);
      } else {
        e = Exp(hn::Sub(at.Load(z + c), largest_v));
      }
      at.Store(hn::Mul(e, factor_v), dz + c);
    });
    // Uses the numbers before rounding: the probability of a likely target is only
    // slightly less than 1.
    HWY_ALIGN float one[kLanes];
    StoreVector(Exp(hn::Set(F(), z_target - largest)), one);
    StoreOne(one[0] * factor - weight, dz + target);
  }
}

}  // namespace

void CrossEntropyOf(const CrossEntropyCall& call, const KernelOptions& options) {
  WithType(call.logits.type(), [&](auto element) {
    ForParts(options, call.n_row, [&](std::int64_t begin, std::int64_t end) {
      Rows<decltype(element)>(call, begin, end);
    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace longrun {

void CrossEntropy(const CrossEntropyCall& call, const KernelOptions& options) {
  LR_CHECK(call.n_row >= 0 && call.n_vocab > 0);
  if (call.n_row == 0) return;
  LR_CHECK(!call.logits.is_null() && call.targets != nullptr && call.nll != nullptr);
  LR_CHECK(call.d_logits.is_null() || call.d_logits.type() == call.logits.type());
  for (std::int64_t row = 0; row < call.n_row; ++row) {
    const std::int64_t target = call.targets[row];
    LR_CHECK(target == kIgnoredTarget || (target >= 0 && target < call.n_vocab));
  }
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(CrossEntropyOf, options.simd)(call, options);
}

}  // namespace longrun

#endif  // HWY_ONCE
