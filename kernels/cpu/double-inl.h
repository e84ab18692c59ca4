// The functions of a gate on vectors of doubles. Included once for each compilation target.
#if defined(LONGRUN_KERNELS_CPU_DOUBLE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_DOUBLE_INL_H
#undef LONGRUN_KERNELS_CPU_DOUBLE_INL_H
#else
#define LONGRUN_KERNELS_CPU_DOUBLE_INL_H
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<double>;
using VD = hn::Vec<D>;
inline constexpr std::int64_t kDoubleLanes = static_cast<std::int64_t>(hn::MaxLanes(D()));

// to[i] = f(from[i]) for i < n. The end goes through a buffer, so that no vector reaches beyond n.
template <typename Function>
HWY_INLINE void Map(std::int64_t n, const double* from, double* to, const Function& f) {
  std::int64_t i = 0;
  for (; i + kDoubleLanes <= n; i += kDoubleLanes) {
    hn::StoreU(f(hn::LoadU(D(), from + i)), D(), to + i);
  }
  if (i == n) return;
  HWY_ALIGN double rest[kDoubleLanes] = {};
  std::copy(from + i, from + n, rest);
  hn::Store(f(hn::Load(D(), rest)), D(), rest);
  std::copy_n(rest, n - i, to + i);
}

// max(x, 0) + log(1 + e^-|x|).
HWY_INLINE VD Softplus(VD x) {
  const VD e = hn::Exp(D(), hn::Neg(hn::Abs(x)));
  const VD y = hn::Add(hn::Max(hn::Zero(D()), x), hn::Log1p(D(), e));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// e never overflows.
HWY_INLINE VD SigmoidOf(VD x) {
  const VD one = hn::Set(D(), 1.0);
  const VD e = hn::Exp(D(), hn::Neg(hn::Abs(x)));
  const VD y = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(D())), e, one), hn::Add(one, e));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
