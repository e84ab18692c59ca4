// Comparisons are closed forms.
#include "client/tables/comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/extension/extension.h"
#include "sweeps/extended.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

TEST(DifferencesTest, LeavesAreNamedByTheirPathAndWhatOneLacksIsNull) {
  const auto differences = DifferencesOf({{"train", {{"lr", 1}, {"same", 2}}}, {"only_a", "x"}},
                                         {{"train", {{"lr", 3}, {"same", 2}}}, {"only_b", {1, 2}}});
  ASSERT_EQ(differences.size(), 3u);
  EXPECT_EQ(differences[0].path, "only_a");
  EXPECT_TRUE(differences[0].b.is_null());
  EXPECT_EQ(differences[1].path, "only_b");
  EXPECT_EQ(differences[1].b, Json({1, 2}));
  EXPECT_EQ(differences[2].path, "train.lr");
  EXPECT_EQ(differences[2].a, 1);
  EXPECT_EQ(differences[2].b, 3);
}

TEST(CompareRowsTest, OneSeedHasTheErrorsOfBothAndZIsOfTheScaleOfNll) {
  // 10 and 20 with errors of nll 0.03 and 0.04: ln 2 apart, error 0.05; in perplexity 10 apart,
  // with the error that gives the same z.
  const auto results = CompareRows({{.a = {RowOf("a", 64, 10.0, 100, nullptr, 0.03)},
                                     .b = {RowOf("b", 64, 20.0, 100, nullptr, 0.04)}}});
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].metric, "perplexity");
  EXPECT_NEAR(*results[0].difference, 10.0, 1e-12);
  EXPECT_NEAR(*results[0].se, 10.0 / (std::log(2.0) / 0.05), 1e-12);
  EXPECT_NEAR(*results[0].half95, 1.959963985 * *results[0].se, 1e-8);
  EXPECT_FALSE(results[0].is_text_paired);  // the rows have no blocks
  EXPECT_NEAR(*results[0].z, std::log(2.0) / 0.05, 1e-9);
}

TEST(CompareRowsTest, SeedsArePairedAndLeaveOutWhatTheyShare) {
  // Seed 1: 10 -> 20, seed 2: 40 -> 160. The logarithms of the ratios are ln 2 and ln 4: mean
  // 1.5 ln 2, half of their distance 0.5 ln 2. Each row has an error of 0.01 over the text.
  const auto results =
      CompareRows({{.a = {RowOf("a", 64, 10.0, 100)}, .b = {RowOf("b", 64, 20.0, 100)}},
                   {.a = {RowOf("c", 64, 40.0, 100)}, .b = {RowOf("d", 64, 160.0, 100)}}});
  ASSERT_EQ(results.size(), 1u);
  const double ln2 = std::log(2.0), over_text = 0.01 * std::sqrt(2.0);
  EXPECT_NEAR(*results[0].z, 1.5 * ln2 / std::hypot(0.5 * ln2, over_text), 1e-9);
  EXPECT_NEAR(*results[0].se_seeds / *results[0].se_text, 0.5 * ln2 / over_text, 1e-9);
  EXPECT_EQ(results[0].n_pairs, 2u);
  EXPECT_GT(results[0].p->p, 0.2);                      // two seeds: 1 degree of freedom
  EXPECT_NEAR(*results[0].a, 20.0, 1e-9);               // sqrt(10 * 40)
  EXPECT_NEAR(*results[0].b, std::sqrt(3200.0), 1e-9);  // sqrt(20 * 160)
}

TEST(CompareRowsTest, WhatOneSideLacksIsAbsentAndAReasonIsKept) {
  const auto results = CompareRows({{.a = {RowOf("a", 64, 10.0, 100), RowOf("a", 128, 10.0, 100)},
                                     .b = {RowWithout("b", 64, "diverged")}}});
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].status_b, "diverged");
  EXPECT_FALSE(results[0].difference.has_value());
  EXPECT_EQ(results[1].status_b, "absent");
  EXPECT_EQ(results[1].context_length, 128);
}

