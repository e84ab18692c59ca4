// See attention_path.h.
#include "model/attention_path.h"

#include <optional>

#include "base/str.h"
#include "kernels/attention.h"
#include "model/architecture/parameters.h"

namespace longrun {

Status CheckFusedAttention(const TermSpec& terms, std::string_view method,
                           const AttentionShape& shape) {
  if (terms.content_position) {
    return Status(Code::kUnimplemented,
                  Str("attention back-end \"fused\" lacks the bias of position method \"", method,
                      "\": use the back-end \"reference\""));
  }
  if (shape.head_dim % kCpuHeadDimStep != 0 || shape.head_dim > kCpuHeadDimMax) {
    return Status(Code::kUnimplemented, Str("attention back-end \"fused\" supports heads of ",
                                            kCpuHeadDimStep, ", ", 2 * kCpuHeadDimStep, ", ... ",
                                            kCpuHeadDimMax, " channels, but the model's have ",
                                            shape.head_dim, ": use the back-end \"reference\""));
  }
  return {};
}

Result<AttentionBackend> ParseAttentionBackend(std::string_view name) {
  const std::optional<AttentionBackend> found = FindEnum<AttentionBackend>(name);
  if (found) return *found;
  return Status(Code::kInvalidArgument,
                Str("attention back-end \"", name,
                    "\" is unknown: expected auto, reference, torch or fused"));
}

AttentionBackend AttentionPathFor(const ModelConfig& model, DeviceKind device_kind,
                                  std::int64_t gpu_head_dim_max) {
  if (device_kind == DeviceKind::kGpu && model.attention_shape().head_dim > gpu_head_dim_max) {
    return AttentionBackend::kReference;
  }
  const Result<TermSpec> terms = TermsOf(model);
  const bool covered =
      terms && CheckFusedAttention(*terms, model.position.method, model.attention_shape()).ok();
  return covered ? AttentionBackend::kFused : AttentionBackend::kReference;
}

}  // namespace longrun
