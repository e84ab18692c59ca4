#include "worker/trainer/token_rate.h"

#include <algorithm>

namespace longrun::trainer {

void TokenRate::Add(std::int64_t n_tokens, std::int64_t n_ms) {
  constexpr double kSmallestWeight = 0.1;
  n_tokens_ += n_tokens;
  n_ms_ += n_ms;
  n_steps_ += 1;
  if (n_ms_ < kRateMsMin) return;
  n_measured_ += 1;
  const auto n_kept = static_cast<double>(std::max<std::int64_t>(1, n_measured_ - 1));
  const double weight = std::max(kSmallestWeight, 1.0 / n_kept);
  const auto n_steps = static_cast<double>(n_steps_);
  tokens_per_step_ += weight * (static_cast<double>(n_tokens_) / n_steps - tokens_per_step_);
  ms_per_step_ += weight * (static_cast<double>(n_ms_) / n_steps - ms_per_step_);
  n_tokens_ = n_ms_ = n_steps_ = 0;
}

double TokenRate::tokens_per_s() const {
  return n_measured_ == 0 ? 0.0 : 1e3 * tokens_per_step_ / ms_per_step_;
}

std::int64_t ValidationsLeft(const TrainConfig& train, std::int64_t step) {
  const std::int64_t every = train.validate.every, batch = train.batch_tokens;
  if (every == 0 || step >= train.steps()) return 0;
  if (batch >= every) return train.steps() - step;
  const std::int64_t n = train.steps() * batch / every - step * batch / every;
  // The last step is followed by one in any case.
  const bool is_due_at_end = train.steps() * batch / every > (train.steps() - 1) * batch / every;
  return n + (is_due_at_end ? 0 : 1);
}

}  // namespace longrun::trainer
