#include "model/head_chunks.h"

#include <algorithm>

namespace longrun {

HeadChunks HeadChunksFor(const ModelConfig& model, DeviceKind device_kind) {
  const auto rows = [&](HeadChunks chunks) {
    return HeadChunkRows(chunks, model.vocab_size, model.d_model);
  };
  const bool grows = rows(HeadChunks::kByWidth) > rows(HeadChunks::kByLogits);
  return device_kind == DeviceKind::kCpu && grows ? HeadChunks::kByWidth : HeadChunks::kByLogits;
}

std::int64_t HeadChunkRows(HeadChunks chunks, std::int64_t vocab_size, std::int64_t d_model) {
  const std::int64_t by_logits =
      std::max<std::int64_t>(1, (std::int64_t{1} << 23) / std::max<std::int64_t>(1, vocab_size));
  return chunks == HeadChunks::kByWidth ? std::max(by_logits, d_model) : by_logits;
}

}  // namespace longrun
