// A row of elements as vectors of this compilation target, and the elementary functions that
// kernels over rows use. Included once for each target.
#if defined(LONGRUN_KERNELS_CPU_ROW_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_ROW_INL_H
#undef LONGRUN_KERNELS_CPU_ROW_INL_H
#else
#define LONGRUN_KERNELS_CPU_ROW_INL_H
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/elements.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using V = hn::Vec<F>;
inline constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(F()));

// A vector in an array or a structure. An SVE vector has a size there only with this attribute,
// which the compiler accepts if it is told the length: -msve-vector-bits=256 (CMakeLists.txt).
#if HWY_TARGET == HWY_SVE_256
typedef V Kept __attribute__((arm_sve_vector_bits(256)));
#else
using Kept = V;
#endif

// On these targets masked loads and stores do not touch memory outside of the mask.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SVE_256
inline constexpr bool kMasksMemory = true;
#else
inline constexpr bool kMasksMemory = false;
#endif

HWY_INLINE V LoadVector(const float* p) { return hn::LoadU(F(), p); }
HWY_INLINE void StoreVector(V v, float* p) { hn::StoreU(v, F(), p); }

HWY_INLINE V LoadVector(const Bf16* p) {
  const hn::RebindToUnsigned<F> u32;
  const hn::Rebind<std::uint16_t, F> u16;
  const auto bits = hn::PromoteTo(u32, hn::LoadU(u16, reinterpret_cast<const std::uint16_t*>(p)));
  return hn::BitCast(F(), hn::ShiftLeft<16>(bits));
}
HWY_INLINE void StoreVector(V v, Bf16* p) {
  const hn::RebindToUnsigned<F> u32;
  const hn::RebindToSigned<F> i32;
  const hn::Rebind<std::uint16_t, F> u16;
  const auto bits = hn::BitCast(u32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(u32, 0x7fff)));
  const auto quiet = hn::Or(bits, hn::Set(u32, 0x400000));  // a NaN stays a NaN
  const auto is_number = hn::RebindMask(u32, hn::Eq(v, v));
  const auto upper = hn::ShiftRight<16>(hn::IfThenElse(is_number, rounded, quiet));
  hn::StoreU(hn::DemoteTo(u16, hn::BitCast(i32, upper)), u16, reinterpret_cast<std::uint16_t*>(p));
}

// FromFp16 and ToFp16 (scalar.h) on vectors.
HWY_INLINE V LoadVector(const Fp16* p) {
  const hn::RebindToUnsigned<F> u32;
  const hn::RebindToSigned<F> i32;
  const hn::Rebind<std::uint16_t, F> u16;
  const auto bits = hn::PromoteTo(u32, hn::LoadU(u16, reinterpret_cast<const std::uint16_t*>(p)));
  const auto magnitude = hn::And(bits, hn::Set(u32, 0x7fffU));
  const auto sign = hn::ShiftLeft<16>(hn::Xor(bits, magnitude));
  const auto exponent = hn::Set(u32, 112U << 23);
  const auto number = hn::Add(hn::ShiftLeft<13>(magnitude), exponent);
  const auto is_number = hn::Lt(magnitude, hn::Set(u32, 0x7c00U));
  const auto wide = hn::IfThenElse(is_number, number, hn::Add(number, exponent));
  const V small = hn::Mul(hn::ConvertTo(F(), hn::BitCast(i32, magnitude)), hn::Set(F(), 0x1p-24F));
  const auto is_small = hn::Lt(magnitude, hn::Set(u32, 0x400U));
  return hn::BitCast(F(), hn::Or(sign, hn::IfThenElse(is_small, hn::BitCast(u32, small), wide)));
}
HWY_INLINE void StoreVector(V v, Fp16* p) {
  const hn::RebindToUnsigned<F> u32;
  const hn::RebindToSigned<F> i32;
  const hn::Rebind<std::uint16_t, F> u16;
  const auto bits = hn::BitCast(u32, v);
  const auto magnitude = hn::And(bits, hn::Set(u32, 0x7fffffffU));
  const auto sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(u32, 1));
  const auto rounded = hn::Add(magnitude, hn::Add(odd, hn::Set(u32, 0xfffU)));
  const auto normal = hn::Sub(hn::ShiftRight<13>(rounded), hn::Set(u32, 112U << 10));
  const V sum = hn::Add(hn::BitCast(F(), magnitude), hn::Set(F(), 0.5F));
  const auto small = hn::Sub(hn::BitCast(u32, sum), hn::Set(u32, 0x3f000000U));
  auto half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(u32, 0x38800000U)), small, normal);
  half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(u32, 0x477ff000U)), half, hn::Set(u32, 0x7c00U));
  half = hn::IfThenElse(hn::Gt(magnitude, hn::Set(u32, 0x7f800000U)), hn::Set(u32, 0x7e00U), half);
  const auto signed_half = hn::BitCast(i32, hn::Or(sign, half));
  hn::StoreU(hn::DemoteTo(u16, signed_half), u16, reinterpret_cast<std::uint16_t*>(p));
}

