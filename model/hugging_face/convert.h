// Converts floating-point tensors to another type: fp32, bf16, fp16,
// rounded to nearest, ties to even.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/safetensors.h"

namespace longrun {

// Entry i of the bytes of a floating-point tensor; a double is rounded.
float FloatOf(StoredType type, std::span<const std::byte> bytes, std::size_t i);

// "fp32" | "bf16" | "fp16"; kInvalidArgument.
Result<StoredType> ParseFloatType(std::string_view name);
// The name of the type in config.json: "float32".
std::string_view TorchDtypeName(StoredType type);

// Converts `tensor` (floating point) to `type`, into `bytes`. kOutOfRange for a finite number that
// fp16 cannot hold.
Status Convert(const StoredTensor& tensor, StoredType type, std::vector<std::byte>& bytes);

}  // namespace longrun
