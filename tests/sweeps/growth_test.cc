// What a sweep of many runs costs: no more for each of them than a sweep of few.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "base/str.h"
#include "sweeps/sweep.h"
#include "tests/heap.h"

namespace longrun {
namespace {

// Bytes asked for while a sweep over so many seeds is read and spread out, for each run.
double BytesPerRun(int n_seeds) {
  const DatasetInfo tiny = {.name = "tiny",
                            .digest = std::string(64, 'a'),
                            .tokenizer_fingerprint = std::string(64, 'b'),
                            .vocab_size = 320,
                            .split_tokens = {{"train", 100'000}, {"validation", 10'000}}};
  const DatasetCatalogue datasets = {
      .find = [&tiny](const std::string&) { return std::optional(tiny); }, .names = {"tiny"}};
  std::string seeds = "1";
  for (int i = 2; i <= n_seeds; ++i) seeds += Str(", ", i);
  const std::string yaml = Str(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: many}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [rope], train_length: [64], dataset: [tiny], seed: [)",
                               seeds, R"(]}
  train: {tokens: 20480, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [64], split: validation, protocol: nonoverlap}
)");
  const std::int64_t before = HeapNow().asked;
  const Result<Sweep> sweep = ParseSweep(yaml, "many.yaml", {}, datasets);
  EXPECT_TRUE(sweep.ok()) << sweep.status().message();
  if (!sweep.ok()) return 0;
  EXPECT_EQ(static_cast<int>(sweep->runs.size()), n_seeds);
  return static_cast<double>(HeapNow().asked - before) / n_seeds;
}

// Ten times the runs: were the matrix copied for each of them,
// each would take ten times the memory.
TEST(GrowthTest, ARunOfALargeSweepCostsWhatOneOfASmallSweepDoes) {
  EXPECT_LT(BytesPerRun(2000), 1.2 * BytesPerRun(200));
}

}  // namespace
}  // namespace longrun
