#include "kernels/activation.h"

#include <vector>

#include "kernels/cpu/row_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {
namespace {

// db is summed over blocks of this many rows, and then over the blocks in order.
constexpr std::int64_t kBlockRows = 64;

struct ValueAndSlope {
  Kept value, slope;
};

// x s and s + x s', where s' = ds/dx.
HWY_INLINE ValueAndSlope Weighted(V x, V s, V ds) {
  return {.value = hn::Mul(x, s), .slope = hn::MulAdd(x, ds, s)};
}

struct GeluNew {
  static HWY_INLINE V Value(V x) { return hn::Mul(x, Sigmoid(Argument(x))); }
  static HWY_INLINE ValueAndSlope Both(V x) {
    const V s = Sigmoid(Argument(x));
    const V du = hn::MulAdd(hn::Mul(x, x), hn::Set(F(), 3.0F * kCubic), hn::Set(F(), kLinear));
    return Weighted(x, s, hn::Mul(hn::NegMulAdd(s, s, s), du));
  }

 private:
  static constexpr float kLinear = 1.5957691216F;  // 2 sqrt(2 / pi)
  static constexpr float kCubic = 1.5957691216F * 0.044715F;
  static HWY_INLINE V Argument(V x) {
    return hn::Mul(x, hn::MulAdd(hn::Mul(x, x), hn::Set(F(), kCubic), hn::Set(F(), kLinear)));
  }
};

struct Gelu {
  static HWY_INLINE V Value(V x) {
    return hn::NegMulAdd(hn::Abs(x), NormalTailOf(x).tail, hn::Max(hn::Zero(F()), x));
  }
  static HWY_INLINE ValueAndSlope Both(V x) {
    const NormalTail normal = NormalTailOf(x);
    const V below = hn::IfThenElse(hn::Lt(x, hn::Zero(F())), normal.tail,
                                   hn::Sub(hn::Set(F(), 1.0F), normal.tail));
    return Weighted(x, below, normal.density);
  }
};

struct Silu {
  static HWY_INLINE V Value(V x) { return hn::Mul(x, Sigmoid(x)); }
  static HWY_INLINE ValueAndSlope Both(V x) {
    const V s = Sigmoid(x);
    return Weighted(x, s, hn::NegMulAdd(s, s, s));
  }
};

template <typename Function>
void WithActivation(Activation activation, Function&& f) {
  switch (activation) {
    case Activation::kGeluNew:
      return f(GeluNew());
    case Activation::kGelu:
      return f(Gelu());
    case Activation::kSilu:
      return f(Silu());
  }
}

template <typename A, typename T>
HWY_NOINLINE void ForwardRows(const ActivationForwardCall& call, std::int64_t begin,
                              std::int64_t end) {
  const std::int64_t n = call.shape.n_channel;
  const float* const bias = call.bias;
  for (std::int64_t row = begin; row < end; ++row) {
    const T* const h = call.h.as<T>() + row * n;
    T* const y = call.y.as<T>() + row * n;
    ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
      V x = at.Load(h + c);
      if (bias != nullptr) x = hn::Add(x, at.Load(bias + c));
      at.Store(A::Value(x), y + c);
    });
  }
}

template <typename A, typename T>
HWY_NOINLINE void BackwardRows(const ActivationBackwardCall& call, std::int64_t begin,
                               std::int64_t end, float* d_bias) {
  const std::int64_t n = call.shape.n_channel;
  const float* const bias = call.bias;
  for (std::int64_t row = begin; row < end; ++row) {
    const T* const h = call.h.as<T>() + row * n;
    const T* const dy = call.dy.as<T>() + row * n;
    T* const dh = call.dh.as<T>() + row * n;
    ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
      V x = at.Load(h + c);
      if (bias != nullptr) x = hn::Add(x, at.Load(bias + c));
      const V d = hn::Mul(at.Load(dy + c), A::Both(x).slope);
      if (d_bias != nullptr) at.Store(hn::Add(at.Load(d_bias + c), d), d_bias + c);
      at.Store(d, dh + c);
    });
  }
}

template <typename A, typename T>
HWY_NOINLINE void GatedRows(const GatedForwardCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = call.shape.n_channel;
  const T* const gate = call.gate.as<T>() + begin * n;
  const T* const up = call.up.as<T>() + begin * n;
  T* const y = call.y.as<T>() + begin * n;
  ForColumns((end - begin) * n, [&](std::int64_t c, auto at) HWY_ATTR {
    at.Store(hn::Mul(A::Value(at.Load(gate + c)), at.Load(up + c)), y + c);
  });
}

template <typename A, typename T>
HWY_NOINLINE void GatedBackwardRows(const GatedBackwardCall& call, std::int64_t begin,
                                    std::int64_t end) {
  const std::int64_t n = call.shape.n_channel;
  const T* const gate = call.gate.as<T>() + begin * n;
  const T* const up = call.up.as<T>() + begin * n;
  const T* const dy = call.dy.as<T>() + begin * n;
  T* const d_gate = call.d_gate.as<T>() + begin * n;
  T* const d_up = call.d_up.as<T>() + begin * n;
  ForColumns((end - begin) * n, [&](std::int64_t c, auto at) HWY_ATTR {
    const ValueAndSlope f = A::Both(at.Load(gate + c));
    const V d = at.Load(dy + c);
    at.Store(hn::Mul(hn::Mul(d, at.Load(up + c)), f.slope), d_gate + c);
    at.Store(hn::Mul(d, f.value), d_up + c);
  });
}

