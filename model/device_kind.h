// The kind of the device on which a run computes.
#pragma once

#include <array>
#include <string_view>

#include "base/enum_names.h"

namespace longrun {

enum class DeviceKind { kCpu, kGpu };
template <>
struct EnumNames<DeviceKind> {
  static constexpr std::array<std::string_view, 2> kNames = {"cpu", "gpu"};
};

}  // namespace longrun
