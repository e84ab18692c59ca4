// Names of evaluations: written by hand.
#include "sweeps/evaluation_name.h"

#include <gtest/gtest.h>

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

TEST(EvaluationNameTest, WhatIsNoEvaluationHasNoName) {
  EXPECT_EQ(EvaluationName(nullptr, false), "");
  EXPECT_EQ(EvaluationName(Json::object(), false), "");
}

}  // namespace
}  // namespace longrun
