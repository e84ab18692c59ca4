// The table is arithmetic on result rows: closed forms here, no coordinator.
#include "client/table_view.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longrun {
namespace {

Json RunOf(const std::string& key, const std::string& position, int train_length, int seed) {
  return {{"run_key", key},
          {"dataset", "austen"},
          {"axes",
           {{"position", position},
            {"train_length", train_length},
            {"dataset", "austen"},
            {"seed", seed}}},
          {"run", {{"seed", seed}, {"train", {{"train_length", train_length}}}}}};
}

// A result row of n tokens whose mean is log(perplexity).
Json RowOf(const std::string& key, int context_length, double perplexity, int n,
           const Json& variant = nullptr) {
  return {{"run_key", key},
          {"body",
           {{"metric", "nll"},
            {"context_length", context_length},
            {"split", "validation"},
            {"protocol", "nonoverlap"},
            {"variant", variant},
            {"value", std::log(perplexity)},
            {"se", 0.01},
            {"n", n},
            {"nll_sum", n * std::log(perplexity)},
            {"bytes", n},
            {"status", "ok"}}}};
}

Json ResultsOf(const Json& runs, const Json& rows) {
  return {
      {"runs", runs}, {"rows", rows}, {"axes", {"position", "train_length", "dataset", "seed"}}};
}

TEST(TableViewTest, PerplexityIsTheExponentialOfTheMeanAndItsErrorScalesWithIt) {
  const Json tables = BuildTables(ResultsOf(Json::array({RunOf("a", "cable", 64, 1)}),
                                            Json::array({RowOf("a", 64, 8.0, 1000)})));

  ASSERT_EQ(tables.size(), 1u);
  const Json& cell = tables[0].at("rows")[0].at("cells")[0];
  EXPECT_NEAR(cell.at("perplexity").get<double>(), 8.0, 1e-12);
  EXPECT_NEAR(cell.at("se").get<double>(), 0.08, 1e-12);
  EXPECT_NEAR(cell.at("bits_per_byte").get<double>(), 3.0, 1e-12);  // log2 8, a byte a token
  EXPECT_EQ(cell.at("n"), 1000);
  EXPECT_TRUE(cell.at("at_train_length").get<bool>());
}

TEST(TableViewTest, SeedsAreFoldedIntoMeanAndStandardErrorOfTheMean) {
  const Json tables =
      BuildTables(ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2)},
                            {RowOf("a", 128, 10.0, 500), RowOf("b", 128, 14.0, 500)}));

  const Json& row = tables[0].at("rows")[0];
  EXPECT_EQ(row.at("seeds"), Json({1, 2}));
  const Json& cell = row.at("cells")[0];
  EXPECT_NEAR(cell.at("perplexity").get<double>(), 12.0, 1e-12);
  // Two values: standard deviation |14 - 10| / sqrt(2), divided by sqrt(2).
  EXPECT_NEAR(cell.at("se").get<double>(), 2.0, 1e-12);
  EXPECT_EQ(cell.at("n"), 1000);
}

TEST(TableViewTest, ACellThatIsNotMeasuredYetIsMissingAndTheTableIncomplete) {
  const Json results = ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1)},
                                 Json::array({RowOf("a", 64, 8.0, 10)}));

  const Json tables = BuildTables(results);

  EXPECT_EQ(tables[0].at("rows")[1].at("cells")[0].at("status"), "missing");
  EXPECT_FALSE(TablesComplete(tables));
}

TEST(TableViewTest, TheBestOfAColumnIsMarkedAmongModelsOnly) {
  const Json tables = BuildTables(ResultsOf(
      {RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1)},
      {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10), RowOf("a", 64, 2.0, 10, "unigram")}));

  EXPECT_TRUE(tables[0].at("rows")[0].at("cells")[0].at("best").get<bool>());
  EXPECT_FALSE(tables[0].at("rows")[1].at("cells")[0].at("best").get<bool>());
  EXPECT_EQ(tables[0].at("baselines")[0].at("name"), "unigram");
}

TEST(TableViewTest, TheTextMarksTrainLengthAndBestAndEndsWithTheBaseline) {
  const std::string text = RenderTables(BuildTables(
      ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1)},
                {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10), RowOf("a", 128, 8.5, 10),
                 RowOf("b", 128, 20.0, 10), RowOf("a", 64, 22.0, 10, "unigram"),
                 RowOf("a", 128, 22.0, 10, "unigram")})));

  EXPECT_EQ(text,
            "perplexity by context length (validation, nonoverlap)\n"
            "position  train_length  dataset            64         128\n"
            "cable     64            austen   [8.00±0.08]*  8.50±0.09*\n"
            "rope      64            austen    [9.00±0.09]  20.00±0.20\n"
            "unigram                 austen     22.00±0.22  22.00±0.22\n"
            "[ ] train length   * best of the column   ± standard error\n");
}

TEST(TableViewTest, ARowThatIsNotApplicableSaysSoInsteadOfANumber) {
  Json row = RowOf("a", 128, 8.0, 10);
  row["body"]["status"] = "not_applicable";
  row["body"]["nll_sum"] = nullptr;

  const Json tables =
      BuildTables(ResultsOf(Json::array({RunOf("a", "learned", 64, 1)}), Json::array({row})));

  EXPECT_EQ(tables[0].at("rows")[0].at("cells")[0].at("status"), "not_applicable");
  EXPECT_TRUE(tables[0].at("rows")[0].at("cells")[0].at("perplexity").is_null());
  EXPECT_NE(RenderTables(tables).find("not_applicable"), std::string::npos);
}

TEST(TableViewTest, CsvQuotesWhatNeedsIt) {
  Json run = RunOf("a", "rope", 64, 1);
  run["axes"]["position"] = {{"method", "rope"}, {"base", 500000}, {"layout", "half"}};

  const std::string csv = RenderTablesCsv(
      BuildTables(ResultsOf(Json::array({run}), Json::array({RowOf("a", 64, 8.0, 10)}))));

  EXPECT_NE(csv.find("\"rope(base=500000, layout=half)\",64,austen,,validation,nonoverlap,64,"),
            std::string::npos);
}

}  // namespace
}  // namespace longrun
