// Texts that begin alike, with their context read once: the numbers of each text read as a whole.
#include "model/net/branches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/scorer.h"
#include "tests/commit_seed.h"
#include "tests/model/net/fake_gpu.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

using testing::FakeGpu;

constexpr std::int32_t kBos = 12;

struct Question {
  std::vector<std::int32_t> context;
  std::vector<std::vector<std::int32_t>> continuations = {};
  bool bos = false;
};

std::vector<std::int32_t> DrawIds(std::int64_t n, SeededRandom& random) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random.Below(13));
  return ids;
}

// Contexts of `n_context` tokens with the BOS, and of other lengths.
std::vector<Question> DrawQuestions(std::int64_t n_context, SeededRandom& random) {
  std::vector<Question> questions(1 + random.Below(5));
  for (Question& question : questions) {
    question.bos = random.Chance(0.3);
    std::int64_t n = n_context - (question.bos ? 1 : 0);
    if (random.Chance(0.2)) n += 1;
    question.context = DrawIds(n, random);
    const std::uint64_t n_continuations = 1 + random.Below(4);
    for (std::uint64_t k = 0; k < n_continuations; ++k) {
      const std::int64_t longest = random.Chance(0.5) ? 2 : 30;
      question.continuations.push_back(
          DrawIds(1 + static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(longest))),
                  random));
    }
  }
  return questions;
}

std::vector<Branches> BranchesOf(const std::vector<Question>& questions) {
  std::vector<Branches> branches;
  for (const Question& question : questions) {
    branches.push_back(
        {.context = question.context,
         .bos = question.bos,
         .continuations = {question.continuations.begin(), question.continuations.end()}});
  }
  return branches;
}

// The largest error of a token's NLL, relative if that is more than 1, beside the texts read one by
// one, as wholes.
double ErrorOf(Net& net, Net& exact, const std::vector<Question>& questions) {
  NetScorer scorer(net, kBos), whole(exact, kBos);
  const auto given = scorer.BranchNll(BranchesOf(questions));
  EXPECT_TRUE(given.ok()) << given.status().message();
  if (!given.ok() || given->size() != questions.size()) return NAN;
  double error = 0.0;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const Question& question = questions[q];
    EXPECT_EQ((*given)[q].size(), question.continuations.size());
    for (std::size_t k = 0; k < question.continuations.size(); ++k) {
      std::vector<std::int32_t> text = question.context;
      text.insert(text.end(), question.continuations[k].begin(), question.continuations[k].end());
      const Window window = {.score_begin = std::ssize(question.context),
                             .score_end = std::ssize(text),
                             .bos = question.bos};
      const std::vector<float> expected = whole.Nll(text, {&window, 1}).value().front();
      const std::vector<float>& nll = (*given)[q][k];
      EXPECT_EQ(nll.size(), expected.size());
      if (nll.size() != expected.size()) return NAN;
      for (std::size_t t = 0; t < nll.size(); ++t) {
        const double difference = std::abs(static_cast<double>(nll[t]) - expected[t]);
        error = std::max(error, difference / std::max(1.0F, expected[t]));
      }
    }
  }
  return error;
}

struct Case {
  const char* position;
  const char* extension = "null";
  std::int64_t window = 0;
  bool has_fused = true;
};

class BranchesTest : public ::testing::TestWithParam<Case> {
 protected:
  static NetConfig Config() {
    const Json position = ParseJson(GetParam().position).value();
    NetConfig config = SmallConfig(position, position.at("method") == "learned" ? 400 : 0);
    config.model.d_model = 32;
    config.model.body.window = GetParam().window;
    const Json extension = ParseJson(GetParam().extension).value();
    if (extension.is_null()) return config;
    config = WithBody(config, "llama");
    config.extension = ResolveExtension(extension).value();
    return config;
  }
};

