// The cost of a run: memory on its code path, FLOPs, disk. Computed from shapes alone (cost.cc);
// placement, the choice of the micro-batch and `plan` use the same formulas.
#pragma once

#include <cstdint>

#include "model/attention_path.h"
#include "model/config.h"
#include "model/device_kind.h"
#include "model/head_chunks.h"
#include "model/precision.h"
#include "model/train_config.h"

namespace longrun {

struct Execution;  // sweeps/run.h

// The settings of a run's execution and its task that affect memory.
struct MemoryPath {
  DeviceKind device_kind = DeviceKind::kCpu;
  AttentionBackend attention = AttentionBackend::kReference;
  bool activation_checkpointing = false;
  HeadChunks head = HeadChunks::kByLogits;  // of a training step on a CPU
};

// The path of a run that begins on a device of this kind; gpu_head_dim_max: as in AttentionPathFor
// (model/attention_path.h).
MemoryPath NewRunMemoryPath(const ModelConfig& model, DeviceKind device_kind,
                            bool activation_checkpointing, std::int64_t gpu_head_dim_max = 0);

// The path of a run that has begun.
MemoryPath BegunRunMemoryPath(const Execution& execution, bool activation_checkpointing);

// The chunks of logits that a run takes if it begins with this path on a slot of memory_bytes:
// path.head, but kByLogits where training with micro-batch 1 would not fit otherwise.
HeadChunks FittingHeadChunks(const ModelConfig& model, const TrainConfig& train,
                             std::int64_t memory_bytes, const MemoryPath& path);

// The bytes of the program, weights, gradients, optimiser state and activations in one training
// step with this micro-batch; capped at the largest int64.
std::int64_t TrainMemoryBytes(const ModelConfig& model, const TrainConfig& train,
                              std::int64_t micro_batch, const MemoryPath& path);

// The micro-batch: the largest power of two that divides the number of sequences in a step and with
// which training fits into memory_bytes, on a GPU into nine tenths of it (a formula of shapes, and
// never a timing). At least 1.
std::int64_t AutoMicroBatch(const ModelConfig& model, const TrainConfig& train,
                            std::int64_t memory_bytes, const MemoryPath& path);

// The tokens that an evaluation gives the model per call, in whole windows, at least one. A
// function of shapes, so that a shape always has the same result.
std::int64_t EvaluateTokensPerCall(DeviceKind device_kind, std::int64_t context_length);

// The bytes of the program (on a GPU: of CUDA), the weights and the forward pass of one call
// without gradients.
// keys_held (EvaluationKeysHeld): how many copies of the keys and values of a call it has.
// `prompt_tokens` (ExpectedCell): of the longest prompt; 0: that is the context length.
std::int64_t EvaluateMemoryBytes(const ModelConfig& model, std::int64_t context_length,
                                 const MemoryPath& path, int keys_held,
                                 Precision precision = Precision::kFp32,
                                 std::int64_t prompt_tokens = 0);

// The training FLOPs of the whole run: 6 * parameters * tokens + attention. Repeated work of
// activation checkpointing is not counted; padding is, since it is computed as well.
double TrainFlops(const ModelConfig& model, const TrainConfig& train);
// The FLOPs of reading `n_tokens` tokens in windows (or prompts) of `context_length` tokens: a
// third of training's FLOPs per token.
double EvaluateFlops(const ModelConfig& model, double n_tokens, std::int64_t context_length);

// The bytes of a checkpoint: weights and the two moments of AdamW, in fp32.
std::int64_t CheckpointBytes(const ModelConfig& model);

}  // namespace longrun