TEST(CompareRowsTest, ABaselineDoesNotTellNumbersApart) {
  ResultRow plain = RowOf("a", 64, 9.0, 100), with_baseline = RowOf("b", 64, 9.0, 100);
  ResultRow baseline = RowOf("b", 64, 12.0, 100, "unigram");
  plain.evaluation = {{"perplexity", {{"split", "validation"}}}};
  with_baseline.evaluation =
      baseline.evaluation = {{"perplexity", {{"split", "validation"}, {"baseline", "unigram"}}}};

  const auto results = CompareRows({{.a = {plain}, .b = {with_baseline, baseline}}});

  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].difference, 0.0);
  EXPECT_EQ(results[1].status_a, "absent");
  EXPECT_EQ(results[1].variant, "unigram");

  with_baseline.evaluation["perplexity"]["split"] = "test";  // another parameter still does
  EXPECT_EQ(CompareRows({{.a = {plain}, .b = {with_baseline}}}).size(), 2u);
}

TEST(WhatDiffersTest, IsEachLeafThatNotAllHaveAlike) {
  EXPECT_EQ(WhatDiffers({Json::parse(R"({"perplexity": {"dataset": {"digest": "1a"}, "k": 8}})"),
                         Json::parse(R"({"perplexity": {"dataset": {"digest": "2b"}, "k": 8}})"),
                         Json::parse(R"({"perplexity": {"k": 8, "stride": 4}})")}),
            (std::vector<std::string>{"perplexity.dataset.digest=1a perplexity.stride=–",
                                      "perplexity.dataset.digest=2b perplexity.stride=–",
                                      "perplexity.dataset.digest=– perplexity.stride=4"}));
}

// Two train lengths under the extension of one file, whose original_length is each run's own.
TEST(CompareRowsTest, WhatFollowsFromTheTrainLengthIsNotADifference) {
  ResultRun short_run, long_run;
  short_run.resolved = {{"train", {{"train_length", 64}}}};
  long_run.resolved = {{"train", {{"train_length", 128}}}};
  const auto under = [](const std::string& key, double factor, int original_length) {
    ResultRow row = RowOf(key, 256, 10.0, 100);
    const Json extension =
        ResolveExtension(
            {{"method", "yarn"}, {"factor", factor}, {"original_length", original_length}})
            .value();
    row.evaluation = WithExtension({{"perplexity", Json::object()}}, extension);
    return row;
  };
  const auto compare = [&](ResultRow a, ResultRow b) {
    return CompareRows({{.a = {RowOf("a", 256, 20.0, 100), std::move(a)},
                         .b = {RowOf("b", 256, 20.0, 100), std::move(b)},
                         .run_a = &short_run,
                         .run_b = &long_run}});
  };
  const auto same = compare(under("a", 4, 64), under("b", 4, 128));
  ASSERT_EQ(same.size(), 2u);
  for (const auto& one : same) EXPECT_TRUE(one.difference.has_value());
  EXPECT_EQ(compare(under("a", 4, 64), under("b", 8, 128)).size(), 3u);
  EXPECT_EQ(compare(under("a", 4, 64), under("b", 4, 64)).size(), 3u);
}

v1::GetSeriesResponse Series(const std::vector<std::pair<std::int64_t, double>>& points) {
  v1::GetSeriesResponse series;
  for (const auto& [step, value] : points) {
    series.add_step(step);
    series.add_value(value);
  }
  return series;
}

TEST(CompareCurvesTest, TheLargestDifferenceIsAmongTheStepsOfBoth) {
  const v1::GetSeriesResponse a = Series({{1, 5.0}, {2, 4.0}, {3, std::nan("")}, {4, 1.0}});
  const v1::GetSeriesResponse b = Series({{2, 4.5}, {3, 9.0}, {4, 0.0}, {5, 7.0}});
  const auto largest = CompareCurves(a, b);
  ASSERT_TRUE(largest.has_value());
  EXPECT_EQ(largest->step, 4);
  EXPECT_EQ(largest->a - largest->b, 1.0);
  EXPECT_EQ(largest->n_steps, 2);
  EXPECT_FALSE(CompareCurves(Series({{1, 1.0}}), b).has_value());
}

TEST(ProvenanceTest, IsTheLastAttemptThatBeganWithoutWhatIsNewEachTime) {
  v1::RunInfo run;
  run.set_execution_json(R"({"threads": 1})");
  v1::TaskInfo& task = *run.add_tasks();
  task.set_kind("train");
  for (const char* started :
       {R"({"commit": "old"})", R"({"commit": "abc", "torch": "2.11", "pid": 7})", ""}) {
    task.add_attempt_list()->set_started_json(started);
  }
  EXPECT_EQ(RecordsOf(run), Json({{"execution", {{"threads", 1}}},
                                  {"train", {{"commit", "abc"}, {"torch", "2.11"}}}}));
}

}  // namespace
}  // namespace longrun::client
