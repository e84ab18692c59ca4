// How many rows of logits a training step on a CPU computes at a time (model/net/head.h). This
// changes bits, because the gradient of the head's weight is a sum over these chunks. So it is
// decided once for a run, from its model and the slot on which it begins, and is stored in the
// run's record. Plain C++, because the coordinator decides it and forecasts its memory.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/enum_names.h"
#include "model/config.h"
#include "model/device_kind.h"

namespace longrun {

// kByLogits: a chunk has 2^23 logits. kByWidth: it has as many rows as the model is wide, if
// these are more. Such a chunk takes as much memory as the head's weight, and twice as much with
// its gradient. Each chunk reads that weight twice, and its gradient once or more, so for large
// vocabularies few chunks are faster: on an Intel Xeon (Emerald Rapids), 6 layers of width 512
// with GPT-2's vocabulary took 5 % less time for a step of 256 tokens.
enum class HeadChunks { kByLogits, kByWidth };
template <>
struct EnumNames<HeadChunks> {
  static constexpr std::array<std::string_view, 2> kNames = {"logits", "width"};
};

// The choice for a new run: kByWidth if its chunks are larger, else kByLogits. On a GPU always
// kByLogits, since its chunks follow another rule (model/net/head.cc).
HeadChunks HeadChunksFor(const ModelConfig& model, DeviceKind device_kind);

// The rows of a chunk on a CPU; at least 1.
std::int64_t HeadChunkRows(HeadChunks chunks, std::int64_t vocab_size, std::int64_t d_model);

}  // namespace longrun
