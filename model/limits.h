// Limits of accepted values, far beyond sensible ones: they keep every product below 2^63.
#pragma once

#include <cstdint>

namespace longrun {

inline constexpr std::int64_t kLayersMax = 1000;
inline constexpr std::int64_t kHeadsMax = 1024;
inline constexpr std::int64_t kWidthMax = 1 << 17;
inline constexpr std::int64_t kVocabMax = 1 << 24;
inline constexpr std::int64_t kLengthMax = 1 << 26;
inline constexpr std::int64_t kTokensMax = 1'000'000'000'000'000;

}  // namespace longrun
