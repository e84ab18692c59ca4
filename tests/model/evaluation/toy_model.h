// Models whose scores are known without running ours.
#pragma once

#include <cmath>
#include <vector>

#include "model/language_model.h"

namespace longrun {

// The toy model of the plans' vectors: nll(t, c) = 2 + cos(0.7 t) + 1 / (1 + c) for target t with c
// tokens of context, the BOS counted.
class ToyModel final : public LanguageModel {
 public:
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window> windows) override {
    std::vector<std::vector<float>> nll;
    for (const Window& window : windows) {
      calls_.push_back(window);
      std::vector<float> row;
      for (std::int64_t t = window.score_begin; t < window.score_end; ++t) {
        const auto context = static_cast<double>(t - window.context_begin + (window.bos ? 1 : 0));
        row.push_back(static_cast<float>(2.0 + std::cos(0.7 * static_cast<double>(t)) +
                                         1.0 / (1.0 + context)));
      }
      nll.push_back(std::move(row));
    }
    n_calls_ += 1;
    return nll;
  }

  const std::vector<Window>& windows_seen() const { return calls_; }
  int n_calls() const { return n_calls_; }

 private:
  std::vector<Window> calls_;
  int n_calls_ = 0;
};

// Gives the same NLL to every token.
class ConstantModel final : public LanguageModel {
 public:
  explicit ConstantModel(float nats) : nats_(nats) {}

  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window> windows) override {
    std::vector<std::vector<float>> nll;
    for (const Window& window : windows) {
      nll.emplace_back(static_cast<std::size_t>(window.score_end - window.score_begin), nats_);
    }
    return nll;
  }

 private:
  float nats_;
};

// Fails as it is told.
class FailingModel final : public LanguageModel {
 public:
  explicit FailingModel(Code code) : code_(code) {}

  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(code_, "as told");
  }

 private:
  Code code_;
};

}  // namespace longrun
