// Claims judged on results with known truth, and the bootstrap beside SciPy's.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"
#include "client/claims/bootstrap.h"
#include "client/claims/judge.h"
#include "client/claims/power.h"
#include "client/tables/metric.h"
#include "sweeps/metric_name.h"
#include "tests/client/sample_claims.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

const std::vector<double> kParts = {0.3141,  -0.1273, 0.0519,  -0.4407, 0.2189, 0.0233,
                                    -0.0917, 0.1761,  -0.2309, 0.0853,  0.2611, -0.3163,
                                    0.1127,  -0.0701, 0.1553,  -0.1217};

const std::vector<double> kSeeds = {-0.1013, -0.3049, -0.1237, -0.2251, -0.0571};

// tools/oracle/check_bootstrap.py: scipy.stats.bootstrap(method="percentile") over a million
// resamples, widened; Student's intervals; NumPy's draws for both sources together.
TEST(BootstrapTest, IntervalsAgreeWithSciPy) {
  constexpr std::size_t kMany = 1'000'000;
  const auto expect = [](const BootstrapSample& sample, double level, double low, double high,
                         double tolerance = 5e-4) {
    const auto interval = BootstrapInterval(sample, level, kMany);
    EXPECT_NEAR(interval.first, low, tolerance);
    EXPECT_NEAR(interval.second, high, tolerance);
  };
  expect({.blocks = kParts}, 0.95, -0.11682, 0.11066);
  expect({.blocks = kParts}, 0.8, -0.07247, 0.07121);
  expect({.effect = -0.158, .seeds = kSeeds}, 0.95, -0.28303, -0.03297, 1e-5);
  expect({.effect = -0.158, .seeds = kSeeds, .blocks = kParts}, 0.95, -0.32699, 0.00792, 1e-3);
  // One degree of freedom has no variance: a million draws differ by 1 % at their ends.
  expect({.effect = -0.158, .seeds = {kSeeds[0], kSeeds[1]}, .blocks = kParts}, 0.95, -1.45963,
         1.13979, 0.02);
}

TEST(BootstrapTest, TheSameArgumentsGiveTheSameInterval) {
  const BootstrapSample sample = {.effect = 1.0, .seeds = {0.9, 1.1}, .blocks = kParts};
  EXPECT_EQ(BootstrapInterval(sample, 0.95, 999), BootstrapInterval(sample, 0.95, 999));
  EXPECT_EQ(BootstrapInterval({.effect = 1.0}, 0.95, 999), (std::pair(1.0, 1.0)));
}

// Where the text says nothing, the seeds' part is Student's interval, at every level; and an error
// of the text without blocks is normal.
TEST(BootstrapTest, SourcesWithAClosedFormHaveNoNoise) {
  const auto half = [](const BootstrapSample& sample, double level) {
    const auto [low, high] = BootstrapInterval(sample, level);
    EXPECT_NEAR(low, -high, 1e-4 * high);
    return high;
  };
  const std::vector<double> pair = {-0.5, 0.5};
  const std::vector<double> faint(kBlocks, 0.0);
  std::vector<double> blocks = faint;
  blocks[0] = 1e-9;
  blocks[1] = -1e-9;
  // t(0.95, 1) = 12.706205, t(0.99, 1) = 63.656741, t(0.9999, 1) = 6366.1977.
  EXPECT_NEAR(half({.seeds = pair, .blocks = blocks}, 0.95), 0.5 * 12.706205, 1e-3);
  EXPECT_NEAR(half({.seeds = pair, .blocks = blocks}, 0.99), 0.5 * 63.656741, 5e-2);
  EXPECT_NEAR(half({.seeds = pair, .blocks = blocks}, 0.9999), 0.5 * 6366.1977, 1e-2);
  EXPECT_NEAR(half({.unpaired_text = 2.0}, 0.95), 2.0 * 1.959964, 1e-5);
  // A normal number of deviation 2 plus 0.5 times Student's t with 1 degree of freedom; scipy.
  EXPECT_NEAR(half({.seeds = pair, .unpaired_text = 2.0}, 0.95), 7.10289, 2e-3);
}

