// Training step by step beside PyTorch: the losses of 50 steps, of a plain loop over transformers' GPT-2
// with each position method as its authors wrote it, from equal weights on equal samples
// (tools/oracle/golden_train.py made them; their torch and transformers stand in losses.json).
#include <gtest/gtest.h>

#include <cmath>

#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "sweeps/event.h"

namespace longrun {
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

class GoldenTrainTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTrainTest, FiftyStepsGiveTheLossesOfPlainPyTorch) {
  const Json golden = Golden();
  const std::string method = GetParam();
  const TempFolder folder("golden_train");
  const auto at = [&](const char* name) { return JoinPath(folder.path(), name); };
  const std::string text = kGolden + "/text.txt";
  // No step looks at a validation text; a dataset has one.
  ASSERT_TRUE(WriteFileAtomic(at("validation.txt"), "the sea was calm").ok());
  const Status imported = ImportText(
      {.tokenizer = "bytes", .splits = {{"train", {text}}, {"validation", {at("validation.txt")}}}},
      at("dataset"));
  ASSERT_TRUE(imported.ok()) << imported.message();
  ASSERT_TRUE(WriteFileAtomic(at("run.json"), CanonicalJson(RunJson(golden, method))).ok());

  const int pid =
      Spawn({.argv = {LONGRUN_BIN_DIR "/longrun-trainer", "train", "--run", at("run.json"),
                      "--dataset", at("dataset"), "--output", at("output")},
             .env = {"PATH=/usr/bin:/bin", "OMP_NUM_THREADS=1"},
             .stdout_path = at("log"),
             .stderr_path = at("log"),
             .die_with_parent = true})
          .value();
  const auto end = WaitFor(pid, 100'000);
  ASSERT_TRUE(end.ok() && end->has_value()) << ReadFile(at("log")).value();
  ASSERT_EQ((*end)->code, 0) << ReadFile(at("log")).value();

  std::vector<double> losses;
  const std::string journal = ReadFile(at("output/journal.jsonl")).value();
  for (const std::string& line : Split(journal, '\n')) {
    if (line.empty()) continue;
    const Json record = ParseJson(line).value();
    if (record["kind"] == "series" && record["body"].contains("loss")) {
      losses.push_back(record["body"]["loss"].get<double>());
    }
  }
  const Json& expected = golden["losses"][method];
  ASSERT_EQ(losses.size(), expected.size());
  for (std::size_t step = 0; step < losses.size(); ++step) {
    EXPECT_NEAR(losses[step], expected[step].get<double>(), 1e-4) << "step " << step + 1;
  }
  EXPECT_LT(losses.back(), losses.front() - 1.0);  // it learned, so the steps were seen
}

INSTANTIATE_TEST_SUITE_P(Methods, GoldenTrainTest,
                         testing::Values("learned", "rope", "alibi", "cable"),
                         [](const auto& given) { return std::string(given.param); });

}  // namespace
}  // namespace longrun
