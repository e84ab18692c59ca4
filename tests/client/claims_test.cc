// Claims judged on results with known truth, and the bootstrap beside SciPy's.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"
#include "client/claims/bootstrap.h"
#include "client/claims/judge.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

constexpr std::size_t kBlocks = 16;

const std::vector<double> kParts = {0.3141,  -0.1273, 0.0519,  -0.4407, 0.2189, 0.0233,
                                    -0.0917, 0.1761,  -0.2309, 0.0853,  0.2611, -0.3163,
                                    0.1127,  -0.0701, 0.1553,  -0.1217};

// tools/oracle/check_bootstrap.py: scipy.stats.bootstrap(method="percentile") over a million
// resamples, and NumPy's for both sources together.
TEST(BootstrapTest, PercentilesAgreeWithSciPy) {
  constexpr std::size_t kMany = 1'000'000;
  const auto of_blocks = BootstrapInterval({.blocks = kParts}, 0.95, kMany, false);
  EXPECT_NEAR(of_blocks.first, -0.10401, 5e-4);
  EXPECT_NEAR(of_blocks.second, 0.09853, 5e-4);
  const auto of_80 = BootstrapInterval({.blocks = kParts}, 0.8, kMany, false);
  EXPECT_NEAR(of_80.first, -0.06707, 5e-4);
  EXPECT_NEAR(of_80.second, 0.06591, 5e-4);
  const auto of_both = BootstrapInterval(
      {.effect = -0.158, .seeds = {-0.1013, -0.3049, -0.1237, -0.2251, -0.0571}, .blocks = kParts},
      0.95, kMany, false);
  EXPECT_NEAR(of_both.first, -0.28950, 5e-4);
  EXPECT_NEAR(of_both.second, -0.03324, 5e-4);
}

TEST(BootstrapTest, TheSameArgumentsGiveTheSameInterval) {
  const BootstrapSample sample = {.effect = 1.0, .seeds = {0.9, 1.1}, .blocks = kParts};
  EXPECT_EQ(BootstrapInterval(sample, 0.95), BootstrapInterval(sample, 0.95));
  EXPECT_EQ(BootstrapInterval({.effect = 1.0}, 0.95), (std::pair(1.0, 1.0)));
}

// Of few normal values the expanded interval covers the mean as often as it says; the plain one
// does not.
TEST(BootstrapTest, ExpandedIntervalsOfFewSeedsCover) {
  std::mt19937_64 random(20'261'123);
  std::normal_distribution<double> normal;
  constexpr int kSamples = 2000;
  int n_covered = 0, n_covered_plain = 0;
  for (int i = 0; i < kSamples; ++i) {
    std::vector<double> seeds(5), blocks(kBlocks);
    double mean_seeds = 0.0, mean_blocks = 0.0;
    for (double& seed : seeds) mean_seeds += (seed = normal(random)) / 5.0;
    for (double& block : blocks) mean_blocks += (block = normal(random)) / kBlocks;
    // The effect's error is that of both means; the truth is 0.
    const BootstrapSample sample = {
        .effect = mean_seeds + mean_blocks, .seeds = seeds, .blocks = blocks};
    const auto covers = [](const std::pair<double, double>& interval) {
      return interval.first <= 0.0 && interval.second >= 0.0;
    };
    n_covered += covers(BootstrapInterval(sample, 0.95, 599)) ? 1 : 0;
    n_covered_plain += covers(BootstrapInterval(sample, 0.95, 599, false)) ? 1 : 0;
  }
  EXPECT_GE(n_covered, 0.93 * kSamples);
  EXPECT_LE(n_covered, 0.99 * kSamples);
  EXPECT_LT(n_covered_plain, 0.92 * kSamples);
}

// ---- judging ------------------------------------------------------------------------------------

// A text that is easy in some blocks and hard in others, read by a model that loses `more`.
// `luck` is the seed's; `own` varies from block to block.
std::vector<double> Losses(double more, double luck = 0.0, double own = 0.002) {
  std::vector<double> nll;
  for (std::size_t b = 0; b < kBlocks; ++b) {
    nll.push_back(2.0 + 0.5 * static_cast<double>(b % 4) + more + luck + (b % 2 == 0 ? own : -own));
  }
  return nll;
}

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

std::vector<Claim> ClaimsOf(const std::string& lines) {
  const auto claims = SweepClaims("spec:\n  claims:\n" + lines, "test.yaml", {});
  EXPECT_TRUE(claims.ok()) << claims.status().message();
  return claims.ok() ? *claims : std::vector<Claim>();
}

JudgedClaim JudgeOne(const std::string& claim, const SweepResults& results) {
  const auto judged = JudgeClaims(ClaimsOf("    - " + claim + "\n"), {results});
  EXPECT_TRUE(judged.ok()) << judged.status().message();
  return judged.ok() ? judged->at(0) : JudgedClaim();
}

