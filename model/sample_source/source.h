// A source of training samples: what sample g of a run is. One file and one line of registry.cc
// each. Torch-free.
//
// A sample has T places. The first n of them have tokens; the rest, on the right, is padding, which
// has no target and is at position 0. Attention is causal, so no token sees padding, and the
// gradient of padding is 0.
//
// Notation: T train_length; g the number of a sample, counted from 0 over the whole training.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/data/dataset.h"
#include "model/train_config.h"

namespace longrun {

// Any id would do: nothing depends on it.
inline constexpr std::int32_t kPaddingToken = 0;

struct Sample {
  std::vector<std::int32_t> tokens;     // (T)
  std::vector<std::int64_t> targets;    // (T); kIgnoredTarget where there is none
  std::vector<std::int32_t> positions;  // (T); empty if the run's positions are plain
};

struct SampleSize {
  std::int64_t n_tokens = 0;   // without padding
  std::int64_t n_targets = 0;  // at least 1

  bool operator==(const SampleSize&) const = default;
};

// Samples are pure functions of the split, the recipe, the seed and g. They do not depend on the
// batch, the micro-batch or the step at which a training was resumed.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  // Known without reading the sample, so that a step can weigh its micro-batches beforehand.
  virtual SampleSize Size(std::int64_t g) const = 0;
  // Errors are those of TokenSplit::Read.
  virtual Status Read(std::int64_t g, Sample& sample) const = 0;
};

// `split` and `train` must outlive the source. kInvalidArgument: the split has no samples.
struct SampleRequest {
  const TokenSplit& split;
  const TrainConfig& train;
  std::uint64_t seed = 0;
  std::int32_t bos_id = -1;  // the token that starts a text; -1: the tokenizer has none
};
Result<std::unique_ptr<SampleSource>> OpenSampleSource(const SampleRequest& request);

// ---- for the files of sources ------------------------------------------------------------------

// Reads the tokens at `places`, counted from `begin` and increasing. Tokens that follow each other
// in the text are read together.
Status ReadPlaces(const TokenSplit& split, std::int64_t begin, std::span<const std::int64_t> places,
                  std::span<std::int32_t> tokens);

}  // namespace longrun
