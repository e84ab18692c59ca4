// Which stored rows lack what this version measures of the text's error.
#include "model/evaluation/nll_row.h"

#include <gtest/gtest.h>

#include <string>

namespace longrun {
namespace {

Json Row(Json extra, const std::string& metric = "nll", const std::string& status = "ok") {
  return {{"metric", metric}, {"status", status}, {"extra", std::move(extra)}};
}

// Two blocks of tokens.
Score TwoBlocks() {
  Score score;
  score.n = 64;
  score.bytes = 64;
  score.nll_sum = 96;
  score.block_tokens = 32;
  score.blocks = {{.id = 0, .n = 32, .nll_sum = 40, .bytes = 32},
                  {.id = 1, .n = 32, .nll_sum = 56, .bytes = 32}};
  score.documents = {{.id = 0, .n = 64, .nll_sum = 96, .bytes = 64}};
  return score;
}

TEST(LacksTextErrorTest, ARowOfThisVersionHasAll) {
  Json row = EmptyTokenRow("nll", {}, "validation");
  FillNllRow(row, TwoBlocks());
  EXPECT_FALSE(LacksTextError(row)) << row.dump();
}

// A text of one block has no means by block, however often it is measured.
TEST(LacksTextErrorTest, ARowOfASingleBlockHasAll) {
  Score score = TwoBlocks();
  score.blocks = {{.id = 0, .n = 64, .nll_sum = 96, .bytes = 64}};
  Json row = EmptyTokenRow("nll", {}, "validation");
  FillNllRow(row, score);
  EXPECT_FALSE(row.at("extra").contains("blocks")) << row.dump();
  EXPECT_FALSE(LacksTextError(row)) << row.dump();
}

TEST(LacksTextErrorTest, RowsOfEarlierVersionsLackIt) {
  EXPECT_TRUE(LacksTextError(Row({{"clusters", "window"}, {"n_clusters", 16}})));
  EXPECT_TRUE(LacksTextError(Row({{"clusters", "document"}, {"n_clusters", 20}})));
  EXPECT_TRUE(LacksTextError(Row({{"clusters", "block"}, {"n_clusters", 16}})));
  EXPECT_TRUE(LacksTextError(Row(Json::object(), "pseudo_nll")));
  EXPECT_TRUE(LacksTextError(
      Row({{"blocks", Json::object()}, {"buckets", {{"begin", {1, 2}}, {"nll", {1.0, 1.0}}}}})));
}

TEST(LacksTextErrorTest, RowsWithoutAnNllHaveNothingToMeasureAgain) {
  const Json window = {{"clusters", "window"}};
  EXPECT_FALSE(LacksTextError(Row(window, "tokens_per_s")));
  EXPECT_FALSE(LacksTextError(Row(window, "accuracy")));
  EXPECT_FALSE(LacksTextError(Row(window, "nll", "not_applicable")));
  EXPECT_FALSE(LacksTextError(Row(window, "nll", "out_of_memory")));
  EXPECT_FALSE(LacksTextError(Json()));
}

}  // namespace
}  // namespace longrun