std::string VerdictOf(const std::string& claim, const SweepResults& results) {
  return std::string(VerdictWord(JudgeOne(claim, results).verdict));
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

// The kinds of the sweep's language and those that are judged are two tables.
TEST(ClaimsTest, EveryKindHasAJudge) {
  for (const ClaimKind& kind : ClaimKinds()) {
    std::string claim = Str(kind.name, ": {of: \"cable, alibi\", ");
    for (const ParamSpec& param : kind.params) {
      if (!param.default_value.is_null() || param.name == "of") continue;
      StrAppend(claim, Str(param.name, ": ",
                           param.name == "than"              ? "alibi"
                           : param.name == "context_lengths" ? "[64]"
                           : param.name == "from"            ? "64"
                           : param.name == "to"              ? "128"
                                                             : "0.1",
                           ", "));
    }
    const auto judged = JudgeClaims(ClaimsOf("    - " + claim + "}\n"), {Known()});
    // "cable, alibi" is two values only for an order: what matters is that each kind is known.
    EXPECT_TRUE(judged.ok() ||
                judged.status().message().find("is not a value") != std::string::npos)
        << kind.name << ": " << judged.status().message();
  }
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
  EXPECT_EQ(reason(below, Known(1)), "one seed says nothing about others: run at least 3");
  SweepResults partial = Known();
  partial.rows[0] = RowWithout("run-0", 64, "missing");
  EXPECT_EQ(reason(below, partial), "cable at 64 is not complete: 2 of 3 seeds");
  EXPECT_EQ(reason("below: {of: cable, than: alibi, context_lengths: [300]}", Known()),
            "cable at 300 was not evaluated");
  SweepResults older = Known();
  for (ResultRow& row : older.rows) row.body["extra"].erase("blocks");
  EXPECT_EQ(reason(below, older),
            "the rows have no blocks of the text in common: measure both again");
}

TEST(ClaimsTest, AMistakeNamesTheClaim) {
  const auto error = [](const std::string& claim, SweepResults results = Known()) {
    const auto judged = JudgeClaims(ClaimsOf("    - " + claim + "\n"), {std::move(results)});
    return judged.ok() ? "" : judged.status().message();
  };
  EXPECT_EQ(error("below: {of: fire, than: alibi, context_lengths: [64]}"),
            "spec.claims[0].below: \"fire\" is not a value of position; it has cable, alibi, rope");
  EXPECT_EQ(error("ratio: {of: cable, than: alibi, context_lengths: [64], metric: nll}"),
            "spec.claims[0].ratio: values of nll are compared by differences: use below or equal");
  SweepResults two = Known();
  two.runs.push_back(RunOf("other", "cable", 32, 1));
  two.rows.push_back(RowOfBlocks("other", 64, Losses(0.0)));
  EXPECT_EQ(error("below: {of: cable, than: alibi, context_lengths: [64]}", two)
                .starts_with("spec.claims[0].below: it is about several tables: "),
            true);
  EXPECT_EQ(error("below: {of: cable, than: alibi, context_lengths: [64],"
                  " where: train_length=64}",
                  two),
            "");
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

// Two equal methods, judged again and again: a wrong claim that one is below the other is
// supported in at most 2.5 of 100 sweeps.
TEST(ClaimsTest, AWrongClaimIsRarelySupported) {
  std::mt19937_64 random(20'261'123);
  std::normal_distribution<double> normal;
  constexpr int kSweeps = 400;
  int n_supported = 0;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    std::vector<ResultRun> runs;
    std::vector<ResultRow> rows;
    for (const char* const method : {"cable", "alibi"}) {
      std::vector<double> text(kBlocks);
      for (double& block : text) block = 0.05 * normal(random);
      for (int seed = 1; seed <= 5; ++seed) {
        const std::string run = std::string(method) + std::to_string(seed);
        std::vector<double> nll = Losses(0.0, 0.01 * normal(random), 0.0);
        for (std::size_t b = 0; b < kBlocks; ++b) nll[b] += text[b];
        runs.push_back(RunOf(run, method, 64, seed));
        rows.push_back(RowOfBlocks(run, 64, nll));
      }
    }
    const SweepResults results = ResultsOf(std::move(runs), std::move(rows));
    if (VerdictOf("below: {of: cable, than: alibi, context_lengths: [64]}", results) ==
        "supported") {
      ++n_supported;
    }
  }
  // 2.5 % of 400 are 10, with a deviation of 3.1.
  EXPECT_LE(n_supported, 22);
  EXPECT_GE(n_supported, 2);
}

}  // namespace
}  // namespace longrun::client