// ---- judging ------------------------------------------------------------------------------------

// cable is 0.1 better than alibi at 64 and 128; rope is as alibi at 64 and 0.3 worse at 128; three
// seeds of each, which differ by 0.01.
SweepResults Known(int n_seeds = 3) {
  std::vector<ResultRun> runs;
  std::vector<ResultRow> rows;
  const std::vector<std::pair<std::string, std::pair<double, double>>> methods = {
      {"cable", {0.0, 0.0}}, {"alibi", {0.1, 0.1}}, {"rope", {0.05, 0.4}}};
  int key = 0;
  for (const auto& [method, more] : methods) {
    for (int seed = 1; seed <= n_seeds; ++seed) {
      const std::string run = "run-" + std::to_string(key++);
      const double luck = 0.01 * (seed - 2) * (method == "alibi" ? 1.0 : 0.5);
      runs.push_back(RunOf(run, method, 64, seed));
      rows.push_back(RowOfBlocks(run, 64, Losses(more.first, luck)));
      rows.push_back(RowOfBlocks(run, 128, Losses(more.second, luck, 0.003)));
    }
  }
  return ResultsOf(std::move(runs), std::move(rows));
}

TEST(ClaimsTest, EachKindIsJudgedAsTheTruthIs) {
  const SweepResults known = Known();
  const auto verdict = [&](const char* claim) { return VerdictOf(claim, known); };
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64, 128]}"), "supported");
  EXPECT_EQ(verdict("below: {of: alibi, than: cable, context_lengths: [64, 128]}"), "refuted");
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64], margin: 0.05}"),
            "supported");
  // exp(-0.1) = 0.905: by less than a fifth.
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64], margin: 0.2}"),
            "refuted");
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64], margin: 0.095}"),
            "undecided");
  EXPECT_EQ(verdict("flat: {of: alibi, from: 64, to: 128}"), "supported");
  EXPECT_EQ(verdict("flat: {of: rope, from: 64, to: 128, factor: 1.2}"), "refuted");
  EXPECT_EQ(verdict("crosses: {of: rope, than: alibi, from: 64, to: 128}"), "supported");
  EXPECT_EQ(verdict("crosses: {of: cable, than: alibi, from: 64, to: 128}"), "refuted");
  EXPECT_EQ(verdict("ordered: {of: \"cable, rope, alibi\", context_lengths: [64]}"), "supported");
  EXPECT_EQ(verdict("ordered: {of: \"cable, rope, alibi\", context_lengths: [64, 128]}"),
            "refuted");
  EXPECT_EQ(verdict("equal: {of: cable, than: alibi, context_lengths: [64], tolerance: 0.2}"),
            "supported");
  EXPECT_EQ(verdict("equal: {of: cable, than: alibi, context_lengths: [64], tolerance: 0.01}"),
            "refuted");
  // On the scale of nll the margin is an amount.
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64], margin: 0.05,"
                    " metric: nll}"),
            "supported");
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64], margin: 0.15,"
                    " metric: nll}"),
            "refuted");
}

// Trained at 64, alibi reads 128 tokens as well as rope that was trained at 128, and computes a
// step of 64 tokens in less time than rope one of 128.
SweepResults TrainedShortAndLong() {
  std::vector<ResultRun> runs;
  std::vector<ResultRow> rows;
  for (int seed = 1; seed <= 3; ++seed) {
    const double luck = 0.001 * seed;
    for (const int length : {64, 128}) {
      for (const char* const method : {"alibi", "rope"}) {
        const std::string run = Str(method, length, "-", seed);
        const bool is_short = length == 64, is_rope = std::string_view(method) == "rope";
        runs.push_back(RunOf(run, method, length, seed));
        rows.push_back(RowOfBlocks(run, 64, Losses(0.2, luck)));
        rows.push_back(RowOfBlocks(run, 128, Losses(is_short && is_rope ? 0.9 : 0.1, luck)));
        for (const int read : {64, 128}) {
          const double speed = (read == 64 ? 3000.0 : 2000.0) + seed;
          rows.push_back(ThroughputRow(run, "tokens_per_s", "train_step", read, speed));
        }
      }
    }
  }
  return ResultsOf(std::move(runs), std::move(rows));
}

