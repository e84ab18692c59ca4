// The error of a bucket of context lengths, from its sums by block.
#include "client/tables/by_position.h"

#include <gtest/gtest.h>

#include <cmath>

#include "client/tables/pivot.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

// Sums of 16 blocks of 5 tokens, and their standard error by text_error.h's formulas in Python.
constexpr double kSums[] = {10.5, 11.25, 12.0, 11.5, 12.5, 13.0,  13.25, 12.75,
                            11.0, 10.75, 10.0, 9.5,  9.75, 10.25, 11.5,  12.25};
constexpr double kError = 0.157023203894391;

// At a context of 1: the first token of each of these blocks, all with the NLL 2. At 2: the other
// four. At 3: tokens of only one block. At 4: none.
Json Curve() {
  Json begin = Json::array();
  Json n = {Json::array(), Json::array(), Json::array(), Json::array()}, nll = n;
  double sum = 0.0;
  for (std::size_t b = 0; b < 16; ++b) {
    begin.push_back(64 * b);
    n[0].push_back(1);
    nll[0].push_back(2.0);
    n[1].push_back(4);
    nll[1].push_back((kSums[b] - 2.0) / 4.0);
    n[2].push_back(b == 3 ? 7 : 0);
    nll[2].push_back(b == 3 ? Json(1.5) : Json());
    n[3].push_back(0);
    nll[3].push_back(nullptr);
    sum += kSums[b] - 2.0;
  }
  return {{"begin", {1, 2, 3, 4}},
          {"n", {16, 64, 7, 0}},
          {"nll", {2.0, sum / 64.0, 1.5, nullptr}},
          {"blocks", {{"begin", begin}, {"n", n}, {"nll", nll}}}};
}

SweepResults Positions(const Json& curve = Curve()) {
  return ResultsOf({RunOf("a", "cable", 2, 1)}, {RowOfCurve("a", 0.0, 8, curve)});
}

TEST(ByPositionTest, ABucketHasTheErrorOfItsBlocks) {
  const std::vector<ResultRow> rows = ByPosition({Positions()}, 0).at(0).rows;
  ASSERT_EQ(rows.size(), 3u);
  const RowBody& constant = rows[0].body;
  EXPECT_EQ(constant.se, 0.0);
  EXPECT_EQ(constant.clusters, TextClusters::kBlocks);
  EXPECT_EQ(constant.n_clusters, 16);
  EXPECT_EQ(constant.df, 15.0);
  // The sums less 2 each, and of 4 tokens instead of 5.
  EXPECT_NEAR(rows[1].body.se.value(), kError * 5.0 / 4.0, 1e-12);
  EXPECT_EQ(rows[1].body.blocks.begin.at(15), 960);
  EXPECT_EQ(rows[1].body.blocks.n.at(15), 4);
  EXPECT_DOUBLE_EQ(rows[1].body.blocks.nll.at(15), 2.5625);
  const RowBody& one_block = rows[2].body;
  EXPECT_FALSE(one_block.se.has_value());
  EXPECT_EQ(one_block.n_clusters, 1);
  EXPECT_FALSE(one_block.df.has_value());
}

// Contexts of 1 and 2 together are the blocks themselves.
TEST(ByPositionTest, JoinedBucketsHaveTheErrorOfTheirSums) {
  const std::vector<ResultRow> rows = ByPosition({Positions()}, 2).at(0).rows;
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_NEAR(rows[0].body.se.value(), kError, 1e-12);
  EXPECT_EQ(rows[0].body.df, 15.0);
}

TEST(ByPositionTest, OneSeedHasAnErrorInTheTable) {
  const auto tables = BuildPivot({Positions()}, {.metrics = {"nll_by_position"}, .buckets_max = 2});
  ASSERT_TRUE(tables.ok()) << tables.status().message();
  const PivotCell& cell = tables->at(0).rows[0].cells[0];
  EXPECT_NEAR(cell.se.value(), kError, 1e-12);
}

// A bucket of which one block has nearly all tokens has few degrees of freedom, also in a
// comparison.
TEST(ByPositionTest, AComparisonOfUnevenBlocksCountsTheirEffectiveNumber) {
  Json curve = Curve();
  curve["blocks"]["n"][1][0] = 60;  // and 15 of 4: (120)^2 / (60^2 + 15 * 4^2) = 3.75
  SweepResults results = Positions(curve);
  curve["blocks"]["nll"][1][3] = 1.0;
  results.runs.push_back(RunOf("b", "alibi", 2, 1));
  results.rows.push_back(RowOfCurve("b", 0.0, 8, curve));
  const auto tables =
      BuildPivot({results}, {.metrics = {"nll_by_position"},
                             .against = PivotFilter{.axis = "position", .values = {"alibi"}}});
  ASSERT_TRUE(tables.ok()) << tables.status().message();
  const PivotCell& cell = tables->at(0).rows.at(0).cells.at(1);
  EXPECT_TRUE(cell.is_text_paired);
  EXPECT_NEAR(cell.estimate.text.df, 2.75, 1e-12);
}

TEST(ByPositionTest, BlocksOfAnotherFormAreLeftOut) {
  for (const Json& wrong : {Json("x"), Json{{"begin", {1, 2}}}, Json{{"begin", "x"}, {"n", 1}},
                            Json::parse(R"({"begin":"x","n":[[1]],"nll":[[1.0]]})")}) {
    Json curve = Curve();
    curve["blocks"] = wrong;
    const std::vector<ResultRow> rows = ByPosition({Positions(curve)}, 2).at(0).rows;
    ASSERT_EQ(rows.size(), 2u) << wrong;
    EXPECT_FALSE(rows[0].body.se.has_value()) << wrong;
  }
  Json curve = Curve();
  curve["n"] = 1;
  EXPECT_NO_THROW(ByPosition({Positions(curve)}, 0));
}

TEST(ByPositionTest, RowsOfEarlierReleasesHaveNone) {
  const std::vector<ResultRow> rows =
      ByPosition({ResultsOf({RunOf("a", "cable", 2, 1)}, {RowByPosition("a", {4, 3, 2, 1})})}, 0)
          .at(0)
          .rows;
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_FALSE(rows[0].body.se.has_value());
  EXPECT_FALSE(rows[0].body.n_clusters.has_value());
  EXPECT_TRUE(rows[0].body.blocks.begin.empty());
}

}  // namespace
}  // namespace longrun::client
