#include "model/net/masked_batch.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/check.h"

namespace longrun {

MaskedBatch ToBatch(std::span<const MaskedSequence> sequences) {
  LR_CHECK(!sequences.empty());
  const auto b = static_cast<std::int64_t>(sequences.size());
  const auto t = static_cast<std::int64_t>(sequences.front().tokens.size());
  std::int64_t n = 0;
  for (const MaskedSequence& sequence : sequences) {
    LR_CHECK(static_cast<std::int64_t>(sequence.tokens.size()) == t);
    n += static_cast<std::int64_t>(sequence.positions.size());
  }
  MaskedBatch batch = {.ids_BT = at::empty({b, t}, at::kLong),
                       .rows_N = at::empty({n}, at::kLong),
                       .targets_N = at::empty({n}, at::kLong)};
  std::int64_t* id = batch.ids_BT.data_ptr<std::int64_t>();
  std::int64_t* row = batch.rows_N.data_ptr<std::int64_t>();
  std::int64_t* target = batch.targets_N.data_ptr<std::int64_t>();
  std::int64_t first = 0;
  for (const MaskedSequence& sequence : sequences) {
    id = std::ranges::copy(sequence.tokens, id).out;
    for (const std::int64_t position : sequence.positions) *row++ = first + position;
    target = std::ranges::copy(sequence.targets, target).out;
    first += t;
  }
  return batch;
}

}  // namespace longrun
