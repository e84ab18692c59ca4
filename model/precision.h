// The types with which a model is trained or timed. With either, its weights are fp32.
#pragma once

#include <array>
#include <string_view>

#include "base/enum_names.h"

namespace longrun {

enum class Precision {
  kFp32,
  kBf16,  // autocast: the factors of matrix products are rounded
};
template <>
struct EnumNames<Precision> {
  static constexpr std::array<std::string_view, 2> kNames = {"fp32", "bf16"};
};

}  // namespace longrun
