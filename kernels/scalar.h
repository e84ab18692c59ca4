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

inline double LoadScalar(Scalar scalar, const void* data, std::int64_t at) {
  switch (scalar) {
    case Scalar::kFp32:
      return static_cast<double>(static_cast<const float*>(data)[at]);
    case Scalar::kBf16:
      return static_cast<double>(FromBf16(static_cast<const std::uint16_t*>(data)[at]));
    case Scalar::kFp64:
      return static_cast<const double*>(data)[at];
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
  }
}

}  // namespace longrun
