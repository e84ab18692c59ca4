// longrun-trainer train | evaluate: a run without a coordinator or a worker. Writes its own task
// file into the output folder and runs it like `task`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/trainer/ending.h"

namespace longrun::trainer {

struct StandaloneOptions {
  // The run as JSON (sweeps/run.h); "" means {}. dataset, tokenizer and numerics may be left out.
  // With `init`, so may model, position, init, seed (which is then 1) and, if nothing is trained,
  // train.
  std::string run;
  // A Hugging Face folder, like model.init_from of a sweep: the model from which the run starts or,
  // if the run does not train, the model to evaluate. The run's key is that of a sweep whose model
  // was imported from the folder.
  std::string init;
  std::string dataset;                    // folder
  std::string output;                     // attempt folder: journal.jsonl, checkpoints/, artifacts/
  std::string checkpoint;                 // train: to resume from; evaluate: to score; "": none
  std::string evaluation = "perplexity";  // evaluate: its name
  std::string params = "{}";              // evaluate: its parameters as JSON, as in a sweep
  std::vector<std::int64_t> lengths;      // evaluate: context_lengths, override those of params
  std::string split;                      // evaluate: overrides that of params; "": as in params
  std::string extend;                     // evaluate: an extension as JSON; "": as it was trained
  std::string device = "cpu";             // cpu | gpu
  // reference | torch | fused, or auto: the path of the checkpoint's run; for a new run,
  // AttentionPathFor decides
  std::string attention = "auto";
  std::string matrix;  // for a CPU: aten | onednn; "": that of a new run
  // longrun | aten; "": the value of the checkpoint's run, if it ran on this kind of device; for a
  // new run, longrun where the device has these kernels
  std::string operators;
  // kept | flushed; "": the value of the checkpoint's run; for a new run, flushed on a CPU
  std::string subnormals;
  std::int64_t threads = 1;
  std::int64_t micro_batch = 0;  // 0: by the memory formula, for the GPU's memory, or for 4 GiB
  std::int64_t checkpoint_every_ms = 600'000;
  bool activation_checkpointing = false;  // train
};

Ending TrainStandalone(const StandaloneOptions& options);
// Prints the numbers at the end. Unlike in a sweep, `score_tokens` 0 scores every full window of
// each length; a sweep sets a number that is the same for all lengths.
Ending EvaluateStandalone(const StandaloneOptions& options);

}  // namespace longrun::trainer