TEST(ClaimsTest, TheOtherSideMayHaveItsOwnLengthsAndConditions) {
  const SweepResults results = TrainedShortAndLong();
  const auto verdict = [&](const char* claim) { return VerdictOf(claim, results); };
  // Against rope that was trained at 64 as well, and against the one trained at 128.
  EXPECT_EQ(verdict("below: {of: alibi, than: rope, context_lengths: [128],"
                    " where: train_length=64}"),
            "supported");
  EXPECT_EQ(verdict("below: {of: alibi, than: rope, context_lengths: [128],"
                    " where: train_length=64, than_where: train_length=128}"),
            "refuted");
  EXPECT_EQ(verdict("equal: {of: alibi, than: rope, context_lengths: [128], tolerance: 0.01,"
                    " where: train_length=64, than_where: train_length=128}"),
            "supported");
  EXPECT_EQ(verdict("below: {of: rope, than: rope, context_lengths: [128],"
                    " where: train_length=128, than_where: train_length=64}"),
            "supported");
  EXPECT_EQ(verdict("equal: {of: alibi, than: alibi, context_lengths: [128],"
                    " than_context_lengths: [64], tolerance: 0.01, where: train_length=64}"),
            "refuted");
  const JudgedClaim faster = JudgeOne(
      "ratio: {of: alibi, than: rope, context_lengths: [64], than_context_lengths: [128],"
      " metric: tokens_per_s, at_least: 1.4, where: train_length=64,"
      " than_where: train_length=128}",
      results);
  EXPECT_EQ(faster.error, "");
  EXPECT_EQ(faster.verdict, Verdict::kSupported);
  EXPECT_EQ(faster.statement,
            "alibi / rope at least 1.4 at 64, rope at 128 (tokens_per_s, train_length=64; rope: "
            "train_length=128)");
  ASSERT_EQ(faster.comparisons.size(), 1u);
  EXPECT_EQ(faster.comparisons[0].what, "alibi at 64 / rope at 128");
  EXPECT_NEAR(*faster.comparisons[0].effect, 1.5, 0.01);
  EXPECT_EQ(verdict("ratio: {of: alibi, than: rope, context_lengths: [64], metric: tokens_per_s,"
                    " at_least: 1.4, where: train_length=64}"),
            "refuted");
  const JudgedClaim itself = JudgeOne(
      "below: {of: rope, than: rope, context_lengths: [128], where: train_length=128,"
      " than_where: train_length=64}",
      results);
  ASSERT_EQ(itself.comparisons.size(), 1u);
  EXPECT_EQ(itself.comparisons[0].what,
            "rope at 128 (train_length=128) / rope at 128 (train_length=64)");
  // The same number, although the conditions are written in two ways.
  const JudgedClaim same = JudgeOne(
      "equal: {of: rope, than: rope, context_lengths: [128], tolerance: 0.1,"
      " where: train_length=64, than_where: \"train_length=64,dataset=austen\"}",
      results);
  EXPECT_NE(same.error.find("are the same value"), std::string::npos) << same.error;
}

// The kinds of the sweep's language and those that are judged are two tables.
TEST(ClaimsTest, EveryKindHasAJudge) {
  for (const ClaimKind& kind : ClaimKinds()) {
    std::string claim = Str(kind.name, ": {at_least: 0.1, ");
    for (const ParamSpec& param : kind.params) {
      if (!param.default_value.is_null() || param.is_optional) continue;
      StrAppend(claim, Str(param.name, ": ",
                           param.name == "of" && kind.name == "ordered" ? "\"cable, alibi\""
                           : param.name == "of"                         ? "cable"
                           : param.name == "than"                       ? "alibi"
                           : param.name == "context_lengths"            ? "[64]"
                           : param.name == "from"                       ? "64"
                           : param.name == "to"                         ? "128"
                                                                        : "0.1",
                           ", "));
    }
    if (kind.name != "ratio") claim.erase(claim.find("at_least: 0.1, "), 15);
    const JudgedClaim judged = JudgeOne(claim + "}", Known());
    EXPECT_EQ(judged.error, "") << kind.name;
    EXPECT_FALSE(judged.comparisons.empty()) << kind.name;
  }
}

