// Reads and writes single numbers of the types that tensors have.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/attention.h"

namespace longrun {

// bf16 is the upper half of a float. Ties round to even, and a NaN stays a NaN.
inline float FromBf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
inline std::uint16_t ToBf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

// fp16 has 5 bits of exponent and 10 of mantissa: numbers below 2^-14 are multiples of 2^-24, and
// those from 65,520 on become infinite. A subnormal fp32 number gives 0 in every mode of the
// thread.
inline float FromFp16(std::uint16_t bits) {
  const std::uint32_t magnitude = bits & 0x7fffU, sign = (bits & 0x8000U) << 16;
  if (magnitude < 0x400U) {
    const float x = static_cast<float>(magnitude) * 0x1p-24F;
    return sign == 0 ? x : -x;
  }
  constexpr std::uint32_t kExponent = 112U << 23;
  const std::uint32_t wide = (magnitude << 13) + (magnitude < 0x7c00U ? kExponent : 2 * kExponent);
  return std::bit_cast<float>(sign | wide);
}
inline std::uint16_t ToFp16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t magnitude = bits & 0x7fffffffU, sign = bits >> 16 & 0x8000U;
  const auto half = [&]() -> std::uint32_t {
    if (magnitude > 0x7f800000U) return 0x7e00U;   // NaN
    if (magnitude >= 0x477ff000U) return 0x7c00U;  // 65,520 and more
    if (magnitude >= 0x38800000U) {                // 2^-14 and more
      return ((magnitude + 0xfffU + (magnitude >> 13 & 1U)) >> 13) - (112U << 10);
    }
    // The last bit of 1/2 + |x| is 2^-24, so the addition rounds.
    return std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  };
  return static_cast<std::uint16_t>(sign | half());
}

inline double LoadScalar(Scalar scalar, const void* data, std::int64_t at) {
  switch (scalar) {
    case Scalar::kFp32:
      return static_cast<double>(static_cast<const float*>(data)[at]);
    case Scalar::kBf16:
      return static_cast<double>(FromBf16(static_cast<const std::uint16_t*>(data)[at]));
    case Scalar::kFp64:
      return static_cast<const double*>(data)[at];
    case Scalar::kFp16:
      return static_cast<double>(FromFp16(static_cast<const std::uint16_t*>(data)[at]));
  }
  return 0.0;
}

inline void StoreScalar(Scalar scalar, void* data, std::int64_t at, double x) {
  switch (scalar) {
    case Scalar::kFp32:
      static_cast<float*>(data)[at] = static_cast<float>(x);
      return;
    case Scalar::kBf16:
      static_cast<std::uint16_t*>(data)[at] = ToBf16(static_cast<float>(x));
      return;
    case Scalar::kFp64:
      static_cast<double*>(data)[at] = x;
      return;
    case Scalar::kFp16:
      static_cast<std::uint16_t*>(data)[at] = ToFp16(static_cast<float>(x));
      return;
  }
}

}  // namespace longrun
