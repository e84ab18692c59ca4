// A checkpoint is a model folder (model_folder.h) with, beside it:
//
//   optimizer.safetensors   AdamW's moments
//   state.json              {step, seed, tokens, micro_batch, paths, run_key, best,
//                           validation_pending}: every random number and every sample is a pure
//                           function of seed and step
//   manifest.json           (model/hugging_face/manifest.h), written last
//
// It appears whole or not at all: written into a temporary folder, synced, renamed.
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

// `folder` must not be there; its parent is made.
Result<CheckpointSummary> WriteCheckpoint(const std::string& folder,
                                          const CheckpointContent& content);

// VerifyFolder, of a folder that has all of the above.
Result<CheckpointSummary> VerifyCheckpointFolder(const std::string& folder,
                                                 const std::string& sha256);

struct LoadedCheckpoint {
  ModelFolder model;
  std::map<std::string, at::Tensor> optimizer;
  Json state;
};

// Verified first.
Result<LoadedCheckpoint> LoadCheckpoint(const std::string& folder, const std::string& sha256);

}  // namespace longrun