// What a claim may ask for, and what a table can show, are two lists.
TEST(ClaimsTest, MetricNamesAreThoseOfTables) {
  for (const char* const source : {"nll", "pseudo_nll", "tokens_per_s"}) {
    std::vector<std::string> names;
    for (const ResultMetric& metric : MetricsOf({source})) names.push_back(metric.name);
    EXPECT_EQ(names, MetricNames(source));
  }
}

// Two copies of one result are equal, whatever their seeds and blocks are.
TEST(ClaimsTest, EqualNumbersAreNotBelowEachOther) {
  std::vector<ResultRun> runs;
  std::vector<ResultRow> rows;
  for (int seed = 1; seed <= 3; ++seed) {
    for (const char* const method : {"cable", "alibi"}) {
      const std::string run = std::string(method) + std::to_string(seed);
      runs.push_back(RunOf(run, method, 64, seed));
      rows.push_back(RowOfBlocks(run, 64, Losses(0.0, 0.01 * seed)));
      rows.push_back(RowOfBlocks(run, 128, Losses(0.0, 0.01 * seed)));
      rows.push_back(ThroughputRow(run, "peak_bytes", "train", 64, 4096.0));
    }
  }
  const SweepResults results = ResultsOf(std::move(runs), std::move(rows));
  const auto verdict = [&](const char* claim) { return VerdictOf(claim, results); };
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64]}"), "refuted");
  EXPECT_EQ(verdict("below: {of: cable, than: alibi, context_lengths: [64], metric: peak_bytes}"),
            "refuted");
  EXPECT_EQ(verdict("ordered: {of: \"cable, alibi\", context_lengths: [64]}"), "refuted");
  EXPECT_EQ(verdict("crosses: {of: cable, than: alibi, from: 64, to: 128}"), "refuted");
  EXPECT_EQ(verdict("equal: {of: cable, than: alibi, context_lengths: [64], tolerance: 0}"),
            "supported");
}

TEST(ClaimsTest, AComparisonCarriesItsEffectItsIntervalAndWhatWouldDecideIt) {
  const JudgedClaim judged =
      JudgeOne("below: {of: cable, than: alibi, context_lengths: [64], margin: 0.095}", Known());
  EXPECT_EQ(judged.statement, "cable below alibi by 0.095 at 64 (perplexity)");
  const ClaimComparison& one = judged.comparisons.at(0);
  EXPECT_EQ(one.what, "cable / alibi at 64");
  EXPECT_NEAR(*one.effect, std::exp(-0.1), 1e-12);
  EXPECT_LT(one.interval->first, *one.effect);
  EXPECT_GT(one.interval->second, *one.effect);
  EXPECT_EQ(one.n_seeds, 3u);
  EXPECT_EQ(one.n_blocks, kBlocks);
  // The seeds' differences are -0.095, -0.1 and -0.105: a deviation of 0.005. The limit ln(0.905)
  // is 0.00018 away: t(k - 1) 0.005 / sqrt(k) falls below that with more than 1000 seeds.
  EXPECT_EQ(one.needed, "more than 1000 seeds");
  const JudgedClaim nearer =
      JudgeOne("below: {of: cable, than: alibi, context_lengths: [64], margin: 0.092}", Known());
  // ln(0.908) is 0.0035 away: 2.31 * 0.005 / sqrt(11) = 0.0034 is less, with 10 it is 0.0036.
  EXPECT_EQ(nearer.comparisons.at(0).needed, "about 11 seeds");
}

