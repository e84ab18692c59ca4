// The types in which the products of a model are taken. Its weights are fp32 with each of them.
#pragma once

#include <array>
#include <string_view>

#include "base/enum_names.h"

namespace longrun {

enum class Precision {
  kFp32,
  kBf16,  // autocast: the factors of matrix products are rounded
  // The same, with factors in fp16. For evaluations only: small gradients would become 0 in fp16.
  kFp16,
};
template <>
struct EnumNames<Precision> {
  static constexpr std::array<std::string_view, 3> kNames = {"fp32", "bf16", "fp16"};
};

// Those in which a model can be trained.
inline constexpr std::array<std::string_view, 2> kTrainedPrecisions = {"fp32", "bf16"};

}  // namespace longrun