HWY_INLINE void StoreOne(float x, float* p) { *p = x; }
HWY_INLINE void StoreOne(float x, Bf16* p) { *p = RoundedToBf16(x); }
HWY_INLINE void StoreOne(float x, Fp16* p) { *p = RoundedToFp16(x); }

// A whole vector of a row.
struct Whole {
  template <typename T>
  HWY_INLINE V Load(const T* p) const {
    return LoadVector(p);
  }
  template <typename T>
  HWY_INLINE void Store(V v, T* p) const {
    StoreVector(v, p);
  }
  HWY_INLINE V Keep(V v) const { return v; }
};

// The first n elements of a vector, 0 < n <= kLanes: the end of a row. Elements after them are
// neither read nor written, and zero in a loaded vector.
struct Part {
  std::int64_t n = 0;

  template <typename T>
  HWY_INLINE V Load(const T* p) const {
    T row[kLanes] = {};
    std::copy_n(p, n, row);
    return LoadVector(row);
  }
  HWY_INLINE V Load(const float* p) const {
    if constexpr (kMasksMemory) {
      return hn::MaskedLoad(hn::FirstN(F(), static_cast<std::size_t>(n)), F(), p);
    } else {
      return Load<float>(p);
    }
  }
  template <typename T>
  HWY_INLINE void Store(V v, T* p) const {
    T row[kLanes];
    StoreVector(v, row);
    std::copy_n(row, n, p);
  }
  HWY_INLINE void Store(V v, float* p) const {
    if constexpr (kMasksMemory) {
      hn::BlendedStore(v, hn::FirstN(F(), static_cast<std::size_t>(n)), F(), p);
    } else {
      Store<float>(v, p);
    }
  }
  HWY_INLINE V Keep(V v) const {
    return hn::IfThenElseZero(hn::FirstN(F(), static_cast<std::size_t>(n)), v);
  }
};

// Calls body(c, at) for the vectors of a row of n elements, where c is the first element and `at`
// is Whole or Part.
template <typename Body>
HWY_INLINE void ForColumns(std::int64_t n, const Body& body) {
  std::int64_t c = 0;
  for (; c + kLanes <= n; c += kLanes) body(c, Whole());
  if (c < n) body(c, Part{n - c});
}

// Takes kSums sums over a row: body(c, at, sums) adds to sums[0 .. kSums), whose lanes after the
// row's end must stay 0. The order depends only on n. Chains of additions are kept short, and when
// the sums of the chains are added up, the rounding error is carried along (Kahan 1965), so that
// the error does not grow with the vocabulary.
template <int kSums, typename Body>
HWY_INLINE void SumColumns(std::int64_t n, float* totals, const Body& body) {
  constexpr std::int64_t kChain = 128 * kLanes;
  Kept all[kSums], lost[kSums];
  for (int s = 0; s < kSums; ++s) all[s] = lost[s] = hn::Zero(F());
  std::int64_t c = 0;
  do {
    Kept even[kSums], odd[kSums];
    for (int s = 0; s < kSums; ++s) even[s] = odd[s] = hn::Zero(F());
    const std::int64_t end = std::min(n, c + kChain);
    for (; c + 2 * kLanes <= end; c += 2 * kLanes) {
      body(c, Whole(), even);
      body(c + kLanes, Whole(), odd);
    }
    if (c + kLanes <= end) {
      body(c, Whole(), even);
      c += kLanes;
    }
    if (c < end) {
      body(c, Part{end - c}, odd);
      c = end;
    }
    for (int s = 0; s < kSums; ++s) {
      const V chain = hn::Sub(hn::Add(even[s], odd[s]), lost[s]);
      const V next = hn::Add(all[s], chain);
      lost[s] = hn::Sub(hn::Sub(next, all[s]), chain);
      all[s] = next;
    }
  } while (c < n);
  for (int s = 0; s < kSums; ++s) {
    const V sum = hn::SumOfLanes(F(), all[s]);
    totals[s] = hn::GetLane(sum);
  }
}