TEST(ClaimsTest, WhatIsNotKnownIsUndecidedWithItsReason) {
  const auto reason = [](const std::string& claim, const SweepResults& results) {
    const JudgedClaim judged = JudgeOne(claim, results);
    EXPECT_EQ(judged.verdict, Verdict::kUndecided);
    return judged.comparisons.empty() ? "" : judged.comparisons.front().reason;
  };
  const std::string below = "below: {of: cable, than: alibi, context_lengths: [64]}";
  EXPECT_EQ(reason(below, Known(1)),
            "one seed says nothing about other seeds: run at least 3 seeds");
  SweepResults partial = Known();
  partial.rows[0] = RowWithout("run-0", 64, "missing");
  EXPECT_EQ(reason(below, partial), "cable at 64 is not complete: 2 of 3 seeds");
  EXPECT_EQ(reason("below: {of: cable, than: alibi, context_lengths: [300]}", Known()),
            "no evaluation of the sweep asks for cable at 300");
  SweepResults older = Known();
  for (ResultRow& row : older.rows) row.body.blocks = {};
  const char* const no_blocks = "the rows have no blocks of the text in common: measure both again";
  EXPECT_EQ(reason(below, older), no_blocks);
  // Nor is the text's error left out if it is not known.
  for (ResultRow& row : older.rows) row.body.se.reset();
  EXPECT_EQ(reason(below, older), no_blocks);
  for (ResultRow& row : older.rows) row.body.n_clusters = 1;
  EXPECT_EQ(reason(below, older),
            "the scored text is too short to be cut into blocks: score more tokens");
  SweepResults apart = Known();
  for (std::size_t i = 0; i < 3; ++i)
    apart.runs[i].axes["seed"] = apart.runs[i].resolved["seed"] = 3 + i;
  EXPECT_EQ(reason(below, apart),
            "the two have 1 seed in common: run both with the same seeds, at least 3");
  EXPECT_EQ(reason("flat: {of: alibi, from: 64, to: 300}", Known()), "");  // of its first part
}

TEST(ClaimsTest, ACurveThatEndsBeforeTheClaimIsNotJudgedFlat) {
  const JudgedClaim judged = JudgeOne("flat: {of: alibi, from: 64, to: 300}", Known());
  EXPECT_EQ(judged.verdict, Verdict::kUndecided);
  EXPECT_EQ(judged.comparisons.at(0).verdict, Verdict::kSupported);
  EXPECT_EQ(judged.comparisons.at(1).reason, "no evaluation of the sweep asks for alibi at 300");
}

// exp(1000) is beyond every double, and its nll is not.
TEST(ClaimsTest, AValueBeyondEveryDoubleIsCompared) {
  SweepResults results = Known();
  for (ResultRow& row : results.rows) {
    if (row.run_key < "run-6") continue;  // cable and alibi
    RowBody& body = row.body;
    *body.nll_sum += 1000.0 * static_cast<double>(*body.n);
    for (double& nll : body.blocks.nll) nll += 1000.0;
  }
  EXPECT_EQ(VerdictOf("below: {of: cable, than: rope, context_lengths: [64]}", results),
            "supported");
}

// Beside variants of itself, a method's name is the method with its defaults.
TEST(ClaimsTest, AWholeNameIsMeantWhereThereIsOne) {
  std::vector<ResultRun> runs;
  std::vector<ResultRow> rows;
  for (int seed = 1; seed <= 3; ++seed) {
    const Json methods[] = {Json{{"method", "rope"}, {"base", 500}}, "rope", "alibi"};
    for (const auto& [name, more] : {std::pair(0, 0.2), std::pair(1, 0.0), std::pair(2, 0.1)}) {
      const std::string run = Str(name, "-", seed);
      runs.push_back(RunOf(run, methods[name], 64, seed));
      rows.push_back(RowOfBlocks(run, 64, Losses(more, 0.01 * seed)));
    }
  }
  const SweepResults results = ResultsOf(std::move(runs), std::move(rows));
  EXPECT_EQ(VerdictOf("below: {of: rope, than: alibi, context_lengths: [64]}", results),
            "supported");
  EXPECT_EQ(VerdictOf("below: {of: rope(base=500), than: alibi, context_lengths: [64]}", results),
            "refuted");
  const auto tables =
      BuildPivot({results}, {.where = {{.axis = "position", .values = {"rope"}}},
                             .against = PivotFilter{.axis = "position", .values = {"rope"}}});
  ASSERT_TRUE(tables.ok()) << tables.status().message();
  ASSERT_EQ(tables->at(0).rows.size(), 1u);
  EXPECT_EQ(*tables->at(0).rows[0].cells.at(0).value, 1.0);
}

