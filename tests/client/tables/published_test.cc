// Published numbers beside ours: closed forms on result rows, no coordinator.
#include "client/tables/published.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/str.h"
#include "client/tables/pivot_arguments.h"
#include "client/tables/published_format.h"
#include "model/data/tokenizer.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

// cable and rope trained at 64; theirs: cable at 64 and 128, alibi at 64.
PublishedTable Table(const std::string& metric = "perplexity") {
  return {.name = "paper",
          .title = "a table",
          .source = "somebody 2020, Table 1",
          .metric = metric,
          .axes = {"position", "train_length"},
          .values = {{.at = {"cable", "64"}, .context_length = 64, .value = 10.0},
                     {.at = {"cable", "64"}, .context_length = 128, .value = 16.0},
                     {.at = {"alibi", "64"}, .context_length = 64, .value = 11.0}}};
}

// cable has perplexity 12 and 16 at 64 and 128, with an error of 0.01 of the nll.
SweepResults Ours() {
  return ResultsOf({RunOf("c", "cable", 64, 1), RunOf("r", "rope", 64, 1)},
                   {RowOf("c", 64, 12.0, 500), RowOf("c", 128, 16.0, 500),
                    RowOf("r", 64, 20.0, 500), RowOf("r", 128, 30.0, 500)});
}

// As `--where` has it.
PivotRequest Where(const std::string& text) {
  PivotArguments arguments;
  arguments.where = {text};
  return ReadPivotRequest(arguments).value();
}

PublishedComparison Comparison(const SweepResults& ours, const PublishedTable& theirs,
                               const PivotRequest& request = {}) {
  const Result<PublishedComparison> comparison = CompareWithPublished({ours}, theirs, request);
  EXPECT_TRUE(comparison.ok()) << comparison.status().message();
  return comparison.ok() ? *comparison : PublishedComparison();
}

std::string WhyNot(const SweepResults& ours, const PublishedTable& theirs,
                   const PivotRequest& request) {
  const auto comparison = CompareWithPublished({ours}, theirs, request);
  EXPECT_FALSE(comparison.ok());
  return comparison.status().message();
}

TEST(PublishedComparisonTest, APerplexityIsComparedAsARatioWithTheIntervalOfOurs) {
  const PublishedComparison comparison = Comparison(Ours(), Table());
  ASSERT_EQ(comparison.lines.size(), 3u);
  EXPECT_TRUE(comparison.is_ratio);
  const PublishedLine& line = comparison.lines[0];
  EXPECT_NEAR(*line.ours, 12.0, 1e-12);
  EXPECT_NEAR(*line.difference, 1.2, 1e-12);
  // Ours is exp(ln 12 ± 1.96 * 0.01), and the ratio a tenth of it.
  EXPECT_NEAR(line.difference95->first, 1.2 * std::exp(-0.01 * 1.959964), 1e-6);
  EXPECT_NEAR(line.difference95->second, 1.2 * std::exp(0.01 * 1.959964), 1e-6);
  EXPECT_TRUE(line.is_apart);
  EXPECT_EQ(line.runs, std::vector<std::string>{"c"});

  EXPECT_NEAR(*comparison.lines[1].difference, 1.0, 1e-12);
  EXPECT_FALSE(comparison.lines[1].is_apart);
}

TEST(PublishedComparisonTest, AnNllIsComparedAsADifference) {
  PublishedTable theirs = Table("nll");
  theirs.values = {{.at = {"cable", "64"}, .context_length = 64, .value = 2.5}};
  const PublishedComparison comparison = Comparison(Ours(), theirs);
  EXPECT_FALSE(comparison.is_ratio);
  EXPECT_NEAR(*comparison.lines[0].difference, std::log(12.0) - 2.5, 1e-12);
  EXPECT_NEAR(comparison.lines[0].difference95->second - comparison.lines[0].difference95->first,
              2 * 1.959964 * 0.01, 1e-6);
}

