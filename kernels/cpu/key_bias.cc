#include "kernels/key_bias.h"

#include <vector>

#include "kernels/cpu/row_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/key_bias.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/double-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {
namespace {

// Computes sigma(a) for positions [begin, end) of a sequence.
HWY_INLINE void ReadGates(const KeyBiasShape& n, const float* a, std::int64_t begin,
                          std::int64_t end, double* gates) {
  const double sign = n.log_sigmoid ? -1.0 : 1.0;
  const float* const from = a + begin * n.n_head;
  for (std::int64_t i = 0; i < (end - begin) * n.n_head; ++i) {
    gates[i] = sign * static_cast<double>(from[i]);
  }
}

HWY_NOINLINE void ForwardSequence(const KeyBiasForwardCall& call, std::int64_t b) {
  const KeyBiasShape& n = call.shape;
  const std::int64_t n_block = (n.n_key + kKeyBiasBlock - 1) / kKeyBiasBlock;
  const double sign = call.negated ? 1.0 : -1.0;
  std::vector<double> steps(static_cast<std::size_t>(kKeyBiasBlock * n.n_head));
  std::vector<double> anchor(static_cast<std::size_t>(n.n_head));
  std::vector<double> sums(anchor.size());  // sums of the block
  for (std::int64_t h = 0; h < n.n_head && call.before != nullptr; ++h) {
    const double before = call.before[b * n.n_head + h];
    anchor[static_cast<std::size_t>(h)] = call.negated ? -before : before;
  }
  for (std::int64_t block = 0; block < n_block; ++block) {
    const std::int64_t begin = block * kKeyBiasBlock;
    const std::int64_t end = std::min(n.n_key, begin + kKeyBiasBlock);
    ReadGates(n, call.a + b * n.n_key * n.n_head, begin, end, steps.data());
    Map((end - begin) * n.n_head, steps.data(), steps.data(),
        [](VD x) HWY_ATTR { return Softplus(x); });
    // The heads are added side by side, so that no addition waits for the one before it.
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::int64_t t = begin; t < end; ++t) {
      const double* const step = steps.data() + (t - begin) * n.n_head;
      for (std::int64_t h = 0; h < n.n_head; ++h) {
        double& sum = sums[static_cast<std::size_t>(h)];
        sum += sign * step[h];
        const std::int64_t at = (b * n.n_head + h) * n.n_key + t;
        if (call.r != nullptr) {
          call.r[at] = anchor[static_cast<std::size_t>(h)] + sum;
        } else {
          call.local[at] = static_cast<float>(sum);
        }
      }
    }
    for (std::int64_t h = 0; h < n.n_head; ++h) {
      double& before = anchor[static_cast<std::size_t>(h)];
      if (call.anchor != nullptr) call.anchor[(b * n.n_head + h) * n_block + block] = before;
      before += sums[static_cast<std::size_t>(h)];
    }
  }
}

HWY_NOINLINE void BackwardSequence(const KeyBiasBackwardCall& call, std::int64_t b) {
  const KeyBiasShape& n = call.shape;
  const std::int64_t n_block = (n.n_key + kKeyBiasBlock - 1) / kKeyBiasBlock;
  const double sign = (n.log_sigmoid ? 1.0 : -1.0) * (call.negated ? -1.0 : 1.0);
  std::vector<double> slopes(static_cast<std::size_t>(kKeyBiasBlock * n.n_head));
  std::vector<double> behind(static_cast<std::size_t>(n.n_head));
  for (std::int64_t block = n_block; block-- > 0;) {
    const std::int64_t begin = block * kKeyBiasBlock;
    const std::int64_t end = std::min(n.n_key, begin + kKeyBiasBlock);
    ReadGates(n, call.a + b * n.n_key * n.n_head, begin, end, slopes.data());
    Map((end - begin) * n.n_head, slopes.data(), slopes.data(),
        [](VD x) HWY_ATTR { return SigmoidOf(x); });
    for (std::int64_t h = 0; h < n.n_head; ++h) {
      double& sum = behind[static_cast<std::size_t>(h)];
      for (std::int64_t t = end; t-- > begin;) {
        sum += call.dr[(b * n.n_head + h) * n.n_key + t];
        call.da[(b * n.n_key + t) * n.n_head + h] = static_cast<float>(
            sign * slopes[static_cast<std::size_t>((t - begin) * n.n_head + h)] * sum);
      }
    }
  }
}

}  // namespace

void KeyBiasForwardOf(const KeyBiasForwardCall& call, const KernelOptions& options) {
  ForParts(options, call.shape.batch, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) ForwardSequence(call, b);
  });
}

void KeyBiasBackwardOf(const KeyBiasBackwardCall& call, const KernelOptions& options) {
  ForParts(options, call.shape.batch, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) BackwardSequence(call, b);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace longrun {
namespace {

bool HasWork(const KeyBiasShape& shape) {
  LR_CHECK(shape.batch >= 0 && shape.n_head >= 0 && shape.n_key >= 0);
  return shape.batch * shape.n_head * shape.n_key > 0;
}

}  // namespace

void KeyBiasForward(const KeyBiasForwardCall& call, const KernelOptions& options) {
  if (!HasWork(call.shape)) return;
  LR_CHECK(call.a != nullptr && (call.local == nullptr) == (call.anchor == nullptr));
  LR_CHECK((call.r == nullptr) != (call.local == nullptr));
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(KeyBiasForwardOf, options.simd)(call, options);
}

void KeyBiasBackward(const KeyBiasBackwardCall& call, const KernelOptions& options) {
  if (!HasWork(call.shape)) return;
  LR_CHECK(call.a != nullptr && call.dr != nullptr && call.da != nullptr);
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(KeyBiasBackwardOf, options.simd)(call, options);
}

}  // namespace longrun

#endif  // HWY_ONCE
