#include "kernels/norm.h"

#include <cmath>
#include <vector>

#include "kernels/cpu/row_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {
namespace {

// dgamma and dbeta are summed over blocks of this many rows, and then over the blocks in order.
constexpr std::int64_t kBlockRows = 64;
constexpr std::int64_t kColumnStep = 256;

template <typename A, typename Y>
HWY_NOINLINE void ForwardRows(const NormForwardCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = call.shape.n_channel;
  const float scale = 1.0F / static_cast<float>(n);
  for (std::int64_t row = begin; row < end; ++row) {
    const float* s = call.x + row * n;
    float total = 0.0F;
    if (!call.addend.is_null()) {
      const float* const x = s;
      const A* const a = call.addend.as<A>() + row * n;
      float* const sum = call.sum + row * n;
      SumColumns<1>(n, &total, [&](std::int64_t c, auto at, Kept* sums) HWY_ATTR {
        const V v = hn::Add(at.Load(x + c), at.Load(a + c));
        at.Store(v, sum + c);
        sums[0] = hn::Add(sums[0], v);
      });
      s = sum;
    } else if (call.shape.centred) {
      SumColumns<1>(n, &total, [&](std::int64_t c, auto at, Kept* sums) HWY_ATTR {
        sums[0] = hn::Add(sums[0], at.Load(s + c));
      });
    }
    const float mean = call.shape.centred ? total * scale : 0.0F;
    const V mean_v = hn::Set(F(), mean);
    float squares = 0.0F;
    SumColumns<1>(n, &squares, [&](std::int64_t c, auto at, Kept* sums) HWY_ATTR {
      const V v = at.Keep(hn::Sub(at.Load(s + c), mean_v));
      sums[0] = hn::MulAdd(v, v, sums[0]);
    });
    const float rstd = 1.0F / std::sqrt(squares * scale + static_cast<float>(call.shape.epsilon));
    const V rstd_v = hn::Set(F(), rstd);
    Y* const y = call.y.as<Y>() + row * n;
    if (call.beta != nullptr) {
      ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
        const V normed = hn::Mul(hn::Sub(at.Load(s + c), mean_v), rstd_v);
        at.Store(hn::MulAdd(normed, at.Load(call.gamma + c), at.Load(call.beta + c)), y + c);
      });
    } else {
      ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
        const V normed = hn::Mul(hn::Sub(at.Load(s + c), mean_v), rstd_v);
        at.Store(hn::Mul(normed, at.Load(call.gamma + c)), y + c);
      });
    }
    if (call.mean != nullptr) call.mean[row] = mean;
    call.rstd[row] = rstd;
  }
}

// `d_gamma` and `d_beta` are this block's own sums, or null.
template <typename Y>
HWY_NOINLINE void BackwardRow(const NormBackwardCall& call, std::int64_t row, float* d_gamma,
                              float* d_beta) {
  const std::int64_t n = call.shape.n_channel;
  const float scale = 1.0F / static_cast<float>(n);
  const Y* const dy = call.dy.as<Y>() + row * n;
  const float* const s = call.sum + row * n;
  const V mean = hn::Set(F(), call.shape.centred ? call.mean[row] : 0.0F);
  const V rstd = hn::Set(F(), call.rstd[row]);
  float totals[2];  // sums of g and of g n
  SumColumns<2>(n, totals, [&](std::int64_t c, auto at, Kept* sums) HWY_ATTR {
    const V d = at.Load(dy + c);
    const V normed = hn::Mul(hn::Sub(at.Load(s + c), mean), rstd);
    const V g = hn::Mul(d, at.Load(call.gamma + c));
    sums[0] = hn::Add(sums[0], g);
    sums[1] = hn::MulAdd(g, normed, sums[1]);
    if (d_gamma != nullptr) at.Store(hn::MulAdd(d, normed, at.Load(d_gamma + c)), d_gamma + c);
    if (d_beta != nullptr) at.Store(hn::Add(d, at.Load(d_beta + c)), d_beta + c);
  });
  const V mean_g = hn::Set(F(), call.shape.centred ? totals[0] * scale : 0.0F);
  const V mean_gn = hn::Set(F(), totals[1] * scale);
  float* const dx = call.dx + row * n;
  ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
    const V normed = hn::Mul(hn::Sub(at.Load(s + c), mean), rstd);
    const V g = hn::Mul(at.Load(dy + c), at.Load(call.gamma + c));
    V d = hn::Mul(rstd, hn::NegMulAdd(normed, mean_gn, hn::Sub(g, mean_g)));
    if (call.d_sum != nullptr) d = hn::Add(d, at.Load(call.d_sum + row * n + c));
    at.Store(d, dx + c);
    if (call.d_addend != nullptr) at.Store(d, call.d_addend + row * n + c);
  });
}

