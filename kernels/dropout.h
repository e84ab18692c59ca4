// Decides which probabilities dropout keeps. This is a pure function, so that backward and every
// back-end compute forward's mask again instead of storing it.
//
// i is the query's index in the call, j the key's position in the text.
//
//   word[0..3] = Philox4x32-10(counter = (j / 8, i, b H + h, offset), key = seed, low word first)
//   element j  = the 16 bits of word[(j % 8) / 2], the low half for even j
//   kept       if these bits >= threshold, threshold = round(probability * 65536)
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "base/random.h"
#include "kernels/attention_terms.h"

namespace longrun {

inline constexpr std::int64_t kDropoutKeys = 8;  // chosen by one call of Philox

inline std::uint32_t DropoutThreshold(const Dropout& dropout) {
  return static_cast<std::uint32_t>(std::lround(dropout.probability * 65536.0));
}

// The factor of a kept probability, which preserves the mean.
inline double DropoutFactor(const Dropout& dropout) {
  return 65536.0 / (65536.0 - static_cast<double>(DropoutThreshold(dropout)));
}

// `head` is b H + h.
inline bool DropoutKeeps(const Dropout& dropout, std::int64_t head, std::int64_t i,
                         std::int64_t j) {
  const std::array<std::uint32_t, 4> words = Philox4x32(
      {static_cast<std::uint32_t>(j / kDropoutKeys), static_cast<std::uint32_t>(i),
       static_cast<std::uint32_t>(head), dropout.offset},
      {static_cast<std::uint32_t>(dropout.seed), static_cast<std::uint32_t>(dropout.seed >> 32)});
  const auto in_block = static_cast<std::uint32_t>(j % kDropoutKeys);
  const std::uint32_t bits = (words[in_block / 2] >> (16 * (in_block % 2))) & 0xffffU;
  return bits >= DropoutThreshold(dropout);
}

}  // namespace longrun