TEST(PublishedComparisonTest, WhatTheSweepDidNotMeasureIsCountedAndShown) {
  SweepResults ours = Ours();
  ours.rows[1] = RowWithout("c", 128, "diverged");
  const PublishedComparison comparison = Comparison(ours, Table());
  EXPECT_EQ(comparison.n_published, 3u);
  EXPECT_EQ(comparison.n_measured, 1u);
  EXPECT_EQ(comparison.lines[1].status, "diverged");
  EXPECT_EQ(comparison.lines[1].ours_text, "diverged");
  EXPECT_EQ(comparison.lines[2].status, "not_in_sweep");
  EXPECT_EQ(comparison.lines[2].ours_text, "–");
  EXPECT_EQ(comparison.lines[2].at, (std::vector<std::string>{"alibi", "64"}));
}

// A published "rope" does not say which base: each of ours has a line, with its own name.
TEST(PublishedComparisonTest, AMethodsNameStandsForAllOfItsValues) {
  const Json base_5 = {{"method", "rope"}, {"base", 500000}};
  const Json base_1 = {{"method", "rope"}, {"base", 10000}};
  const SweepResults ours = ResultsOf({RunOf("a", base_1, 64, 1), RunOf("b", base_5, 64, 1)},
                                      {RowOf("a", 64, 10.0, 500), RowOf("b", 64, 20.0, 500)});
  PublishedTable theirs = Table();
  theirs.values = {{.at = {"rope", "64"}, .context_length = 64, .value = 10.0}};
  const PublishedComparison comparison = Comparison(ours, theirs);
  ASSERT_EQ(comparison.lines.size(), 2u);
  EXPECT_EQ(comparison.n_measured, 1u);
  EXPECT_EQ(comparison.lines[0].at[0], "rope(base=10000)");
  EXPECT_EQ(comparison.lines[1].at[0], "rope(base=500000)");
  theirs.values[0].at[0] = "rope(base=500000)";
  EXPECT_EQ(Comparison(ours, theirs).lines.size(), 1u);
}

// A paper's file may write a count as a sweep file does.
TEST(PublishedComparisonTest, ACountWithASuffixIsItsNumberUnlessItIsInQuotes) {
  const auto table = [](const char* train_length) {
    return ParsePublishedTable(Str("published:\n  title: t\n  source: s\n  metric: perplexity\n"
                                   "  axes: [position, train_length]\n"
                                   "  settings: {train.tokens: 2M, dataset: 1K}\n"
                                   "  values: [{position: cable, train_length: ",
                                   train_length, ", context_length: 64, value: 10}]\n"),
                               "p.yaml");
  };
  ResultRun run = RunOf("c", "cable", 1000, 1, "1K");
  run.resolved["train"]["tokens"] = 2'000'000;
  const SweepResults ours = ResultsOf({run}, {RowOf("c", 64, 12.0, 500)});
  for (const char* same : {"1K", "1000"}) {
    ASSERT_TRUE(table(same).ok()) << table(same).status().message();
    const PublishedComparison comparison = Comparison(ours, *table(same));
    ASSERT_EQ(comparison.lines.size(), 1u);
    EXPECT_TRUE(comparison.lines[0].ours.has_value()) << same;
    EXPECT_EQ(comparison.lines[0].at[1], "1000");
    EXPECT_EQ(comparison.equal.size(), 2u);
    EXPECT_EQ(Comparison(ours, *table(same), Where("train_length=1000")).n_measured, 1u) << same;
  }
  EXPECT_EQ(Comparison(ours, *table("\"1K\"")).n_measured, 0u);
  EXPECT_EQ(Comparison(ours, *table("1Ki")).n_measured, 0u);  // 1024
}

