// A checkpoint is a model folder (model_folder.h) with, beside it:
//
//   optimizer.safetensors   AdamW's moments
//   state.json              {step, seed, tokens, micro_batch, paths, run_key, train_length,
//                           initial_weights, programs, validation_pending, best}: every random
//                           number and every sample is a pure function of seed and step
//   manifest.json           (model/hugging_face/manifest.h), written last
//
// It appears complete or not at all: it is written into a temporary folder, synced, and renamed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/hugging_face/manifest.h"
#include "model/net/model_folder.h"

namespace longrun {

using CheckpointSummary = VerifiedFolder;  // sha256 names the checkpoint

struct CheckpointContent {
  const NetConfig& config;
  const ParameterMap& parameters;
  const std::map<std::string, at::Tensor>& optimizer;
  const Json& state;
};

// `folder` must not exist. Its parent is created if needed, but no folder above the parent. So
// kNotFound is returned if the attempt's folder was moved away.
Result<CheckpointSummary> WriteCheckpoint(const std::string& folder,
                                          const CheckpointContent& content);

// Like VerifyFolder; also checks that the folder has all files of a checkpoint.
Result<CheckpointSummary> VerifyCheckpointFolder(const std::string& folder,
                                                 const std::string& sha256);

struct LoadedCheckpoint {
  ModelFolder model;
  std::map<std::string, at::Tensor> optimizer;
  Json state;
};

// Verifies the folder first.
Result<LoadedCheckpoint> LoadCheckpoint(const std::string& folder, const std::string& sha256);

// The length of the texts on which a folder's model was trained, as its config.json says or, if
// that has no length, its state.json; 0 if neither does, as in checkpoints of earlier releases.
Result<std::int64_t> FolderTrainedLength(const std::string& folder, const Json& config);

}  // namespace longrun
