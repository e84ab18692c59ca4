// What a run costs: memory of the path that it takes, FLOPs, disk. Formulas of shapes (cost.cc), the same for
// placement, the micro-batch and `plan`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/config.h"

namespace longrun {

// Of a run's execution, and of its task.
struct MemoryPath {
  std::string device_kind = "cpu";  // cpu | gpu
  std::string attention = {};       // fused | torch | reference
  bool activation_checkpointing = false;
};

// Of a run that begins on a device of this kind.
MemoryPath NewRunMemoryPath(const ModelConfig& model, std::string_view device_kind,
                            bool activation_checkpointing);

// Bytes of the program, weights, gradients, optimiser state and activations of one training step at a
// micro-batch; capped at the largest int64.
std::int64_t TrainMemoryBytes(const ModelConfig& model, const TrainConfig& train,
                              std::int64_t micro_batch, const MemoryPath& path);

// The largest power of two of sequences, dividing a step, with which a training fits into memory_bytes
// (a formula of shapes, never a timing). At least 1.
std::int64_t AutoMicroBatch(const ModelConfig& model, const TrainConfig& train,
                            std::int64_t memory_bytes, const MemoryPath& path);

// Tokens that an evaluation gives the model at once, in whole windows, at least one. A function of shapes, so
// that a shape has one result.
std::int64_t EvaluateTokensPerCall(std::string_view device_kind, std::int64_t context_length);

// Bytes of the program, of weights and of one call's forward pass without gradients, in fp32.
std::int64_t EvaluateMemoryBytes(const ModelConfig& model, std::int64_t context_length,
                                 const MemoryPath& path);

// Training FLOPs of the whole run: 6 * parameters * tokens + attention; what activation checkpointing
// computes again is not counted.
double TrainFlops(const ModelConfig& model, const TrainConfig& train);
// FLOPs of reading `n_tokens` tokens in windows of `context_length`: a third of training's, each.
double EvaluateFlops(const ModelConfig& model, double n_tokens, std::int64_t context_length);

// Bytes of a checkpoint: weights and the two moments of AdamW, in fp32.
std::int64_t CheckpointBytes(const ModelConfig& model);

}  // namespace longrun
