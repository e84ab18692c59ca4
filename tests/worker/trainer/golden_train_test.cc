// Training step by step beside PyTorch: the losses of 50 steps, of a plain loop over transformers'
// GPT-2 with each position method as its authors wrote it, from equal weights on equal samples
// (tools/oracle/golden_train.py made them; their torch and transformers stand in losses.json).
#include <gtest/gtest.h>

#include <cmath>

#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "sweeps/event.h"

namespace longrun::trainer {
namespace {

const std::string kGolden = LONGRUN_SOURCE_DIR "/tests/golden/train";

Json Golden() { return ParseJson(ReadFile(kGolden + "/losses.json").value()).value(); }

Json RunJson(const Json& golden, const std::string& method) {
  const std::int64_t length = golden["train_length"].get<std::int64_t>();
  const std::int64_t batch = golden["batch_sequences"].get<std::int64_t>() * length;
  return {{"model", golden["model"]},
          {"position", method},
          {"seed", golden["seed"]},
          {"train",
           {{"train_length", length},
            {"tokens", static_cast<std::int64_t>(golden["losses"][method].size()) * batch},
            {"batch_tokens", batch},
            {"precision", "fp32"},
            {"order", "random"},
            {"optimizer", golden["optimizer"]},
            {"schedule",
             {{"name", "cosine"},
              {"warmup_tokens", golden["warmup_steps"].get<std::int64_t>() * batch}}},
            {"validate", {{"every", 0}, {"tokens", 0}}}}}};
}

// The losses of a training on the golden text, step by step.
std::vector<double> Losses(const Json& run, const std::vector<std::string>& more = {}) {
  const TempFolder folder("golden_train");
  const auto at = [&](const char* name) { return JoinPath(folder.path(), name); };
  // No step looks at a validation text; a dataset has one.
  EXPECT_TRUE(WriteFileAtomic(at("validation.txt"), "the sea was calm").ok());
  const Status imported = ImportText(
      {.tokenizer = "bytes",
       .splits = {{"train", {kGolden + "/text.txt"}}, {"validation", {at("validation.txt")}}}},
      at("dataset"));
  EXPECT_TRUE(imported.ok()) << imported.message();
  EXPECT_TRUE(WriteFileAtomic(at("run.json"), CanonicalJson(run)).ok());
  std::vector<std::string> argv = {LONGRUN_BIN_DIR "/longrun-trainer",
                                   "train",
                                   "--run",
                                   at("run.json"),
                                   "--dataset",
                                   at("dataset"),
                                   "--output",
                                   at("output")};
  argv.insert(argv.end(), more.begin(), more.end());
  const int pid = Spawn({.argv = argv,
                         .env = {"PATH=/usr/bin:/bin", "OMP_NUM_THREADS=1"},
                         .stdout_path = at("log"),
                         .stderr_path = at("log"),
                         .die_with_parent = true})
                      .value();
  const auto end = WaitFor(pid, 100'000);
  EXPECT_TRUE(end.ok() && end->has_value() && (*end)->code == 0) << ReadFile(at("log")).value();

  std::vector<double> losses;
  const std::string journal = ReadFile(at("output/journal.jsonl")).value();
  for (const std::string& line : Split(journal, '\n')) {
    if (line.empty()) continue;
    const Json record = ParseJson(line).value();
    if (record["kind"] == "series" && record["body"].contains("loss")) {
      losses.push_back(record["body"]["loss"].get<double>());
    }
  }
  return losses;
}

class GoldenTrainTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTrainTest, FiftyStepsGiveTheLossesOfPlainPyTorch) {
  const Json golden = Golden();
  const std::vector<double> losses = Losses(RunJson(golden, GetParam()));
  const Json& expected = golden["losses"][GetParam()];
  ASSERT_EQ(losses.size(), expected.size());
  for (std::size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(losses[step], expected[step].get<double>(), 1e-4) << "step " << step + 1;
  }
  EXPECT_LT(losses.back(), losses.front() - 1.0);  // it learned, so the steps were seen
}

// fp32 adds in another order, and the steps that follow carry it on.
TEST(AccumulationTest, SplitsOfABatchGiveTheSameLossesFor20Steps) {
  const Json run = RunJson(Golden(), "cable");
  const std::vector<double> whole = Losses(run, {"--micro-batch", "8"});
  ASSERT_GE(whole.size(), 20u);
  for (const char* micro_batch : {"1", "2", "4"}) {
    const std::vector<double> split = Losses(run, {"--micro-batch", micro_batch});
    ASSERT_EQ(split.size(), whole.size());
    for (std::size_t step = 0; step < 20; ++step) {
      EXPECT_NEAR(split[step] / whole[step], 1.0, 1e-6) << micro_batch << ", step " << step + 1;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, GoldenTrainTest,
                         testing::Values("learned", "rope", "alibi", "cable"),
                         [](const auto& given) { return std::string(given.param); });

}  // namespace
}  // namespace longrun::trainer
