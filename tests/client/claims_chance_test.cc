// How often intervals hold the truth, claims are wrongly supported, and forecasts come true: counts
// over simulated sweeps.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/claims/bootstrap.h"
#include "client/claims/judge.h"
#include "client/claims/power.h"
#include "tests/client/sample_claims.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

// A difference of normal seeds and blocks, of which the truth is 0. `over_text`: how many times the
// text's error is as large as that of the seeds.
double CoverageOf(std::size_t n_seeds, double over_text) {
  std::mt19937_64 random(20'261'123);
  std::normal_distribution<double> normal;
  constexpr int kSamples = 2000;
  int n_covered = 0;
  for (int i = 0; i < kSamples; ++i) {
    std::vector<double> seeds(n_seeds), blocks(kBlocks);
    double effect = 0.0;
    const auto draw = [&](std::vector<double>& values, double error_of_mean) {
      const auto n = static_cast<double>(values.size());
      for (double& value : values)
        effect += (value = std::sqrt(n) * error_of_mean * normal(random)) / n;
    };
    draw(seeds, 1.0);
    draw(blocks, over_text);
    const auto interval =
        BootstrapInterval({.effect = effect, .seeds = seeds, .blocks = blocks}, 0.95, 599);
    n_covered += interval.first <= 0.0 && interval.second >= 0.0 ? 1 : 0;
  }
  return static_cast<double>(n_covered) / kSamples;
}

// Of two thousand intervals at 95 %, 1.5 % more or fewer are three deviations.
TEST(BootstrapTest, IntervalsOfFewSeedsCoverAsOftenAsTheySay) {
  for (const std::size_t n_seeds : {2u, 3u, 5u}) {
    for (const double over_text : {0.2, 1.0, 5.0}) {
      const double coverage = CoverageOf(n_seeds, over_text);
      EXPECT_GE(coverage, 0.935) << n_seeds << " seeds, " << over_text;
      EXPECT_LE(coverage, 0.995) << n_seeds << " seeds, " << over_text;
    }
  }
}

// How often of 1,000 sweeps two equal methods are found to be one below the other, by chance.
double WronglySupported(int n_seeds) {
  std::mt19937_64 random(20'261'123);
  std::normal_distribution<double> normal;
  constexpr int kSweeps = 1000;
  int n_supported = 0;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    std::vector<ResultRun> runs;
    std::vector<ResultRow> rows;
    for (const char* const method : {"cable", "alibi"}) {
      std::vector<double> text(kBlocks);
      for (double& block : text) block = 0.05 * normal(random);
      for (int seed = 1; seed <= n_seeds; ++seed) {
        const std::string run = std::string(method) + std::to_string(seed);
        std::vector<double> nll = Losses(0.0, 0.01 * normal(random), 0.0);
        for (std::size_t b = 0; b < kBlocks; ++b) nll[b] += text[b];
        runs.push_back(RunOf(run, method, 64, seed));
        rows.push_back(RowOfBlocks(run, 64, nll));
      }
    }
    const SweepResults results = ResultsOf(std::move(runs), std::move(rows));
    if (VerdictOf("below: {of: cable, than: alibi, context_lengths: [64], level: 0.8}", results) ==
        "supported") {
      ++n_supported;
    }
  }
  return static_cast<double>(n_supported) / kSweeps;
}

// An interval of 80 % ends below the truth in 10 of 100 sweeps: more than 13 are three deviations.
TEST(ClaimsTest, AWrongClaimIsSupportedAsRarelyAsItsLevelSays) {
  for (const int n_seeds : {2, 3, 5}) {
    const double part = WronglySupported(n_seeds);
    EXPECT_LE(part, 0.13) << n_seeds;
    EXPECT_GE(part, 0.02) << n_seeds;
  }
}

// How often of 600 simulated sweeps the judge decides that cable is below alibi. The effect is the
// same in all, the seeds' luck and the blocks' parts are drawn.
double DecidedOf(const Spread& truth, int n_seeds) {
  std::mt19937_64 random(20'261'123);
  std::normal_distribution<double> normal;
  constexpr int kSweeps = 600;
  int n_decided = 0;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    std::vector<ResultRun> runs;
    std::vector<ResultRow> rows;
    std::vector<double> text(kBlocks);
    for (double& block : text) block = truth.over_text * std::sqrt(kBlocks) * normal(random);
    for (int seed = 1; seed <= n_seeds; ++seed) {
      for (const char* const method : {"cable", "alibi"}) {
        const std::string run = std::string(method) + std::to_string(seed);
        const bool is_cable = std::string(method) == "cable";
        std::vector<double> nll =
            Losses(0.0, is_cable ? truth.effect + truth.of_seed * normal(random) : 0.0, 0.0);
        for (std::size_t b = 0; is_cable && b < kBlocks; ++b) nll[b] += text[b];
        runs.push_back(RunOf(run, method, 64, seed));
        rows.push_back(RowOfBlocks(run, 64, nll));
      }
    }
    const SweepResults results = ResultsOf(std::move(runs), std::move(rows));
    if (VerdictOf("below: {of: cable, than: alibi, context_lengths: [64]}", results) !=
        "undecided") {
      ++n_decided;
    }
  }
  return static_cast<double>(n_decided) / kSweeps;
}

// One half of 600 has a deviation of 2 %.
TEST(PowerTest, AsManySweepsAreDecidedAsWereForetold) {
  for (const int n_seeds : {2, 3, 5}) {
    for (const double over_text : {0.002, 0.03}) {
      Spread truth{.of_seed = 0.02, .over_text = over_text, .df_text = kBlocks - 1.0};
      const auto n = static_cast<std::size_t>(n_seeds);
      // From a power of about a fifth to about four fifths.
      const double smallest = SmallestDecided(truth, /*is_window=*/false, 0.95, n);
      for (const double part : {0.5, 1.0}) {
        truth.effect = -part * smallest;
        const double foretold = PowerOf(truth, {.high = 0.0, .is_strict = true}, 0.95, 0.95, n);
        EXPECT_NEAR(DecidedOf(truth, n_seeds), foretold, 0.05)
            << n_seeds << " seeds, text " << over_text << ", effect " << truth.effect;
      }
    }
  }
}

}  // namespace
}  // namespace longrun::client
