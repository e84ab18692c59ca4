// One point of a sweep's matrix, resolved and content-addressed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/enum_names.h"
#include "base/json.h"
#include "base/status.h"
#include "base/subnormals.h"
#include "model/attention_path.h"
#include "model/config.h"
#include "model/device_kind.h"
#include "model/head_chunks.h"
#include "model/train_config.h"

namespace longrun {

// The weights that a run starts from: those of an imported checkpoint, or the final ones of another
// run.
struct RunInit {
  std::string sha256 = {};       // of the imported checkpoint's manifest: 64 hex digits
  std::int64_t n_positions = 0;  // rows of the model's position table; 0: it has none
  std::string run = {};          // the key of the other run; then sha256 is empty

  bool is_imported() const { return run.empty(); }
  // {"n_positions","sha256"}, or {"run"} with "n_positions" if it is not 0
  Json ToJson() const;
  bool operator==(const RunInit&) const = default;
};

// Everything that changes the numbers of a run, with every default written in. Machine, device,
// priority, labels, names, log cadence and micro-batch are not part of it.
struct Run {
  ModelConfig model;  // with its position method
  TrainConfig train;
  std::string dataset_digest;         // 64 hex digits
  std::string tokenizer_fingerprint;  // 64 hex digits
  std::int64_t seed = 0;
  int numerics = 0;  // kNumericsVersion when it was resolved
  // The key of the run from whose final checkpoint (weights, optimiser, place in the data) this one
  // continues; "": this run starts anew. The JSON leaves "" out, so that runs without a parent keep
  // their keys.
  std::string parent = {};
  // nullopt: the run starts from random weights, and the JSON leaves `init` out, like `parent`.
  std::optional<RunInit> init = {};

  // The key of the run whose final weights, and nothing else of it, this training begins with; "":
  // it begins with other weights. Unlike a parent, that run may be trained in the same sweep.
  std::string BaseKey() const { return init && parent.empty() ? init->run : std::string(); }

  // False: the imported model is evaluated unchanged. Then `train` has only train_length, the
  // length for which its weights were made: {"train":{"train_length"}}.
  bool trains() const { return train.tokens > 0; }

  // {"dataset":{"digest"},"model":{..},"numerics":1,"position":{"method",..},"seed":1,
  //  "tokenizer":{"fingerprint"},"train":{..}}, and "parent" and
  // "init" (RunInit) if present
  Json ToJson() const;
  static Result<Run> FromJson(const Json& json);
  // SHA-256 of the canonical JSON.
  std::string Key() const;
};

// LibTorch's operators, or our kernels: on a GPU these are only of norms, activations, the
// gradients of biases, the loss and AdamW.
enum class OperatorSet { kAten, kLongrun };
template <>
struct EnumNames<OperatorSet> {
  static constexpr std::array<std::string_view, 2> kNames = {"aten", "longrun"};
};

// How a run is executed on a machine: everything that can change bits but is not part of the Run.
// Decided once per run, when its first attempt is placed, and kept by every later attempt. A
// machine that cannot execute the run in this way gets no attempt of it.
struct Execution {
  DeviceKind device_kind = DeviceKind::kCpu;
  std::string device_name;       // a GPU's name: "NVIDIA H200"; "" on a CPU
  std::int64_t threads = 1;      // per trainer process
  std::int64_t micro_batch = 0;  // sequences in a forward-backward pass
  AttentionBackend attention = AttentionBackend::kReference;
  std::string linear = {};  // matrix path: "onednn/AuthenticAMD", "aten/cuda"
  std::optional<OperatorSet> operators = OperatorSet::kAten;  // all other operations
  std::string simd;                                           // model/instruction_set.h
  std::optional<Subnormals> subnormals = Subnormals::kKept;   // in every operation
  // The instructions for a CPU run's products in bf16: "amx", "avx512_bf16"
  // (model/instruction_set.h). "": the run has no such products, or began before this was recorded.
  std::string bf16 = {};
  HeadChunks head = HeadChunks::kByLogits;  // how training on a CPU splits the logits

  // {"device":{"kind","name"},"micro_batch",
  //  "paths":{"attention","linear","operators","simd","subnormals"},"threads"};
  // "paths" also has "bf16" if it is not empty, and "head" if it is not "logits". "operators" and
  // "subnormals" are "" if the machine is to decide. If they are absent, as in records from before
  // there was a choice, they are read as aten and kept.
  Json ToJson() const;
  static Result<Execution> FromJson(const Json& json);
  bool operator==(const Execution&) const = default;
};

// Removes what only training uses, so that an evaluation does not depend on it: an evaluation in
// bf16 takes the instructions that a CPU has, which its rows name.
void ClearTraining(Execution& execution);

// Whether a run that starts from an imported model keeps the extension of its config.json: only
// rope has one, and an extension of the training takes its place.
bool KeepsImportedExtension(const Run& run);

// The choices for a run that begins on a device of this kind. `gpu_has_kernels`: the GPU and the
// build of its trainer have our kernels (HasOperators, sweeps/slot.h).
OperatorSet OperatorsFor(DeviceKind device_kind, bool gpu_has_kernels);
Subnormals SubnormalsFor(DeviceKind device_kind);

}  // namespace longrun
