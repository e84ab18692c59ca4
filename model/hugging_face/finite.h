// Whether a model's numbers are numbers. One NaN in a weight makes every logit NaN, and nobody would know
// whose fault it is.
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

// kDataLoss names tensor, place and file of the first such entry in the model's own tensors; buffers
// beside them are not looked at. Reads the mapped files once, and copies nothing. `progress` is told after
// each tensor how many bytes have been read.
Status CheckFinite(const WeightFolder& model,
                   const std::function<void(std::int64_t n_bytes)>& progress = nullptr);

}  // namespace longrun
