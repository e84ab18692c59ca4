// Checks that a model's weights are finite. A single NaN in a weight makes every logit NaN, and its
// cause would be hard to find.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/status.h"
#include "model/hugging_face/folder.h"

namespace longrun {

// The first entry of a floating-point tensor, row-major, that is NaN or infinite.
std::optional<std::size_t> FirstNonFinite(const StoredTensor& tensor);

// kDataLoss names the tensor, position and file of the first such entry among the model's own
// tensors; buffers are not checked. Reads the mapped files once and copies nothing. `progress` is
// called after each tensor with the number of bytes read so far.
Status CheckFinite(const WeightFolder& model,
                   const std::function<void(std::int64_t n_bytes)>& progress = nullptr);

}  // namespace longrun