TEST(PublishedComparisonTest, AReadingErrorWidensTheirs) {
  PublishedTable theirs = Table();
  theirs.values = {{.at = {"cable", "64"}, .context_length = 64, .value = 12.3}};
  EXPECT_TRUE(Comparison(Ours(), theirs).lines[0].is_apart);  // ours is 12 ± 0.24
  theirs.reading_error = 0.1;
  EXPECT_FALSE(Comparison(Ours(), theirs).lines[0].is_apart);
}

// Each of the two intervals ends before theirs, and both together do not.
TEST(PublishedComparisonTest, TheirsIsApartFromSeedsAndTextTogether) {
  // The nll of two seeds, ln 12 ± d, has the error d over the seeds: 12.706 d to each side. The
  // text's is 0.01 of each row: 1.96 times that.
  const double d = 0.001, of_seeds = 12.706205 * d, of_text = 1.959964 * 0.01;
  const SweepResults ours = ResultsOf(
      {RunOf("a", "cable", 64, 1), RunOf("b", "cable", 64, 2)},
      {RowOf("a", 64, 12.0 * std::exp(d), 500), RowOf("b", 64, 12.0 * std::exp(-d), 500)});
  PublishedTable theirs = Table();
  const auto is_apart = [&](double distance) {
    theirs.values = {
        {.at = {"cable", "64"}, .context_length = 64, .value = 12.0 * std::exp(distance)}};
    return Comparison(ours, theirs).lines[0].is_apart;
  };
  const double both = std::hypot(of_seeds, of_text);
  EXPECT_FALSE(is_apart(1.05 * std::max(of_seeds, of_text)));
  EXPECT_FALSE(is_apart(0.99 * both));
  EXPECT_TRUE(is_apart(1.01 * both));
}

TEST(PublishedComparisonTest, SettingsAreThoseOfTheRunsThatAreCompared) {
  PublishedTable theirs = Table();
  theirs.settings = {{"dataset", "austen"},         {"model.n_layer", 16},
                     {"train.optimizer.lr", 0.002}, {"train.optimizer.name", "nag"},
                     {"evaluate.split", "test"},    {"evaluate.protocol", "nonoverlap"},
                     {"position.base", 1}};
  SweepResults ours = Ours();
  ours.runs[1].resolved["model"]["n_layer"] = 99;  // of rope, which theirs does not have
  const PublishedComparison comparison = Comparison(ours, theirs);
  const auto names = [](const std::vector<PublishedSetting>& settings) {
    std::vector<std::string> list;
    for (const PublishedSetting& one : settings) list.push_back(one.key);
    return Join(list, " ");
  };
  EXPECT_EQ(names(comparison.equal), "dataset train.optimizer.lr evaluate.protocol");
  EXPECT_EQ(names(comparison.differing), "model.n_layer evaluate.split");
  EXPECT_EQ(names(comparison.absent), "train.optimizer.name position.base");
  EXPECT_EQ(comparison.differing[0].ours, std::vector<Json>{3});
  EXPECT_EQ(comparison.differing[1].ours, std::vector<Json>{"validation"});
}

TEST(PublishedComparisonTest, ATokenizerIsKnownByItsName) {
  PublishedTable theirs = Table();
  theirs.settings = {{"tokenizer", "gpt2"}};
  SweepResults ours = Ours();
  const std::string bytes = MakeTokenizer("bytes").value()->vocabulary().Fingerprint();
  ours.runs[0].resolved["tokenizer"]["fingerprint"] = bytes;
  EXPECT_EQ(Comparison(ours, theirs).differing.at(0).ours, std::vector<Json>{"bytes"});
  ours.runs[0].resolved["tokenizer"]["fingerprint"] = std::string(64, 'a');
  EXPECT_EQ(Comparison(ours, theirs).differing.at(0).ours,
            std::vector<Json>{"fingerprint aaaaaaaa"});
}

