// A slot of a worker: one trainer at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/device_kind.h"
#include "model/head_chunks.h"

namespace longrun {

struct Slot {
  std::int64_t index = 0;  // on its worker, from 0
  DeviceKind kind = DeviceKind::kCpu;
  std::string name;               // "AMD EPYC 9V74", "NVIDIA H200"
  std::int64_t memory_bytes = 0;  // for one trainer
  std::int64_t threads = 1;       // CPU threads of one trainer
  std::string simd;               // name in model/instruction_set.h: "avx512", "neon"
  std::string linear;             // matrix path: "onednn/AuthenticAMD", "aten/cuda"
  std::string bf16 = {};          // products in bf16, model/instruction_set.h; "" on a GPU
  // Of a GPU: its best attention back-end (model/attention_path.h), "fused" or "", and its best
  // operators (OperatorSet), "longrun" or "". Workers of older releases do not say them, or say
  // "fused/128": fused, for heads of up to 128 channels.
  std::string attention = {}, operators = {};
  // Of a CPU: "width" if its trainer can compute logits in chunks as wide as the model
  // (model/head_chunks.h); "" on older releases.
  std::string head = {};
  bool operator==(const Slot&) const = default;
};

inline constexpr std::string_view kFusedAttention = "fused", kFusedAttentionTo128 = "fused/128";
// The widest heads, in channels, for which a GPU slot's trainer has fused attention; 0: none.
inline std::int64_t FusedHeadDimMax(const Slot& slot) {
  if (slot.attention == kFusedAttention) return 256;
  return slot.attention == kFusedAttentionTo128 ? 128 : 0;
}
// Whether it has our kernels for the other operators: norms, activations, the loss.
inline bool HasOperators(const Slot& slot) { return slot.operators == "longrun"; }
// Whether its trainer can compute logits in chunks as wide as the model.
inline bool HasWideHead(const Slot& slot) { return slot.head == EnumName(HeadChunks::kByWidth); }
// The name of its largest chunks of logits, for a message.
inline std::string_view BestHead(const Slot& slot) {
  return EnumName(HasWideHead(slot) ? HeadChunks::kByWidth : HeadChunks::kByLogits);
}
// The name of a GPU's best attention back-end for such heads, for a message.
inline std::string_view BestAttention(const Slot& slot, std::int64_t head_dim) {
  return head_dim <= FusedHeadDimMax(slot) ? "fused" : "reference";
}
// The name of its best operators other than products and attention, for a message.
inline std::string_view BestOperators(const Slot& slot) {
  return HasOperators(slot) ? "longrun" : "aten";
}

}  // namespace longrun