TEST(ClaimsTest, AMistakeNamesTheClaimAndSparesTheOthers) {
  const auto error = [](const std::string& claim, const SweepResults& results = Known()) {
    return JudgeOne(claim, results).error;
  };
  EXPECT_EQ(error("below: {of: fire, than: alibi, context_lengths: [64]}"),
            "spec.claims[0].below: \"fire\" is not a value of position; its values are cable, "
            "alibi, rope");
  EXPECT_EQ(
      error("ratio: {of: cable, than: alibi, context_lengths: [64], metric: nll, at_most: 1}"),
      "spec.claims[0].ratio: values of nll are compared by differences: use below or equal");
  SweepResults two = Known();
  two.runs.push_back(RunOf("other", "cable", 32, 1));
  two.rows.push_back(RowOfBlocks("other", 64, Losses(0.0)));
  EXPECT_EQ(error("below: {of: cable, than: alibi, context_lengths: [64]}", two),
            "spec.claims[0].below: the claim fits 2 tables: choose one with `where`: "
            "\"train_length=64\" or \"train_length=32\"");
  EXPECT_EQ(error("below: {of: cable, than: alibi, context_lengths: [64],"
                  " where: train_length=64}",
                  two),
            "");
  const auto judged =
      JudgeClaims(ClaimsOf("    - below: {of: fire, than: alibi, context_lengths: [64]}\n"
                           "    - below: {of: cable, than: alibi, context_lengths: [64]}\n"),
                  {Known()});
  ASSERT_EQ(judged.size(), 2u);
  EXPECT_EQ(judged[0].verdict, Verdict::kUndecided);
  EXPECT_EQ(judged[1].verdict, Verdict::kSupported);
}

// The rows of a plain window beside those of the models are about something else.
TEST(ClaimsTest, AClaimAboutRetrievalIsNotAboutItsBaseline) {
  const auto recall = [](const char* run, double value, const Json& extension) {
    ResultRow row = ThroughputRow(run, "recall", "", 256, value);
    row.body.variant.reset();
    row.evaluation = {{"passkey", {{"trials", 50}}}};
    if (!extension.is_null()) row.evaluation["passkey"]["extension"] = extension;
    return row;
  };
  const Json window = {{"method", "window"}, {"window", 64}, {"original_length", 64}};
  const SweepResults results =
      ResultsOf({RunOf("a", "alibi", 64, 1), RunOf("b", "rope", 64, 1)},
                {recall("a", 0.25, nullptr), recall("b", 0.75, nullptr), recall("b", 0.5, window)});
  const auto judged = [&](const std::string& more) {
    return JudgeOne(
        Str("below: {of: alibi, than: rope, context_lengths: [256], metric: recall", more, "}"),
        results);
  };
  EXPECT_EQ(judged("").error, "");
  ASSERT_EQ(judged("").comparisons.size(), 1u);
  EXPECT_NEAR(judged("").comparisons[0].effect.value_or(0.0), -0.5, 1e-12);
  EXPECT_EQ(judged(", where: extension=window").error,
            "spec.claims[0].below: \"alibi\" is not a value of position; its values are rope");
}