TEST(PublishedComparisonTest, ASweepWithoutTheAxisOrTheMetricHasNothingToCompare) {
  PublishedTable theirs = Table("acc");
  theirs.axes = {"extension", "train_length"};
  const PublishedComparison comparison = Comparison(Ours(), theirs);
  EXPECT_EQ(comparison.n_measured, 0u);
  EXPECT_EQ(comparison.lines.size(), 3u);
  EXPECT_EQ(comparison.lacking,
            (std::vector<std::string>{"axis extension", "numbers of metric acc"}));
  const std::string text = RenderPublished(comparison, "table");
  EXPECT_NE(
      text.find(
          "0 of 3 published numbers have a counterpart in ours; 3 do not: the sweep has no axis "
          "extension, no numbers of metric acc\n"),
      std::string::npos)
      << text;
  EXPECT_EQ(WhyNot(Ours(), theirs, Where("dataset=books")),
            "--where dataset: \"books\" is not a value of dataset; its values are austen");
}

TEST(PublishedComparisonTest, WhereChoosesAmongTheirsAndOurs) {
  PublishedComparison comparison =
      Comparison(Ours(), Table(), Where("position=cable,context_length=128"));
  ASSERT_EQ(comparison.lines.size(), 1u);
  EXPECT_EQ(comparison.lines[0].theirs, 16.0);
  EXPECT_EQ(WhyNot(Ours(), Table(), Where("position=rope")),
            "--where position: paper has no number at \"rope\"; it has numbers at cable, alibi");
  EXPECT_EQ(WhyNot(Ours(), Table(), Where("context_length=64,100")),
            "--where context_length: paper has no number at \"100\"; it has numbers at 64, 128");
  EXPECT_EQ(WhyNot(Ours(), Table(), Where("dataset=books")),
            "--where dataset: \"books\" is not a value of dataset; its values are austen");
  // Theirs, which the sweep does not have.
  EXPECT_EQ(Comparison(Ours(), Table(), Where("position=alibi")).lines[0].ours_text, "–");

  // Two splits are two tables.
  SweepResults ours = Ours();
  ours.rows.push_back(RowOf("c", 64, 13.0, 500));
  ours.rows.back().body.split = "test";
  EXPECT_EQ(WhyNot(ours, Table(), {}),
            "paper can be compared with several tables of the sweep; choose one with --where: "
            "split=test or split=validation");
  PublishedTable of_test = Table();
  of_test.settings = {{"evaluate.split", "test"}};
  EXPECT_NEAR(*Comparison(ours, of_test).lines[0].ours, 13.0, 1e-12);
  comparison = Comparison(ours, Table(), Where("split=test"));
  EXPECT_NEAR(*comparison.lines[0].ours, 13.0, 1e-12);
}

TEST(PublishedComparisonTest, OptionsThatContradictAPublishedTableAreRefused) {
  EXPECT_EQ(WhyNot(Ours(), Table(), {.rows = {"position"}}),
            "--rows cannot be used with --published: the published table has its own axes; leave "
            "--rows out");
  EXPECT_EQ(WhyNot(Ours(), Table(), {.cols = {"position"}}),
            "--cols cannot be used with --published: the published table has its own axes; leave "
            "--cols out");
  EXPECT_EQ(
      WhyNot(Ours(), Table(), {.relative = true}),
      "--relative cannot be used with --published: both choose the number to compare with; leave "
      "--relative out");
  EXPECT_EQ(
      WhyNot(Ours(), Table(), {.against = PivotFilter{.axis = "position", .values = {"rope"}}}),
      "--against cannot be used with --published: both choose the number to compare with; leave "
      "--against "
      "out");
  EXPECT_EQ(WhyNot(Ours(), Table(), {.metrics = {"nll"}}),
            "--metric nll cannot be used with --published: the metric of paper is "
            "perplexity; leave --metric out");
  EXPECT_EQ(Comparison(Ours(), Table(), {.metrics = {"perplexity"}}).n_measured, 2u);
}