// e^x = 2^n e^r with |r| <= ln 2 / 2. e^r is computed by a polynomial of degree 6 through the
// Chebyshev nodes (relative error 3e-9). 0 below the least normal number; NaN for NaN.
HWY_INLINE V Exp(V x) {
  const F f;
#if HWY_TARGET == HWY_AVX3
  // Max and Min return their second operand if either is a NaN.
  const V bounded = hn::Max(hn::Set(f, -200.0F), hn::Min(hn::Set(f, 200.0F), x));
#else
  const V bounded = hn::Max(hn::Set(f, -87.0F), hn::Min(hn::Set(f, 88.0F), x));
#endif
  const V n = hn::Round(hn::Mul(bounded, hn::Set(f, 1.4426950409F)));
  V r = hn::NegMulAdd(n, hn::Set(f, 0.693359375F), bounded);
  r = hn::NegMulAdd(n, hn::Set(f, -2.12194440e-4F), r);  // ln 2 in two parts
  V y = hn::Set(f, 1.3941108439e-3F);
  y = hn::MulAdd(y, r, hn::Set(f, 8.3751263981e-3F));
  y = hn::MulAdd(y, r, hn::Set(f, 4.1666352897e-2F));
  y = hn::MulAdd(y, r, hn::Set(f, 1.6666415515e-1F));
  y = hn::MulAdd(y, r, hn::Set(f, 5.0000000471e-1F));
  y = hn::MulAdd(y, r, hn::Set(f, 1.0000000377F));
  y = hn::MulAdd(y, r, hn::Set(f, 1.0F));
#if HWY_TARGET == HWY_AVX3
  return V{_mm512_scalef_ps(y.raw, n.raw)};
#else
  const hn::RebindToSigned<F> i;
  const auto whole = hn::ConvertTo(i, hn::IfThenZeroElse(hn::IsNaN(n), n));
  const V scaled = hn::BitCast(f, hn::Add(hn::BitCast(i, y), hn::ShiftLeft<23>(whole)));
  const V kept = hn::IfThenZeroElse(hn::Lt(x, hn::Set(f, -87.0F)), scaled);
  return hn::IfThenElse(hn::IsNaN(x), x, kept);
#endif
}

// 1 / (1 + e^-x).
HWY_INLINE V Sigmoid(V x) {
  const V one = hn::Set(F(), 1.0F);
  return hn::Div(one, hn::Add(one, Exp(hn::Neg(x))));
}

// For a standard normal X: the probability that X > |x|, which is erfc(z) / 2 with
// z = |x| / sqrt 2, and the density of X at x. erfc(z) = e^(-z^2) t P(t) with t = 1 / (1 + 0.4 z)
// and a polynomial P of degree 8 through the Chebyshev nodes for z <= 6.5. There the relative error
// is 5e-8; for larger z, erfc is below 1e-19 and the formula stays close to it. The coefficients
// below are those of P / 2.
struct NormalTail {
  Kept tail, density;
};
HWY_INLINE NormalTail NormalTailOf(V x) {
  const F f;
  const V one = hn::Set(f, 1.0F);
  const V t = hn::Div(one, hn::MulAdd(hn::Set(f, 0.28284271F), hn::Abs(x), one));
  V p = hn::Set(f, 1.3324909746e-02F);
  p = hn::MulAdd(p, t, hn::Set(f, -3.3274701496e-02F));
  p = hn::MulAdd(p, t, hn::Set(f, -3.7602575528e-02F));
  p = hn::MulAdd(p, t, hn::Set(f, 1.3965549018e-01F));
  p = hn::MulAdd(p, t, hn::Set(f, -3.0062201100e-02F));
  p = hn::MulAdd(p, t, hn::Set(f, 1.2848849535e-01F));
  p = hn::MulAdd(p, t, hn::Set(f, 9.2180676912e-02F));
  p = hn::MulAdd(p, t, hn::Set(f, 1.1455935185e-01F));
  p = hn::MulAdd(p, t, hn::Set(f, 1.1273056209e-01F));
  const V e = Exp(hn::Mul(hn::Mul(x, hn::Set(f, -0.5F)), x));
  return {.tail = hn::Mul(e, hn::Mul(t, p)), .density = hn::Mul(e, hn::Set(f, 0.39894228F))};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
