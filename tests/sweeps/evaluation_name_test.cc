// Names of evaluations: written by hand.
#include "sweeps/evaluation_name.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/extension/extension.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"

namespace longrun {
namespace {

TEST(EvaluationNameTest, TheProtocolStandsWithItsOwnParametersThatAreNotTheDefault) {
  const Json params = {{"split", "validation"}, {"protocol", "sliding_bos"},
                       {"baseline", "none"},    {"score_tokens", 2048},
                       {"stride", 16},          {"truncate", false}};
  EXPECT_EQ(EvaluationName({{"perplexity", params}}, false), "sliding_bos(stride=16)");
  EXPECT_EQ(EvaluationName({{"perplexity", params}}, true),
            "sliding_bos(score_tokens=2048,stride=16)");
}

TEST(EvaluationNameTest, WithoutParametersTheProtocolAloneAndWithoutAProtocolTheEvaluation) {
  EXPECT_EQ(EvaluationName({{"perplexity",
                             {{"split", "test"}, {"protocol", "nonoverlap"}, {"score_tokens", 9}}}},
                           false),
            "nonoverlap");
  EXPECT_EQ(EvaluationName({{"throughput", {{"iterations", 77}}}}, false), "throughput");
  EXPECT_EQ(EvaluationName({{"throughput", {{"iterations", 77}}}}, true),
            "throughput(iterations=77)");
}

TEST(EvaluationNameTest, AnExtensionStandsBehindTheName) {
  const Json yarn =
      ResolveExtension({{"method", "yarn"}, {"factor", 4}, {"original_length", 64}}).value();
  const Json plain = {{"perplexity", {{"protocol", "nonoverlap"}}}};
  EXPECT_EQ(EvaluationName(WithExtension(plain, yarn), false),
            "nonoverlap under yarn(factor=4,original_length=64)");
  EXPECT_EQ(EvaluationName(WithExtension({{"throughput", {{"iterations", 77}}}}, yarn), false),
            "throughput under yarn(factor=4,original_length=64)");
  EXPECT_EQ(WithExtension(plain, Json()), plain);
  EXPECT_EQ(WithoutExtension(WithExtension(plain, yarn)), plain);
  EXPECT_EQ(ExtensionOf(WithExtension(plain, yarn)), yarn);
}

TEST(EvaluationNameTest, AnotherDatasetThanTheRunsStandsBehindTheProtocol) {
  const Json pi = ResolveExtension({{"method", "pi"}, {"factor", 4}}).value();
  const Json plain = {{"perplexity", {{"protocol", "last_k"}, {"k", 8}}}};
  const Json books = WithEvaluatedDataset(plain, {.name = "books", .digest = "5f"});
  EXPECT_EQ(EvaluationName(books, false), "last_k(k=8) on books");
  EXPECT_EQ(EvaluationName(books, true), "last_k(k=8) on books");
  EXPECT_EQ(EvaluationName(WithExtension(books, pi), false),
            "last_k(k=8) on books under " + ExtensionText(AsGiven(pi, 0)));
}

TEST(EvaluationNameTest, TablesNameAnExtensionWithoutItsDefaults) {
  const auto name = [](const Json& given, std::int64_t trained_length) {
    const Json extension = ResolveExtension(WithOriginalLength(given, trained_length)).value();
    return CanonicalJson(
        ExtensionName(WithExtension({{"perplexity", Json::object()}}, extension), trained_length));
  };
  EXPECT_EQ(name({{"method", "yarn"}, {"factor", 4}}, 64), R"({"factor":4,"method":"yarn"})");
  EXPECT_EQ(name({{"method", "yarn"}, {"factor", 4}, {"original_length", 32}}, 64),
            R"({"factor":4,"method":"yarn","original_length":32})");
  // The default of a factor of 4, and another.
  EXPECT_EQ(
      name({{"method", "yarn"}, {"factor", 4}, {"attention_factor", 0.1 * std::log(4.0) + 1}}, 64),
      R"({"factor":4,"method":"yarn"})");
  EXPECT_EQ(name({{"method", "yarn"}, {"factor", 4}, {"attention_factor", 1}}, 64),
            R"({"attention_factor":1,"factor":4,"method":"yarn"})");
  // The results of gali depend on its chunk, which is named even where it has its default, the
  // local window.
  EXPECT_EQ(name({{"method", "gali"}}, 64), R"({"chunk":32,"method":"gali"})");
  EXPECT_EQ(name({{"method", "gali"}, {"local_window", 8}}, 64),
            R"({"chunk":8,"local_window":8,"method":"gali"})");
  EXPECT_EQ(name({{"method", "gali"}, {"chunk", 3000}}, 64), R"({"chunk":3000,"method":"gali"})");
  EXPECT_EQ(ExtensionName({{"perplexity", Json::object()}}, 64), "none");
  // What another release stored is shown as it stands.
  const Json newer = {{"method", "newer"}, {"by", 3}};
  EXPECT_EQ(ExtensionName({{"perplexity", {{"extension", newer}}}}, 64), newer);
}

TEST(EvaluationNameTest, TablesListNoneFirstAndThenByFactor) {
  const auto pi = [](int factor) { return Json{{"method", "pi"}, {"factor", factor}}; };
  std::vector<Json> names = {
      "streaming_of_another_release", pi(16), "none", {{"method", "yarn"}, {"factor", 2}}, pi(4)};
  std::ranges::sort(names, IsExtensionBefore);
  EXPECT_EQ(names, (std::vector<Json>{"none",
                                      pi(4),
                                      pi(16),
                                      {{"method", "yarn"}, {"factor", 2}},
                                      "streaming_of_another_release"}));
}

TEST(EvaluationNameTest, WhatIsNoEvaluationHasNoName) {
  EXPECT_EQ(EvaluationName(nullptr, false), "");
  EXPECT_EQ(EvaluationName(Json::object(), false), "");
}

}  // namespace
}  // namespace longrun