TEST(ClaimsTest, SpeedsAreRatiosOverSeeds) {
  std::vector<ResultRun> runs;
  std::vector<ResultRow> rows;
  for (int seed = 1; seed <= 3; ++seed) {
    for (const auto& [method, speed] : {std::pair("cable", 200.0), std::pair("alibi", 100.0)}) {
      const std::string run = std::string(method) + std::to_string(seed);
      runs.push_back(RunOf(run, method, 64, seed));
      rows.push_back(ThroughputRow(run, "tokens_per_s", "prefill", 64, speed + seed));
    }
  }
  const SweepResults results = ResultsOf(std::move(runs), std::move(rows));
  const std::string begin = "ratio: {of: cable, than: alibi, context_lengths: [64], ";
  EXPECT_EQ(VerdictOf(begin + "metric: tokens_per_s, at_least: 1.8}", results), "supported");
  EXPECT_EQ(VerdictOf(begin + "metric: tokens_per_s, at_least: 2.5}", results), "refuted");
}

// An accuracy has the error of its questions, which is taken as if both methods had had others.
TEST(ClaimsTest, AccuraciesAreJudgedWithTheErrorOfTheirQuestions) {
  const auto judge = [](double of_cable, double of_alibi) {
    std::vector<ResultRun> runs;
    std::vector<ResultRow> rows;
    for (int seed = 1; seed <= 3; ++seed) {
      for (const auto& [method, share] :
           {std::pair("cable", of_cable), std::pair("alibi", of_alibi)}) {
        const std::string run = std::string(method) + std::to_string(seed);
        runs.push_back(RunOf(run, method, 64, seed));
        ResultRow row = ThroughputRow(run, "acc", "", 64, share + 0.001 * seed);
        row.body.variant.reset();
        row.body.se = 0.02;
        rows.push_back(row);
      }
    }
    return JudgeOne("below: {of: alibi, than: cable, context_lengths: [64], metric: acc}",
                    ResultsOf(std::move(runs), std::move(rows)));
  };
  const JudgedClaim far = judge(0.6, 0.5);
  EXPECT_EQ(far.verdict, Verdict::kSupported);
  const ClaimComparison& one = far.comparisons.at(0);
  EXPECT_TRUE(one.is_text_unpaired);
  EXPECT_EQ(one.n_blocks, 0u);
  // The seeds do not differ: what is left is 1.96 sqrt(0.02^2 + 0.02^2).
  EXPECT_NEAR(one.interval->second - one.interval->first, 2.0 * 1.96 * std::hypot(0.02, 0.02),
              2e-3);
  EXPECT_EQ(judge(0.6, 0.58).verdict, Verdict::kUndecided);
}

// ---- what a planned sweep can decide ----------------------------------------------------------

TEST(PowerTest, AForecastIsOfThePilotsEffectsAndVariances) {
  const auto forecast = [](const std::string& claim, std::size_t n_seeds, int n_in_pilot = 3) {
    return ForecastClaims(JudgeClaims(ClaimsOf("    - " + claim + "\n"), {Known(n_in_pilot)}),
                          n_seeds)
        .at(0);
  };
  const std::string near = "below: {of: cable, than: alibi, context_lengths: [64], margin: 0.092}";
  const ComparisonForecast few = forecast(near, 3).comparisons.at(0);
  const ComparisonForecast many = forecast(near, 20).comparisons.at(0);
  EXPECT_EQ(few.what, "cable / alibi at 64");
  EXPECT_NEAR(*few.effect, std::exp(-0.1), 1e-12);
  EXPECT_LT(*few.power, 0.5);
  EXPECT_GT(*many.power, 0.8);
  EXPECT_LT(*many.smallest, *few.smallest);
  // What the pilot itself cannot say.
  EXPECT_EQ(forecast(near, 3, 1).comparisons.at(0).reason,
            "one seed says nothing about other seeds: run at least 3 seeds");
  EXPECT_FALSE(forecast(near, 3, 1).comparisons.at(0).power.has_value());
  EXPECT_NE(forecast("below: {of: fire, than: alibi, context_lengths: [64]}", 3).error, "");
}

}  // namespace
}  // namespace longrun::client
