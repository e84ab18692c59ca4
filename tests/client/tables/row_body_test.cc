// A row's body as it is stored: by this version, by older ones, and by a trainer of one's own.
#include "client/tables/row_body.h"

#include <gtest/gtest.h>

#include "client/tables/pivot.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {
namespace {

Json Whole() {
  return Json::parse(R"({
      "cell": "c", "metric": "nll", "context_length": 64, "split": "validation",
      "protocol": "per_position", "averaging": "token", "variant": "yarn", "depth": 1,
      "value": 2, "se": 0.25, "n": 10, "nll_sum": 20.0, "bytes": 40, "status": "ok",
      "extra": {"clusters": "block", "n_clusters": 3, "df": 1.5, "passes": 7,
                "blocks": {"begin": [0, 16], "n": [6, 4], "nll": [1.5, 2.75]},
                "buckets": {"begin": [1, 33], "n": [6, 4], "nll": [1.5, null]},
                "wilson95": [0.25, 0.75], "scores": "0110", "machine": {"cpu": "x"},
                "quantiles": {"n": 5, "p10": 1, "p25": 2, "median": 3.5, "p75": 4, "p90": 5}}})");
}

TEST(RowBodyTest, EveryMemberIsRead) {
  const RowBody body = ReadBody(Whole());
  EXPECT_EQ(body.metric, "nll");
  EXPECT_EQ(body.status, "ok");
  EXPECT_EQ(body.context_length, 64);
  EXPECT_EQ(body.split, "validation");
  EXPECT_EQ(body.protocol, "per_position");
  EXPECT_EQ(body.averaging, "token");
  EXPECT_EQ(body.variant, "yarn");
  EXPECT_EQ(body.depth, 1.0);
  EXPECT_FALSE(body.tokens_of_context.has_value());
  EXPECT_EQ(body.value, 2.0);
  EXPECT_EQ(body.se, 0.25);
  EXPECT_EQ(body.nll_sum, 20.0);
  EXPECT_EQ(body.n, 10);
  EXPECT_EQ(body.n_bytes, 40);
  EXPECT_EQ(body.clusters, TextClusters::kBlocks);
  EXPECT_EQ(body.n_clusters, 3);
  EXPECT_EQ(body.df, 1.5);
  EXPECT_EQ(body.passes, 7);
  EXPECT_EQ(body.blocks.begin, (std::vector<std::int64_t>{0, 16}));
  EXPECT_EQ(body.blocks.n, (std::vector<std::int64_t>{6, 4}));
  EXPECT_EQ(body.blocks.nll, (std::vector<double>{1.5, 2.75}));
  ASSERT_EQ(body.buckets.size(), 2u);
  EXPECT_EQ(body.buckets[0].begin, 1);
  EXPECT_EQ(body.buckets[0].end, 33);
  EXPECT_EQ(body.buckets[0].n, 6);
  EXPECT_EQ(body.buckets[0].nll_sum, 9.0);
  EXPECT_EQ(body.buckets[1].end, 65);
  EXPECT_EQ(body.buckets[1].n, 0);  // without a mean
  EXPECT_EQ(body.wilson95, std::pair(0.25, 0.75));
  EXPECT_EQ(body.scores, "0110");
  EXPECT_EQ(body.quantiles, (Quantiles{1, 2, 3.5, 4, 5}));
}

TEST(RowBodyTest, AMemberOfAnotherFormIsAbsent) {
  const Json whole = Whole();
  for (const auto& [key, value] : whole.items()) {
    for (const Json& wrong : {Json(), Json(true), Json::array({1}), Json::object()}) {
      Json json = whole;
      json[key] = wrong;
      EXPECT_NO_THROW(ReadBody(json)) << json;
    }
  }
  Json json = whole;
  json["n"] = "many";
  json["context_length"] = 64.5;
  json["split"] = 5;
  const RowBody body = ReadBody(json);
  EXPECT_FALSE(body.n.has_value());
  EXPECT_FALSE(body.context_length.has_value());
  EXPECT_FALSE(body.split.has_value());
  EXPECT_TRUE(body.buckets.empty());  // where the last one ends is not known
  json["n"] = 10.0;
  EXPECT_EQ(ReadBody(json).n, 10);
}