// Calls rows(activation, element type, begin, end) for parts of all rows.
template <bool kGradients, typename Rows>
void ForRows(const ActivationShape& shape, Scalar type, const KernelOptions& options,
             const Rows& rows) {
  WithActivation(shape.activation, [&](auto activation) {
    const auto parts = [&](auto element) {
      ForParts(options, shape.n_row, [&](std::int64_t begin, std::int64_t end) {
        rows(activation, element, begin, end);
      });
    };
    if constexpr (kGradients) {
      WithTrainedType(type, parts);
    } else {
      WithType(type, parts);
    }
  });
}

}  // namespace

void ActivationForwardOf(const ActivationForwardCall& call, const KernelOptions& options) {
  ForRows<false>(call.shape, call.h.type(), options,
                 [&](auto activation, auto element, std::int64_t begin, std::int64_t end) {
                   ForwardRows<decltype(activation), decltype(element)>(call, begin, end);
                 });
}

void ActivationBackwardOf(const ActivationBackwardCall& call, const KernelOptions& options) {
  const std::int64_t n_row = call.shape.n_row, n = call.shape.n_channel;
  const std::int64_t n_block = (n_row + kBlockRows - 1) / kBlockRows;
  std::vector<float> sums(call.d_bias == nullptr ? 0 : static_cast<std::size_t>(n_block * n));
  ActivationShape blocks = call.shape;
  blocks.n_row = n_block;
  ForRows<true>(blocks, call.h.type(), options,
                [&](auto activation, auto element, std::int64_t first, std::int64_t last) {
                  for (std::int64_t block = first; block < last; ++block) {
                    BackwardRows<decltype(activation), decltype(element)>(
                        call, block * kBlockRows, std::min(n_row, (block + 1) * kBlockRows),
                        sums.empty() ? nullptr : sums.data() + block * n);
                  }
                });
  if (call.d_bias == nullptr) return;
  ForColumns(n, [&](std::int64_t c, auto at) HWY_ATTR {
    V sum = hn::Zero(F());
    for (std::int64_t block = 0; block < n_block; ++block) {
      sum = hn::Add(sum, at.Load(sums.data() + block * n + c));
    }
    at.Store(sum, call.d_bias + c);
  });
}

void GatedForwardOf(const GatedForwardCall& call, const KernelOptions& options) {
  ForRows<false>(call.shape, call.gate.type(), options,
                 [&](auto activation, auto element, std::int64_t begin, std::int64_t end) {
                   GatedRows<decltype(activation), decltype(element)>(call, begin, end);
                 });
}

void GatedBackwardOf(const GatedBackwardCall& call, const KernelOptions& options) {
  ForRows<true>(call.shape, call.gate.type(), options,
                [&](auto activation, auto element, std::int64_t begin, std::int64_t end) {
                  GatedBackwardRows<decltype(activation), decltype(element)>(call, begin, end);
                });
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace longrun {
namespace {

// Whether a call of this shape has work; if so, its tensors must be given and have one type.
template <typename... Tensors>
bool HasWork(const ActivationShape& shape, const Tensors&... tensors) {
  LR_CHECK(shape.n_row >= 0 && shape.n_channel > 0);
  if (shape.n_row == 0) return false;
  LR_CHECK((!tensors.is_null() && ...));
  const Scalar types[] = {tensors.type()...};
  LR_CHECK(((tensors.type() == types[0]) && ...));
  return true;
}

}  // namespace

std::optional<Activation> FindActivation(std::string_view name) {
  if (name == "gelu_new") return Activation::kGeluNew;
  if (name == "gelu") return Activation::kGelu;
  if (name == "silu") return Activation::kSilu;
  return std::nullopt;
}

void ActivationForward(const ActivationForwardCall& call, const KernelOptions& options) {
  if (!HasWork(call.shape, call.h, call.y)) return;
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(ActivationForwardOf, options.simd)(call, options);
}

void ActivationBackward(const ActivationBackwardCall& call, const KernelOptions& options) {
  HasWork(call.shape, call.h, call.dy, call.dh);  // d_bias is written in any case
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(ActivationBackwardOf, options.simd)(call, options);
}

void GatedForward(const GatedForwardCall& call, const KernelOptions& options) {
  if (!HasWork(call.shape, call.gate, call.up, call.y)) return;
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(GatedForwardOf, options.simd)(call, options);
}

void GatedBackward(const GatedBackwardCall& call, const KernelOptions& options) {
  if (!HasWork(call.shape, call.gate, call.up, call.dy, call.d_gate, call.d_up)) return;
  const ScopedSubnormals mode(options.subnormals);
  LONGRUN_OF_SIMD(GatedBackwardOf, options.simd)(call, options);
}

}  // namespace longrun

#endif  // HWY_ONCE
