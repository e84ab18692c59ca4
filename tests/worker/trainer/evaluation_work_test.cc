// Shares of an evaluation's work.
#include "worker/trainer/evaluation_work.h"

#include <gtest/gtest.h>

#include "model/position/method.h"
#include "sweeps/cost.h"

namespace longrun::trainer {
namespace {

const DatasetShape kBook = {.name = "book", .split_tokens = {{"validation", 50'000}}};

ModelConfig Micro() {
  ModelConfig model = *ModelConfig::Preset("micro");
  model.vocab_size = 256;
  model.position = *ResolvePosition("alibi");
  return model;
}

Json Resolved(const Evaluation& evaluation, Json given) {
  return ResolveParams(evaluation.params, given, "").value();
}

std::vector<double> Work(const char* name, const Json& given, const std::vector<WorkPart>& parts) {
  const Evaluation& evaluation = **FindEvaluation(name);
  return WorkOf(evaluation, Resolved(evaluation, given), kBook, Micro(), parts);
}

// Twice as many tokens for each token of the context, and more for its attention.
TEST(EvaluationWorkTest, ALongerContextIsMoreWorkIfItsPromptsAre) {
  const ModelConfig model = Micro();
  const std::vector<double> work =
      Work("passkey", {{"context_lengths", {1000, 2000}}, {"protocol", "fitted"}, {"trials", 10}},
           {{.context_length = 1000, .longest_read = 1000},
            {.context_length = 2000, .longest_read = 2000},
            {.context_length = 2000, .longest_read = 7000}});
  EXPECT_DOUBLE_EQ(work[0], EvaluateFlops(model, 10'000, 1000));
  EXPECT_DOUBLE_EQ(work[1], EvaluateFlops(model, 20'000, 2000));
  EXPECT_DOUBLE_EQ(work[2], EvaluateFlops(model, 70'000, 7000));
}

TEST(EvaluationWorkTest, ABaselineAndWhatOnePassHasReadAreHardlyAnyWork) {
  const std::vector<double> plain =
      Work("perplexity", {{"context_lengths", {64, 128}}, {"split", "validation"}},
           {{.context_length = 64, .longest_read = 64},
            {.context_length = 64, .longest_read = 64, .variant = "unigram"},
            {.context_length = 128, .longest_read = 128}});
  EXPECT_LT(plain[1], plain[0] / 100);
  EXPECT_GT(plain[2], plain[0] / 2);
  const std::vector<double> once = Work(
      "perplexity",
      {{"context_lengths", {64, 128}}, {"split", "validation"}, {"protocol", "prefix_curve"}},
      {{.context_length = 64, .longest_read = 64}, {.context_length = 128, .longest_read = 128}});
  EXPECT_LT(once[1], once[0] / 100);
}

TEST(EvaluationWorkTest, OfAnUnknownCostAllNumbersCountTheSame) {
  const Evaluation& perplexity = **FindEvaluation("perplexity");
  const std::vector<WorkPart> parts = {{.context_length = 64, .longest_read = 64, .n_numbers = 3},
                                       {.context_length = 4096, .longest_read = 4096}};
  EXPECT_EQ(WorkOf(perplexity, nullptr, kBook, Micro(), parts), (std::vector<double>{3, 1}));
  const Evaluation& throughput = **FindEvaluation("throughput");
  EXPECT_EQ(WorkOf(throughput, Json::object(), kBook, Micro(), parts), (std::vector<double>{3, 1}));
}

}  // namespace
}  // namespace longrun::trainer
