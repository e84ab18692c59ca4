// The fake trainer's science: pure functions, so that a test knows every number beforehand.
//
//   w_0     = Sm64(seed ^ fnv1a64(position method))       "weights": one 64-bit word
//   w_{k+1} = Sm64(w_k + k)                               a step;
//                                                         a resumed run must walk the same way
//   loss(k) = 1 + 4 / k + unit(w_k) / 100                 k = 1, 2, ...
//   nll     = 2 + unit(fnv1a64(method)) / 2               at the train length
//             + 0.3 * log2(context / train)               beyond it, but for cable and alibi
//             + unit(Sm64(w_end ^ context)) / 1000        so that wrong weights show in the table
//
// unit(w) = the upper 53 bits of w as a fraction of [0, 1).
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/hash.h"
#include "base/random.h"

namespace longrun {

inline double FakeUnit(std::uint64_t word) { return static_cast<double>(word >> 11) * 0x1p-53; }

inline std::uint64_t FakeWeightsAtStart(std::int64_t seed, std::string_view position) {
  return Sm64(static_cast<std::uint64_t>(seed) ^ Fnv1a64(position));
}

inline std::uint64_t FakeStep(std::uint64_t weights, std::int64_t step) {
  return Sm64(weights + static_cast<std::uint64_t>(step));
}

inline std::uint64_t FakeWeightsAfter(std::int64_t seed, std::string_view position,
                                      std::int64_t steps) {
  std::uint64_t weights = FakeWeightsAtStart(seed, position);
  for (std::int64_t k = 0; k < steps; ++k) weights = FakeStep(weights, k);
  return weights;
}

inline double FakeLoss(std::uint64_t weights, std::int64_t step) {
  return 1 + 4 / static_cast<double>(step) + FakeUnit(weights) / 100;
}

inline double FakeNll(std::uint64_t weights, std::string_view position, std::int64_t train_length,
                      std::int64_t context_length) {
  double nll = 2 + FakeUnit(Fnv1a64(position)) / 2;
  const bool extrapolates = position == "cable" || position == "alibi";
  if (context_length > train_length && !extrapolates) {
    nll += 0.3 * std::log2(static_cast<double>(context_length) / static_cast<double>(train_length));
  }
  return nll + FakeUnit(Sm64(weights ^ static_cast<std::uint64_t>(context_length))) / 1000;
}

// Tokens scored for each number, one byte each.
inline constexpr std::int64_t kFakeScored = 10'000;

}  // namespace longrun
