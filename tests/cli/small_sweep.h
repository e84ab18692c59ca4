// A sweep of one run over a dataset "words", and a text for it.
#pragma once

#include <string>

namespace longrun {

inline constexpr const char* kSmallSweep = R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: small}
spec:
  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}
  matrix: {position: [rope], train_length: [32], dataset: [words]}
  train: {tokens: 1024, batch_tokens: 256}
  evaluate:
    - perplexity: {context_lengths: [32], split: validation, protocol: nonoverlap, score_tokens: 256}
)";

inline std::string SmallText() {
  std::string words;
  for (int i = 0; i < 4'000; ++i) words += i % 3 == 0 ? "beta " : "gamma ";
  return words;
}

}  // namespace longrun
