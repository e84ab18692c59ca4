// One point of a sweep's matrix, resolved and content-addressed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace longrun {

// The imported checkpoint whose weights a run starts from.
struct RunInit {
  std::string sha256;            // of its manifest: 64 hex digits
  std::int64_t n_positions = 0;  // rows of the model's position table; 0 for methods without

  bool operator==(const RunInit&) const = default;
};

// Everything that changes the numbers of a run, every default written in. Machine, device,
// priority, labels, names, log cadence and micro-batch stand outside.
struct Run {
  ModelConfig model;  // with its position method
  TrainConfig train;
  std::string dataset_digest;         // 64 hex digits
  std::string tokenizer_fingerprint;  // 64 hex digits
  std::int64_t seed = 0;
  int numerics = 0;  // kNumericsVersion when it was resolved
  // Key of the run from whose final checkpoint (weights, optimiser, place in the data) this one goes
  // on; "": from the start. Left out of the JSON then, so that it changes no other run's key.
  std::string parent = {};
  // Nothing: random weights. Left out of the JSON then, as `parent`.
  std::optional<RunInit> init = {};

  // False: the imported model is measured as it is. Then there is nothing in `train` but train_length, the
  // length that its weights were made for: {"train":{"train_length"}}.
  bool trains() const { return train.tokens > 0; }

  // {"dataset":{"digest"},"model":{..},"numerics":1,"position":{"method",..},"seed":1,
  //  "tokenizer":{"fingerprint"},"train":{..}}, and "parent" and
  // "init":{"n_positions","sha256"} where there is one
  Json ToJson() const;
  static Result<Run> FromJson(const Json& json);
  // SHA-256 of the canonical JSON.
  std::string Key() const;
};

// How a run is carried out on a machine: all that can change bits and is not part of the question.
// Decided once per run, when its first attempt is placed, and kept by every later attempt; a
// machine that cannot honour it gets no attempt of the run.
struct Execution {
  std::string device_kind = "cpu";      // cpu | gpu
  std::string device_name;              // of a GPU: "NVIDIA H200"; "" on a CPU
  std::int64_t threads = 1;             // of one trainer process
  std::int64_t micro_batch = 0;         // sequences in a forward-backward pass
  std::string attention = "reference";  // back-end: reference | torch | fused
  std::string linear = {};              // matrix path: "onednn/AuthenticAMD", "aten/cuda"
  // What is neither a product nor attention: longrun (our kernels) | aten (LibTorch's operators).
  std::string operators = "aten";
  std::string simd;  // model/instruction_set.h
  // Subnormal numbers, in every operation: kept | flushed (base/subnormals.h).
  std::string subnormals = "kept";

  // {"device":{"kind","name"},"micro_batch",
  //  "paths":{"attention","linear","operators","simd","subnormals"},"threads"};
  // read without "operators" or "subnormals", from before there was a choice: aten, kept
  Json ToJson() const;
  static Result<Execution> FromJson(const Json& json);
  bool operator==(const Execution&) const = default;
};

// Of a run that begins on such a device.
std::string OperatorsFor(std::string_view device_kind);
std::string SubnormalsFor(std::string_view device_kind);

}  // namespace longrun
