#include "worker/trainer/token_rate.h"

namespace longrun::trainer {

void TokenRate::Add(std::int64_t n_tokens, std::int64_t n_ms) {
  n_tokens_ += n_tokens;
  n_ms_ += n_ms;
  if (n_ms_ < kRateMsMin) return;
  const double rate = 1e3 * static_cast<double>(n_tokens_) / static_cast<double>(n_ms_);
  tokens_per_s_ = tokens_per_s_ == 0.0 ? rate : 0.9 * tokens_per_s_ + 0.1 * rate;
  n_tokens_ = n_ms_ = 0;
}

}  // namespace longrun::trainer
