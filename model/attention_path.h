// Which attention a run computes with. It changes bits, so it is decided once for a run, from what the
// model and the device are and never from a timing, and stands in the run's record; plain C++, because
// the coordinator names it before any trainer starts.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "model/config.h"
#include "model/position/method.h"

namespace longrun {

// What the CPU's fused attention (kernels/) lacks for these terms and heads, in fp32 and bf16:
// kUnimplemented names it. `method` is the name for that message.
Status CheckFusedAttention(const TermSpec& terms, std::string_view method,
                           const AttentionShape& shape);

// Of a run that begins on a device of this kind (cpu | gpu): "fused" where it has all that the model
// asks for, else "reference".
std::string AttentionPathFor(const ModelConfig& model, std::string_view device_kind);

}  // namespace longrun