// to[c] = the sum of the blocks' sums, in order.
void SumBlocks(const std::vector<float>& blocks, std::int64_t n_block, std::int64_t n_channel,
               std::int64_t begin, std::int64_t end, float* to) {
  ForColumns(end - begin, [&](std::int64_t c, auto at) HWY_ATTR {
    V sum = hn::Zero(F());
    for (std::int64_t block = 0; block < n_block; ++block) {
      sum = hn::Add(sum, at.Load(blocks.data() + block * n_channel + begin + c));
    }
    at.Store(sum, to + begin + c);
  });
}

void Forward(const NormForwardCall& call, const KernelOptions& options) {
  const auto parts = [&](auto a, auto y) {
    ForParts(options, call.shape.n_row, [&](std::int64_t begin, std::int64_t end) {
      ForwardRows<decltype(a), decltype(y)>(call, begin, end);
    });
  };
  WithType(call.addend.type(),
           [&](auto a) { WithType(call.y.type(), [&](auto y) { parts(a, y); }); });
}

void Backward(const NormBackwardCall& call, const KernelOptions& options) {
  const std::int64_t n_row = call.shape.n_row, n_channel = call.shape.n_channel;
  const std::int64_t n_block = (n_row + kBlockRows - 1) / kBlockRows;
  const auto n_sums = static_cast<std::size_t>(n_block * n_channel);
  std::vector<float> gammas(call.d_gamma == nullptr ? 0 : n_sums);
  std::vector<float> betas(call.d_beta == nullptr ? 0 : n_sums);
  ForParts(options, n_block, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      float* const d_gamma = gammas.empty() ? nullptr : gammas.data() + block * n_channel;
      float* const d_beta = betas.empty() ? nullptr : betas.data() + block * n_channel;
      const std::int64_t end = std::min(n_row, (block + 1) * kBlockRows);
      for (std::int64_t row = block * kBlockRows; row < end; ++row) {
        WithTrainedType(call.dy.type(),
                        [&](auto dy) { BackwardRow<decltype(dy)>(call, row, d_gamma, d_beta); });
      }
    }
  });
  if (call.d_gamma == nullptr) return;
  const std::int64_t n_part = (n_channel + kColumnStep - 1) / kColumnStep;
  ForParts(options, n_part, [&](std::int64_t first, std::int64_t last) {
    const std::int64_t begin = first * kColumnStep, end = std::min(n_channel, last * kColumnStep);
    SumBlocks(gammas, n_block, n_channel, begin, end, call.d_gamma);
    if (call.d_beta != nullptr) SumBlocks(betas, n_block, n_channel, begin, end, call.d_beta);
  });
}

}  // namespace

void NormForwardOf(const NormForwardCall& call, const KernelOptions& options) {
  Forward(call, options);
}
void NormBackwardOf(const NormBackwardCall& call, const KernelOptions& options) {
  Backward(call, options);
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace longrun {

void NormForward(const NormForwardCall& call, const KernelOptions& options) {
  LR_CHECK(call.shape.n_row >= 0 && call.shape.n_channel > 0 && call.shape.epsilon >= 0.0);
  LR_CHECK(call.gamma != nullptr && (call.shape.centred == (call.mean != nullptr)));
  if (call.shape.n_row == 0) return;
  LR_CHECK(call.addend.is_null() == (call.sum == nullptr));
  LR_CHECK(MayMeet(call.addend, call.y));
  LR_CHECK(call.x != nullptr && !call.y.is_null() && call.rstd != nullptr);
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(NormForwardOf, options.simd)(call, options);
}

void NormBackward(const NormBackwardCall& call, const KernelOptions& options) {
  LR_CHECK(call.shape.n_row >= 0 && call.shape.n_channel > 0);
  LR_CHECK(call.gamma != nullptr && (call.d_gamma != nullptr || call.d_beta == nullptr));
  if (call.shape.n_row > 0) {
    LR_CHECK(!call.dy.is_null() && call.sum != nullptr && call.rstd != nullptr);
    LR_CHECK(call.dx != nullptr && (!call.shape.centred || call.mean != nullptr));
  }
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(NormBackwardOf, options.simd)(call, options);
}

}  // namespace longrun

#endif  // HWY_ONCE
