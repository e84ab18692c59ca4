// The memory of a training, as sweeps/cost.h foretells it, beside what a trainer's process takes.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "model/attention_path.h"
#include "model/data/dataset.h"
#include "model/position/method.h"
#include "sweeps/cost.h"
#include "sweeps/run.h"
#include "tests/sanitized.h"

namespace longrun::trainer {
namespace {

struct Case {
  const char* method;
  AttentionBackend attention;
  std::int64_t train_length;
  bool recomputes;
  std::int64_t n_sequences = 0;  // in a step; 0: as many as have 2,048 tokens
};

// With names in failures.
void PrintTo(const Case& one, std::ostream* out) {
  *out << one.method << ", " << EnumName(one.attention) << ", " << one.train_length
       << (one.recomputes ? ", activation checkpointing" : "");
  if (one.n_sequences > 0) *out << ", " << one.n_sequences << " sequences";
}

class ProcessMemory {
 protected:
  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }
  void Prepare(const Run& run);
  // Of a process of the trainer.
  void Measure(std::vector<std::string> arguments, double& bytes);

  TempFolder folder_;
};

class MemoryTest : public ProcessMemory, public testing::TestWithParam<Case> {};

void ProcessMemory::Prepare(const Run& run) {
  std::string text;
  for (int i = 0; text.size() < 40'000; ++i) text += Str(i * 7919 % 1000, " ");
  ASSERT_TRUE(WriteFileAtomic(At("text.txt"), text).ok());
  ASSERT_TRUE(WriteFileAtomic(At("validation.txt"), "other " + text).ok());
  const Status imported =
      ImportText({.tokenizer = "bytes",
                  .splits = {{"train", {At("text.txt")}}, {"validation", {At("validation.txt")}}}},
                 At("dataset"));
  ASSERT_TRUE(imported.ok()) << imported.message();
  // As a file for training by hand, without what a coordinator adds.
  Json file = run.ToJson();
  for (const char* const key : {"numerics", "dataset", "tokenizer"}) file.erase(key);
  ASSERT_TRUE(WriteFileAtomic(At("run.json"), file.dump()).ok());
}

void ProcessMemory::Measure(std::vector<std::string> arguments, double& bytes) {
  std::vector<std::string> argv = {LONGRUN_BIN_DIR "/longrun-trainer",
                                   arguments.front(),
                                   "--run",
                                   At("run.json"),
                                   "--dataset",
                                   At("dataset"),
                                   "--output",
                                   At(arguments.front())};
  argv.insert(argv.end(), arguments.begin() + 1, arguments.end());
  const Result<int> pid = Spawn({.argv = std::move(argv),
                                 .env = {"OMP_WAIT_POLICY=passive"},
                                 .stdout_path = At("stdout"),
                                 .stderr_path = At("stderr")});
  ASSERT_TRUE(pid.ok()) << pid.status().message();
  int status = 0;
  rusage usage{};
  ASSERT_EQ(wait4(*pid, &status, 0, &usage), *pid);
  ASSERT_EQ(status, 0) << ReadFile(At("stderr")).value();
  bytes = 1024.0 * static_cast<double>(usage.ru_maxrss);
}

// Size tiny with a small vocabulary: activations are most of it, as they are at long lengths.
Run RunOf(const Case& one) {
  Run run;
  run.model = *ModelConfig::Preset("tiny");
  run.model.vocab_size = 320;
  run.model.position = *ResolvePosition(one.method);
  run.train.train_length = one.train_length;
  run.train.batch_tokens = one.n_sequences > 0 ? one.n_sequences * one.train_length
                                               : std::max<std::int64_t>(2048, one.train_length);
  run.train.tokens = 2 * run.train.batch_tokens;
  return run;
}

TEST_P(MemoryTest, IsWithinAQuarterOfWhatWasForetold) {
#ifdef LONGRUN_SANITIZED
  GTEST_SKIP() << "a sanitizer's own memory counts, too";
#endif
  const Case& one = GetParam();
  const auto run = RunOf(one);
  ASSERT_NO_FATAL_FAILURE(Prepare(run));
  const std::int64_t micro_batch = run.train.batch_tokens / one.train_length;
  std::vector<std::string> arguments = {"train", "--attention",
                                        std::string(EnumName(one.attention)), "--micro-batch",
                                        Str(micro_batch)};
  if (one.recomputes) arguments.emplace_back("--activation-checkpointing");
  double measured = 0.0;
  ASSERT_NO_FATAL_FAILURE(Measure(std::move(arguments), measured));
  const auto foretold = static_cast<double>(
      TrainMemoryBytes(run.model, run.train, micro_batch,
                       {.attention = one.attention, .activation_checkpointing = one.recomputes}));
  EXPECT_GE(foretold / measured, 0.75) << foretold << " of " << measured;
  EXPECT_LE(foretold / measured, 1.25) << foretold << " of " << measured;
}

class EvaluationMemoryTest : public ProcessMemory, public testing::Test {};

// The memory of the shorter length is kept, but is not enough for the longer.
TEST_F(EvaluationMemoryTest, IsWithinAQuarterOfWhatWasForetold) {
#ifdef LONGRUN_SANITIZED
  GTEST_SKIP() << "a sanitizer's own memory counts, too";
#endif
  auto run = RunOf({"cable", AttentionBackend::kFused, 1024, false});
  run.train.tokens = run.train.batch_tokens;
  ASSERT_NO_FATAL_FAILURE(Prepare(run));
  double measured = 0.0;
  ASSERT_NO_FATAL_FAILURE(Measure({"train"}, measured));
  ASSERT_NO_FATAL_FAILURE(
      Measure({"evaluate", "--checkpoint", At("train/checkpoints/step-000000001"), "--attention",
               "fused", "--lengths", "1024", "16384", "--params", R"({"score_tokens": 16384})"},
              measured));
  const auto foretold = static_cast<double>(EvaluateMemoryBytes(
      run.model, 16384, {.attention = AttentionBackend::kFused}, /*keys_held=*/0));
  EXPECT_GE(foretold / measured, 0.75) << foretold << " of " << measured;
  EXPECT_LE(foretold / measured, 1.25) << foretold << " of " << measured;
}

INSTANTIATE_TEST_SUITE_P(Paths, MemoryTest,
                         testing::Values(Case{"rope", AttentionBackend::kFused, 1024, false},
                                         Case{"alibi", AttentionBackend::kFused, 1024, true},
                                         Case{"rope", AttentionBackend::kTorch, 1024, false},
                                         Case{"cope", AttentionBackend::kReference, 1024, true},
                                         Case{"rope", AttentionBackend::kReference, 4096, true},
                                         Case{"rope", AttentionBackend::kReference, 1024, true, 16},
                                         Case{"cable", AttentionBackend::kFused, 4096, false}));

}  // namespace
}  // namespace longrun::trainer
