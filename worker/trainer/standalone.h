// longrun-trainer train | evaluate: a run without coordinator and worker. Writes a task file of its
// own into the output folder and carries it out as `task` does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/trainer/ending.h"

namespace longrun {

struct StandaloneOptions {
  std::string run;      // JSON as in sweeps/run.h; dataset, tokenizer and numerics may be left out
  std::string dataset;  // folder
  std::string output;   // attempt folder: journal.jsonl, checkpoints/, artifacts/
  std::string checkpoint;               // train: to resume from; evaluate: to score
  std::vector<std::int64_t> lengths;    // evaluate
  std::string split = "validation";     // evaluate
  std::string device = "cpu";           // cpu | gpu
  std::string attention = "reference";  // reference | torch
  std::int64_t threads = 1;
  std::int64_t micro_batch = 0;  // 0: by the memory formula, for 4 GiB
  std::int64_t checkpoint_every_ms = 600'000;
};

Ending TrainStandalone(const StandaloneOptions& options);
// Prints the perplexities at the end.
Ending EvaluateStandalone(const StandaloneOptions& options);

}  // namespace longrun
