// The attention back-end of a run. It changes bits, so it is decided once for a run, from the model
// and the device and never from a timing, and is stored in the run's record. Plain C++, because the
// coordinator names it before any trainer starts.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/enum_names.h"
#include "base/status.h"
#include "model/config.h"
#include "model/device_kind.h"
#include "model/position/method.h"

namespace longrun {

enum class AttentionBackend { kReference, kTorch, kFused };
template <>
struct EnumNames<AttentionBackend> {
  static constexpr std::array<std::string_view, 3> kNames = {"reference", "torch", "fused"};
};
// Finds a back-end by its name; kInvalidArgument lists the names.
Result<AttentionBackend> ParseAttentionBackend(std::string_view name);

// kUnimplemented names what the fused attention (kernels/) lacks for these terms and heads,
// in fp32, bf16 and fp16. `method` is the name for that message.
Status CheckFusedAttention(const TermSpec& terms, std::string_view method,
                           const AttentionShape& shape);

// The back-end of a run that begins on a device of this kind: fused if it supports everything that
// the model needs, else the reference. `gpu_head_dim_max`: the widest heads, in channels, for which
// the GPU and the build of its trainer have fused attention; 0: none.
AttentionBackend AttentionPathFor(const ModelConfig& model, DeviceKind device_kind,
                                  std::int64_t gpu_head_dim_max = 0);

}  // namespace longrun
