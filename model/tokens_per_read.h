// How many tokens a network reads at a time, over all texts of a batch, where texts may be cut: so
// many rows keep a device's matrix products busy, and more would only take memory. The evaluations,
// the cache of keys and values and the forecast of memory (sweeps/cost.cc) agree on it.
#pragma once

#include <cstdint>

#include "model/device_kind.h"

namespace longrun {

constexpr std::int64_t TokensPerRead(DeviceKind device_kind) {
  return device_kind == DeviceKind::kCpu ? 8192 : 65536;
}

// The most bytes of keys and values, of all layers, from which texts go on in several ways
// (LanguageModel::BranchNll); as many again are held of the texts that go on.
constexpr std::int64_t BranchKeyBytes(DeviceKind device_kind) {
  return std::int64_t{device_kind == DeviceKind::kCpu ? 1 : 8} << 30;
}

}  // namespace longrun
