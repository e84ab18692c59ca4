// The rate at which a trainer reads tokens, and the time that its steps take, both from the same
// measurements.
//
//   tokens, time of a step    the mean of up to ten measurements, then x = 0.9 x + 0.1 of a new one
//   rate                      tokens of a step / time of a step
//
// The clock counts whole milliseconds, and a step can take less than one. So a measurement joins
// steps until they have taken 20 ms: then the clock is at most 5 % wrong. In the first measurement,
// memory is requested and code is loaded: it counts only until there is a second one.
#pragma once

#include <cstdint>

#include "model/train_config.h"

namespace longrun::trainer {

// The shortest time from which a rate is computed.
inline constexpr std::int64_t kRateMsMin = 20;

class TokenRate {
 public:
  // A step. `n_ms`: the time in which the tokens were read, as the clock counts it; may be 0.
  void Add(std::int64_t n_tokens, std::int64_t n_ms);

  // 0: not known yet.
  double tokens_per_s() const;
  double ms_per_step() const { return ms_per_step_; }

 private:
  std::int64_t n_tokens_ = 0, n_ms_ = 0, n_steps_ = 0;  // of the measurement that is not complete
  std::int64_t n_measured_ = 0;
  double tokens_per_step_ = 0.0, ms_per_step_ = 0.0;
};

// How many validations a training still makes after this step and what belongs to it.
std::int64_t ValidationsLeft(const TrainConfig& train, std::int64_t step);

}  // namespace longrun::trainer
