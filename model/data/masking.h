// Which tokens of a sample a masked language model is to guess, and what stands in their places (BERT,
// Devlin et al. 2019, arXiv:1810.04805, section 3.1; drawn anew for each sample, as RoBERTa does):
//
//   token t of sample g is chosen with `probability`, each by itself; of the chosen ones
//   mask_replace_prob are replaced by the mask token, random_replace_prob by a random one,
//   and the rest stay. All chosen ones are to be guessed.
//
// A sample in which none was drawn has the one chosen that came nearest to it, so each has something to
// guess (BERT's max(1, n)). An end of text is a token as any other, as in training a decoder.
//
// The draws are Philox's at (t, g, stream) under the seed: a pure function, so they depend neither on
// micro-batches, nor on where a run was resumed, nor on the machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/language_model.h"

namespace longrun {

enum class MaskStream : std::uint32_t { kTrain = 0, kValidation = 1 };

class Masking {
 public:
  // `random_ids` are what a random token is drawn from, with equal chances: not empty.
  Masking(const MaskConfig& config, std::uint64_t seed, MaskStream stream,
          std::vector<std::int32_t> random_ids);

  // Sample g with its chosen tokens hidden; they are the targets.
  MaskedSequence Mask(std::int64_t g, std::span<const std::int32_t> sample) const;
  // How many are chosen of the n tokens of sample g: at least 1, where n > 0.
  std::int64_t Count(std::int64_t g, std::int64_t n) const;

 private:
  struct Draw {
    double chosen = 0.0;  // uniform in (0, 1): below `probability` it is
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