TEST(PublishedFormatTest, EveryFormShowsTheSame) {
  PublishedTable theirs = Table();
  theirs.settings = {{"model.n_layer", 16}, {"dataset", "austen"}, {"train.steps", 5}};
  theirs.reading_error = 0.05;
  theirs.notes = "a note";
  const PublishedComparison comparison = Comparison(Ours(), theirs);
  EXPECT_EQ(RenderPublished(comparison, "table"), R"(perplexity, published and ours: a table
position  train_length  context  theirs        ours  ours / theirs
cable     64                 64      10  12.00±0.24   1.200±0.024*
cable     64                128      16  16.00±0.31    1.000±0.020
alibi     64                 64      11           –
2 of 3 published numbers have a counterpart in ours; 1 does not
our numbers: ± 95 % interval over the text   * the published number is outside our 95 % interval for all known errors   the published numbers were read from a figure, with errors of up to 0.05

settings that differ
setting        theirs  ours
model.n_layer  16      3
train.steps    5       –
–: the sweep has no such setting
settings that agree: dataset

source: somebody 2020, Table 1
ours: perplexity by context length (validation, nonoverlap, austen)
notes: a note
)");
  EXPECT_EQ(RenderPublished(comparison, "markdown"), R"(**perplexity, published and ours: a table**

| position | train_length | context | theirs | ours | ours / theirs |
| --- | --- | ---: | ---: | ---: | ---: |
| cable | 64 | 64 | 10 | 12.00±0.24 | 1.200±0.024\* |
| cable | 64 | 128 | 16 | 16.00±0.31 | 1.000±0.020 |
| alibi | 64 | 64 | 11 | – |  |

2 of 3 published numbers have a counterpart in ours; 1 does not

our numbers: ± 95 % interval over the text   \* the published number is outside our 95 % interval for all known errors   the published numbers were read from a figure, with errors of up to 0.05

| setting that differs | theirs | ours |
| --- | --- | --- |
| model.n_layer | 16 | 3 |
| train.steps | 5 | – |

–: the sweep has no such setting

settings that agree: dataset

Source: somebody 2020, Table 1

Ours: perplexity by context length (validation, nonoverlap, austen)

a note
)");
  const std::vector<std::string> csv = Split(RenderPublished(comparison, "csv"), '\n');
  EXPECT_EQ(csv.at(0),
            "position,train_length,context_length,metric,theirs,ours,ci95_low,ci95_high,status,"
            "scale,difference,difference_ci95_low,difference_ci95_high,apart,runs,published");
  EXPECT_TRUE(csv.at(1).starts_with("cable,64,64,perplexity,10,12,11.767")) << csv.at(1);
  EXPECT_TRUE(csv.at(1).ends_with(",1,c,paper")) << csv.at(1);
  EXPECT_EQ(csv.at(3), "alibi,64,64,perplexity,11,,,,not_in_sweep,,,,,,,paper");
  const Json json = ParseJson(RenderPublished(comparison, "json")).value();
  EXPECT_EQ(json.at("scale"), "ratio");
  EXPECT_EQ(json.at("of"), 3);
  EXPECT_EQ(json.at("measured"), 2);
  EXPECT_EQ(json.at("values")[0].at("position"), "cable");
  EXPECT_EQ(json.at("values")[0].at("train_length"), 64);
  EXPECT_NEAR(json.at("values")[0].at("difference").get<double>(), 1.2, 1e-12);
  EXPECT_TRUE(json.at("values")[2].at("ours").is_null());
  EXPECT_EQ(json.at("settings").at("differing")[0],
            (Json{{"key", "model.n_layer"}, {"theirs", 16}, {"ours", {3}}}));
}

TEST(PublishedFormatTest, FormsOfOtherTablesAreRefused) {
  EXPECT_TRUE(CheckPublishedFormat("csv").ok());
  EXPECT_EQ(CheckPublishedFormat("latex").message(),
            "-o latex cannot be used with --published: comparisons with published numbers have the "
            "forms table, "
            "markdown, json, csv");
}

}  // namespace
}  // namespace longrun::client