// A float's rounding of numbers that are the same in fp64; fused attention sums in fp32.
TEST_P(BranchesTest, EachTokenHasTheLikelihoodThatItHasInItsTextReadAsAWhole) {
  SeededRandom random(testing::CommitSeed());
  Transformer exact = SmallNet(Config(), "fp64");
  Transformer fused =
      SmallNet(Config(), "fp32", 7,
               GetParam().has_fused ? AttentionBackend::kFused : AttentionBackend::kReference);
  for (const std::int64_t n_context : {1, 2, 63, 200, 300}) {
    SCOPED_TRACE(Str("seed ", testing::CommitSeed(), " context ", n_context));
    const std::vector<Question> questions = DrawQuestions(n_context, random);
    EXPECT_LE(ErrorOf(exact, exact, questions), 2e-6);
    EXPECT_LE(ErrorOf(fused, exact, questions), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, BranchesTest,
    ::testing::Values(
        Case{R"({"method":"none"})"}, Case{R"({"method":"learned"})"},
        Case{R"({"method":"sinusoidal"})"}, Case{R"({"method":"rope"})"},
        Case{R"({"method":"alibi"})"}, Case{R"({"method":"cable"})"}, Case{R"({"method":"fox"})"},
        Case{R"({"method":"t5"})"}, Case{R"({"method":"kerple"})"}, Case{R"({"method":"xpos"})"},
        Case{R"({"method":"fire"})"}, Case{R"({"method":"cope"})", "null", 0, false},
        Case{R"({"method":"rope"})", "null", 20}, Case{R"({"method":"cable"})", "null", 100},
        Case{R"({"method":"rope"})", R"({"method":"pi","factor":4})"},
        // Beyond original_length, each length has its own rotation.
        Case{R"({"method":"rope"})", R"({"method":"dynamic_ntk","factor":2,"original_length":64})"},
        Case{R"({"method":"rope"})",
             R"({"method":"self_extend","group":8,"window":32,"original_length":256})"},
        Case{R"({"method":"rope"})",
             R"({"method":"streaming","sinks":4,"recent":50,"original_length":256})"},
        // Reads in pieces of its own, which depend on the whole text.
        Case{R"({"method":"rope"})",
             R"({"method":"gali","noise":"gaussian","original_length":256})"}));

// A context of more tokens than are read at a time, and continuations that are read one by one.
TEST(LongBranchesTest, AreReadInParts) {
  SeededRandom random(testing::CommitSeed());
  NetConfig config = SmallConfig("alibi");
  config.model.d_model = 32;
  config.model.n_layer = 1;
  Transformer net = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
  Question question = {.context = DrawIds(9000, random)};
  for (const std::int64_t n : {1, 3, 20}) question.continuations.push_back(DrawIds(n, random));
  EXPECT_LE(ErrorOf(net, net, {question}), 1e-4);
}

TEST(BranchRefusalTest, LengthsBeyondATableAndUnknownTokensAreRefused) {
  Transformer net = SmallNet(SmallConfig("learned", 8), "fp32");
  NetScorer scorer(net, kBos), without_bos(net);
  const auto ask = [&](NetScorer& of, const Question& question) {
    return of.BranchNll(BranchesOf({question})).status();
  };
  const Question fits = {.context = {1, 2, 3}, .continuations = {{1}, {1, 2, 3, 4, 5, 6}}};
  EXPECT_TRUE(ask(scorer, fits).ok());
  EXPECT_EQ(
      ask(scorer, {.context = {1, 2, 3}, .continuations = {{1}, {1, 2, 3, 4, 5, 6, 7}}}).code(),
      Code::kOutOfRange);
  EXPECT_EQ(ask(scorer, {.context = {1, 13}, .continuations = {{1}, {2}}}).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(ask(scorer, {.context = {1}, .continuations = {{1}, {2, -1}}}).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(ask(without_bos, {.context = {1}, .continuations = {{1}, {2}}, .bos = true}).code(),
            Code::kInvalidArgument);
}

// On a CPU 1 GiB, on a GPU 8 GiB; each token has keys and values of 32 channels in each layer.
TEST(BranchTokensTest, AreThoseOfAConstantNumberOfBytes) {
  NetConfig config = SmallConfig("rope");
  config.model.n_layer = 3;
  config.model.d_model = 32;
  EXPECT_EQ(BranchTokensMax(SmallNet(config, "fp32")), (1LL << 30) / (2 * 3 * 32 * 4));
  EXPECT_EQ(BranchTokensMax(SmallNet(config, "bf16")), (1LL << 30) / (2 * 3 * 32 * 2));
  const Transformer on_gpu =
      Transformer::Make(config, InitialParameters(ParametersOf(config.model).value(), 7),
                        AttentionBackend::kReference, {.device = FakeGpu(), .product = at::kFloat})
          .value();
  EXPECT_EQ(BranchTokensMax(on_gpu), (8LL << 30) / (2 * 3 * 32 * 4));
}

TEST(LongBranchesTest, AContinuationIsReadInPartsToo) {
  SeededRandom random(testing::CommitSeed());
  NetConfig config = SmallConfig("alibi");
  config.model.d_model = 32;
  config.model.n_layer = 1;
  config.model.body.window = 64;
  Transformer net = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
  std::vector<Question> questions(1);
  questions[0].context = DrawIds(3, random);
  for (const std::int64_t n : {9000, 9000, 20}) {
    questions[0].continuations.push_back(DrawIds(n, random));
  }
  EXPECT_LE(ErrorOf(net, net, questions), 1e-4);
}

}  // namespace
}  // namespace longrun
