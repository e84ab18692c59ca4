// Small tasks for the fake trainer.
#pragma once

#include <string>
#include <string_view>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "base/str.h"
#include "model/position/method.h"
#include "sweeps/task.h"

namespace longrun::agent {

inline const std::string kTestDatasetDigest = Sha256Hex("dataset");

inline Run TestRun(std::int64_t seed) {
  Run run;
  run.model = *ModelConfig::Preset("micro");
  run.model.vocab_size = 256;
  run.model.position = *ResolvePosition(std::string("cable"));
  run.train.train_length = 64;
  run.train.tokens = 614'400;
  run.train.batch_tokens = 1024;
  run.dataset_digest = kTestDatasetDigest;
  run.tokenizer_fingerprint = Sha256Hex("tokenizer");
  run.seed = seed;
  run.numerics = 1;
  return run;
}

// Attempt n of the training of TestRun(seed); its id is a ULID that (seed, n) names.
inline TaskFile TestTrainTask(std::int64_t seed, std::uint64_t n, const Execution& execution) {
  SeededRandom random(static_cast<std::uint64_t>(seed) * 1000 + n);
  TaskFile task;
  task.attempt = MakeUlid(1'700'000'000'000, random);
  task.run = TestRun(seed);
  task.run_key = task.run.Key();
  task.task = Sha256Hex(Str("train ", task.run_key));
  task.epoch = n;
  task.dataset_name = "test";
  task.execution = execution;
  task.execution.micro_batch = 1;
  task.grace_ms = 5000;
  return task;
}

// A folder that passes for the dataset as far as the worker looks.
inline std::string WriteTestDataset(const std::string& folder) {
  LR_CHECK(MakeFolders(folder).ok());
  const std::string manifest = CanonicalJson({{"digest", kTestDatasetDigest}});
  LR_CHECK(WriteFileAtomic(JoinPath(folder, "dataset.json"), manifest).ok());
  return folder;
}

inline void WriteBehaviour(const std::string& cache_dir, const Json& behaviour) {
  LR_CHECK(MakeFolders(cache_dir).ok());
  LR_CHECK(WriteFileAtomic(JoinPath(cache_dir, "behaviour.json"), CanonicalJson(behaviour)).ok());
}

}  // namespace longrun::agent
