// Which tokens of a sample a masked language model must predict, and what replaces them (BERT,
// Devlin et al. 2019, arXiv:1810.04805, section 3.1; drawn again for each sample, as in RoBERTa):
//
//   token t of sample g is chosen with `probability`, independently of the others. A chosen token
//   is replaced by the mask token with probability mask_replace_prob, by a random token with
//   probability random_replace_prob, and otherwise stays. All chosen tokens must be predicted.
//
// If no token of a sample is chosen, the one with the smallest random number is taken, so that
// every sample has something to predict (BERT's max(1, n)). An end of text is treated like any
// other token, as in training a decoder.
//
// The random numbers are Philox's at (t, g, stream) under the seed: a pure function, independent of
// micro-batches, of where a run was resumed, and of the machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/language_model.h"
#include "model/train_config.h"

namespace longrun {

enum class MaskStream : std::uint32_t { kTrain = 0, kValidation = 1 };

class Masking {
 public:
  // A random token is drawn from `random_ids`, which must not be empty, with equal probabilities.
  Masking(const MaskConfig& config, std::uint64_t seed, MaskStream stream,
          std::vector<std::int32_t> random_ids);

  // Hides the chosen tokens of sample g and makes them the targets.
  MaskedSequence Mask(std::int64_t g, std::span<const std::int32_t> sample) const;
  // The number of tokens chosen among the n tokens of sample g: at least 1 if n > 0.
  std::int64_t Count(std::int64_t g, std::int64_t n) const;

 private:
  struct Draw {
    double chosen = 0.0;  // uniform in (0, 1); chosen if below `probability`
    double kind = 0.0;    // uniform in [0, 1)
    std::uint32_t word = 0;
  };
  Draw At(std::int64_t g, std::int64_t t) const;
  std::vector<std::int64_t> Positions(std::int64_t g, std::int64_t n) const;
  std::int32_t Replacement(const Draw& draw, std::int32_t token) const;

  MaskConfig config_;
  std::uint64_t seed_ = 0;
  MaskStream stream_ = MaskStream::kTrain;
  std::vector<std::int32_t> random_ids_;
};

}  // namespace longrun
