// The kinds of devices that a sweep may use: resources.kind.
#pragma once

#include <array>
#include <string_view>

#include "base/check.h"
#include "base/enum_names.h"
#include "model/device_kind.h"

namespace longrun {

enum class DeviceChoice { kAny, kGpu, kCpu };
template <>
struct EnumNames<DeviceChoice> {
  static constexpr std::array<std::string_view, 3> kNames = {"any", "gpu", "cpu"};
};

inline bool Admits(DeviceChoice choice, DeviceKind kind) {
  switch (choice) {
    case DeviceChoice::kAny:
      return true;
    case DeviceChoice::kGpu:
      return kind == DeviceKind::kGpu;
    case DeviceChoice::kCpu:
      return kind == DeviceKind::kCpu;
  }
  LR_CHECK(false);
}

}  // namespace longrun