TEST(RowBodyTest, APartOfExtraOfAnotherFormIsAbsent) {
  const auto read = [](const char* key, const char* value) {
    Json json = Whole();
    json["extra"][key] = Json::parse(value);
    return ReadBody(json);
  };
  EXPECT_EQ(read("clusters", R"("window")").clusters, TextClusters::kWindows);
  EXPECT_EQ(read("clusters", R"("document")").clusters, TextClusters::kDocuments);
  EXPECT_EQ(read("clusters", R"("page")").clusters, TextClusters::kUnknown);
  EXPECT_EQ(read("clusters", "3").clusters, TextClusters::kUnknown);
  for (const char* const blocks : {"[]", R"({"begin": [0, 16], "n": [6], "nll": [1.5, 2.75]})",
                                   R"({"begin": [0, 16], "n": [6, 4]})",
                                   R"({"begin": [0, 16], "n": [6, 4], "nll": [1, ""]})"}) {
    EXPECT_TRUE(read("blocks", blocks).blocks.begin.empty()) << blocks;
  }
  for (const char* const buckets :
       {"[]", R"({"begin": [1], "n": [6], "nll": 1})", R"({"begin": [1], "n": [1.5], "nll": [1]})",
        R"({"begin": [1, 33], "n": [6], "nll": [1, 2]})"}) {
    EXPECT_TRUE(read("buckets", buckets).buckets.empty()) << buckets;
  }
  EXPECT_FALSE(read("wilson95", "[0.25]").wilson95.has_value());
  EXPECT_EQ(read("scores", R"("01x")").scores, "");
  EXPECT_FALSE(read("quantiles", R"({"p10": 1})").quantiles.has_value());
}

// Rows of older versions have none.
TEST(RowBodyTest, WithoutExtraTheNumbersAreReadAllTheSame) {
  Json json = Whole();
  json.erase("extra");
  const RowBody body = ReadBody(json);
  EXPECT_EQ(body.nll_sum, 20.0);
  EXPECT_EQ(body.clusters, TextClusters::kUnknown);
  EXPECT_TRUE(body.blocks.begin.empty());
}

// JSON on an axis has whole numbers as a body has them.
TEST(RowBodyTest, AMemberIsAValueOnAnAxis) {
  EXPECT_EQ(AxisValue(std::optional(1.0)).dump(), "1");
  EXPECT_EQ(AxisValue(std::optional(0.5)).dump(), "0.5");
  EXPECT_EQ(AxisValue(std::optional<double>()), nullptr);
  EXPECT_EQ(AxisValue(std::optional<std::string>("test")), "test");
  EXPECT_EQ(AxisValue(std::optional(PositionRange{.from = 4, .to = 7})),
            (Json{{"from", 4}, {"to", 7}}));
}

TEST(ReadResultsTest, ARowThatCannotBeReadIsLeftOut) {
  v1::GetResultsResponse answer;
  v1::RunInfo& run = *answer.add_runs();
  run.set_run_key("a");
  run.set_axes_json("{}");
  run.set_run_json(R"({"seed": 1, "train": {"train_length": 64}})");
  for (const char* const body : {"", "{", "7", "[]", R"({"metric": "nll"})", R"({"status": "ok"})",
                                 R"({"metric": 1, "status": "ok"})"}) {
    v1::ResultRow& row = *answer.add_rows();
    row.set_run_key("a");
    row.set_body_json(body);
  }
  v1::ResultRow& whole = *answer.add_rows();
  whole.set_run_key("a");
  whole.set_body_json(CanonicalJson(Whole()));
  const SweepResults results = ReadResults("sweep", answer);
  ASSERT_EQ(results.rows.size(), 1u);
  EXPECT_EQ(results.rows[0].body.n, 10);
  EXPECT_TRUE(BuildPivot({results}, {}).ok());
}

}  // namespace
}  // namespace longrun::client
