// The rate at which a trainer reads tokens, smoothed over about ten measurements.
//
//   rate = 0.9 rate + 0.1 (tokens of a measurement / its time)
//
// The clock counts whole milliseconds, and a step can take less than one. So a measurement joins
// steps until they have taken 20 ms: then the clock is at most 5 % wrong.
#pragma once

#include <cstdint>

namespace longrun::trainer {

// The shortest time from which a rate is computed.
inline constexpr std::int64_t kRateMsMin = 20;

class TokenRate {
 public:
  // `n_ms`: the time in which the tokens were read, as the clock counts it; may be 0.
  void Add(std::int64_t n_tokens, std::int64_t n_ms);

  // 0: not known yet.
  double tokens_per_s() const { return tokens_per_s_; }

 private:
  std::int64_t n_tokens_ = 0, n_ms_ = 0;  // of the measurement that is not complete yet
  double tokens_per_s_ = 0.0;
};

}  // namespace longrun::trainer
