// Which shares a table marks as not separable from a plain window, and how often it errs.
#include "client/tables/plain_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/process.h"
#include "base/str.h"
#include "base/student_t.h"
#include "base/wilson.h"
#include "client/tables/pivot.h"
#include "client/tables/table_format.h"
#include "client/tables/table_parts.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const Json kPi = {{"method", "pi"}, {"factor", 4}, {"original_length", 0}};
const Json kWindow = {{"method", "window"}, {"window", 64}, {"original_length", 64}};

// A row of a run's answers, right (1) or wrong (0), under an extension.
ResultRow Answers(const std::string& key, int length, const std::string& scores,
                  const Json& extension = nullptr) {
  const auto n = static_cast<double>(scores.size());
  const double share = static_cast<double>(std::ranges::count(scores, '1')) / n;
  const auto [low, high] = Wilson95(share, n);
  ResultRow row = RowWith(key, {{"metric", "recall"},
                                {"context_length", length},
                                {"protocol", "fitted"},
                                {"averaging", "item"},
                                {"value", share},
                                {"se", std::sqrt(share * (1.0 - share) / n)},
                                {"n", scores.size()},
                                {"status", "ok"},
                                {"extra", {{"wilson95", {low, high}}, {"scores", scores}}}});
  row.evaluation["passkey"] = {{"protocol", "fitted"}, {"trials", scores.size()}};
  if (!extension.is_null()) row.evaluation["passkey"]["extension"] = extension;
  return row;
}

std::string Repeated(std::size_t n_right, std::size_t n) {
  return std::string(n_right, '1') + std::string(n - n_right, '0');
}

SeedReading ReadingOf(int seed, const std::string& scores, bool keeps_scores = true) {
  const auto n = static_cast<double>(scores.size());
  return {.seed = seed,
          .reading = {.x = static_cast<double>(std::ranges::count(scores, '1')) / n,
                      .n_answers = n,
                      .scores = keeps_scores ? scores : ""}};
}

std::vector<PivotTable> Build(const SweepResults& results, const PivotRequest& request) {
  auto tables = BuildPivot({results}, request);
  EXPECT_TRUE(tables.ok()) << tables.status().message();
  return tables.ok() ? std::move(tables).value() : std::vector<PivotTable>();
}

TEST(PlainWindowTest, AnswersToTheSameQuestionsAreComparedOneByOne) {
  // 30 of 40 against 20 of 40: McNemar's exact test of 10 to 0, 2 * 2^-10.
  const auto nested =
      DiffersFromWindow({ReadingOf(1, Repeated(20, 40))}, {ReadingOf(1, Repeated(30, 40))});
  ASSERT_TRUE(nested.has_value());
  EXPECT_NEAR(nested->p, std::exp2(-9), 1e-15);
  // Without the scores: scipy.stats.fisher_exact([[30, 10], [20, 20]]) (1.17).
  const auto unpaired =
      DiffersFromWindow({ReadingOf(1, Repeated(20, 40), false)}, {ReadingOf(1, Repeated(30, 40))});
  ASSERT_TRUE(unpaired.has_value());
  EXPECT_NEAR(unpaired->p, 0.03683483307622306, 1e-12);
  // Nothing to compare.
  EXPECT_FALSE(DiffersFromWindow({ReadingOf(2, "01")}, {ReadingOf(1, "10")}).has_value());
}

// Two seeds are 0.5 and 0.25 above the window: d is 2 at 10 of 40 questions and 1 at 10. The
// questions' test counts |sum of ± d_i| >= 30, which is 2 * 2^-20; the error over seeds is
// 0.125 with one degree of freedom, which decides.
TEST(PlainWindowTest, SeveralSeedsAddTheirErrorToThatOfTheQuestions) {
  const std::string none = Repeated(0, 40);
  const std::vector<SeedReading> window = {ReadingOf(1, none), ReadingOf(2, none)};
  const std::vector<SeedReading> extended = {ReadingOf(1, Repeated(20, 40)),
                                             ReadingOf(2, Repeated(10, 40))};
  const auto p = DiffersFromWindow(window, extended);
  ASSERT_TRUE(p.has_value());
  const double text = 0.375 / StudentQuantile(1.0 - std::exp2(-19), kInfinity);
  const Estimate expected = {.x = 0.375, .seeds = {.se = 0.125, .df = 1.0}, .text = {.se = text}};
  EXPECT_NEAR(p->cautious, expected.p()->cautious, 1e-9);
  EXPECT_GT(p->cautious, 0.2);  // Student's t of 3 with one degree of freedom: 0.205
}

TEST(PlainWindowTest, TablesMarkWhatAWindowDoesAsWell) {
  const SweepResults results =
      ResultsOf({RunOf("a", "rope", 64, 1)},
                {Answers("a", 64, Repeated(50, 50)), Answers("a", 256, Repeated(6, 50)),
                 Answers("a", 64, Repeated(49, 50), kPi), Answers("a", 256, Repeated(40, 50), kPi),
                 Answers("a", 256, Repeated(8, 50), kWindow)});
  const auto tables = Build(results, {.metrics = {"recall"}});
  ASSERT_EQ(tables.size(), 1u);
  const PivotTable& table = tables[0];
  ASSERT_EQ(table.rows.size(), 3u);  // none, pi, window
  const auto& [none, pi, window] = std::tie(table.rows[0], table.rows[1], table.rows[2]);
  // Within the window nothing is compared, nor is the window with itself.
  EXPECT_EQ(none.cells[0].window_tokens, 0);
  EXPECT_EQ(window.cells[0].status, "not_asked");
  EXPECT_EQ(window.cells[1].window_tokens, 0);
  // 2 to 0: p = 0.5; 32 to 0: p = 2^-31. Holm: 0.5, and twice the smaller.
  EXPECT_TRUE(none.cells[1].is_like_window);
  EXPECT_NEAR(*none.cells[1].p_window_holm, 0.5, 1e-12);
  EXPECT_FALSE(pi.cells[1].is_like_window);
  EXPECT_NEAR(*pi.cells[1].p_window_holm / std::exp2(-30), 1.0, 1e-9);

  const std::string text = RenderTables(tables, "table");
  EXPECT_NE(text.find("0.1200 (0.0562–0.2380)~"), std::string::npos) << text;
  EXPECT_NE(text.find("   ~ not separable from a plain window of 64 tokens (5 %, corrected for the "
                      "number of tests)"),
            std::string::npos)
      << text;
  EXPECT_NE(RenderTables(tables, "markdown").find(")\\~ |"), std::string::npos);
  EXPECT_NE(RenderTables(tables, "latex").find(")$^{\\sim}$ "), std::string::npos);
  const std::string csv = RenderTables(tables, "csv");
  EXPECT_NE(csv.find(",window_tokens,p_window\n"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",64,0.5\n"), std::string::npos) << csv;
  const Json json = Json::parse(RenderTables(tables, "json"));
  const Json& cell = json[0].at("rows")[0].at("cells")[1];
  EXPECT_EQ(cell.at("like_window"), true);
  EXPECT_EQ(cell.at("window_tokens"), 64);
  EXPECT_NEAR(cell.at("p_window").get<double>(), 0.5, 1e-12);
  EXPECT_FALSE(json[0].at("rows")[2].at("cells")[1].contains("like_window"));
}

// A window's row may be filtered away, and is still what the others are compared with. Tables of
// differences have no such mark.
TEST(PlainWindowTest, TheMarkDoesNotNeedTheRowInTheTable) {
  const SweepResults results =
      ResultsOf({RunOf("a", "rope", 64, 1)},
                {Answers("a", 256, Repeated(6, 50)), Answers("a", 256, Repeated(8, 50), kWindow)});
  const auto filtered =
      Build(results, {.where = {{.axis = "extension", .values = {"none"}}}, .metrics = {"recall"}});
  ASSERT_EQ(filtered.at(0).rows.size(), 1u);
  EXPECT_TRUE(filtered[0].rows[0].cells[0].is_like_window);
  const auto against = Build(
      results,
      {.metrics = {"recall"}, .against = PivotFilter{.axis = "extension", .values = {"window"}}});
  EXPECT_FALSE(against.at(0).rows[0].cells[0].is_like_window);
  EXPECT_EQ(WindowLegend(against[0]), "");
}

// A stage of the run `base`, trained further under pi. Its answers are read as it was trained.
SweepResults ResultsOfStage(std::vector<ResultRow> rows, int train_length = 64) {
  const ResultRun base = RunOf("base", "rope", 64, 1);
  ResultRun stage = RunOf("stage", "rope", train_length, 1);
  stage.resolved["train"]["extend"] = kPi;
  stage.resolved["init"] = {{"run", base.run_key}};
  AncestryFinder finder;
  finder.Know(base.run_key, base.resolved);
  stage.ancestry = finder.Of(stage.resolved);
  SweepResults results = ResultsOf({base, stage}, std::move(rows));
  results.axes.emplace_back("stage");
  for (ResultRun& run : results.runs) run.axes["stage"] = run.run_key;
  return results;
}

// The row of a stage among rows by stage and extension.
const PivotRow& StageRow(const PivotTable& table) {
  const auto found = std::ranges::find_if(table.rows, [](const PivotRow& row) {
    return std::ranges::find(row.key, Json("stage")) != row.key.end();
  });
  EXPECT_NE(found, table.rows.end());
  return *found;
}

// A run that was trained under an extension has no plain window: that would replace the extension.
TEST(PlainWindowTest, AStageUnderAnExtensionIsComparedWithTheWindowOfItsBase) {
  const SweepResults results = ResultsOfStage(
      {Answers("base", 256, Repeated(6, 50)), Answers("base", 512, Repeated(0, 50)),
       Answers("base", 256, Repeated(8, 50), kWindow),
       Answers("base", 512, Repeated(0, 50), kWindow), Answers("stage", 64, Repeated(0, 50)),
       Answers("stage", 256, Repeated(40, 50)), Answers("stage", 512, Repeated(0, 50))});
  const auto tables = Build(results, {.metrics = {"recall"}});
  const PivotRow& stage = StageRow(tables.at(0));
  EXPECT_EQ(stage.cells[0].window_tokens, 0);  // within the train length
  EXPECT_FALSE(stage.cells[0].lacks_window);
  EXPECT_EQ(stage.cells[1].window_tokens, 64);
  EXPECT_FALSE(stage.cells[1].is_like_window);
  EXPECT_TRUE(stage.cells[2].is_like_window);  // 0 of 50 both
  EXPECT_FALSE(stage.cells[2].lacks_window);
  const std::string text = RenderTables(tables, "table");
  EXPECT_NE(text.find("the window of a run that was trained under an extension is its base's"),
            std::string::npos)
      << text;
  EXPECT_EQ(NoWindowLegend(tables[0]), "");
  EXPECT_EQ(Json::parse(RenderTables(tables, "json")).dump().find(R"("like_window":null)"),
            std::string::npos);
}

// Without a number to compare with, an unmarked share would read as separable.
TEST(PlainWindowTest, WhatHasNoWindowIsMarkedAsNotCompared) {
  const SweepResults results = ResultsOfStage(
      {Answers("base", 256, Repeated(6, 50)), Answers("base", 256, Repeated(8, 50), kWindow),
       Answers("stage", 128, Repeated(0, 50)), Answers("stage", 256, Repeated(0, 50))},
      /*train_length=*/128);  // the base's window is smaller
  const auto tables = Build(results, {.metrics = {"recall"}});
  const PivotRow& stage = StageRow(tables.at(0));
  EXPECT_FALSE(stage.cells[0].lacks_window);  // within the train length
  EXPECT_TRUE(stage.cells[1].lacks_window);
  EXPECT_FALSE(stage.cells[1].is_like_window);
  const std::string text = RenderTables(tables, "table");
  EXPECT_NE(text.find("0.0000 (0.0000–0.0713)?"), std::string::npos) << text;
  EXPECT_NE(
      text.find("   ? not compared with a plain window of 128 tokens, which was not measured"),
      std::string::npos)
      << text;
  EXPECT_NE(RenderTables(tables, "markdown").find(")? |"), std::string::npos);
  EXPECT_NE(RenderTables(tables, "latex").find(")$^{?}$ "), std::string::npos);
  EXPECT_NE(Json::parse(RenderTables(tables, "json")).dump().find(R"("like_window":null)"),
            std::string::npos);
  // Nothing is compared with a window where all is compared with something else.
  EXPECT_EQ(NoWindowLegend(Build(results, {.metrics = {"recall"}, .relative = true}).at(0)), "");
}

// Of two train lengths, only one is shorter than the text. The other has no cell to wait for.
TEST(PlainWindowTest, ARunWithoutABaselineHasNoRowOfIt) {
  const SweepResults results = ResultsOf(
      {RunOf("a", "rope", 64, 1), RunOf("b", "rope", 512, 1)},
      {Answers("a", 256, "01"), Answers("a", 256, "01", kWindow), Answers("b", 256, "11")});
  const auto tables = Build(results, {.metrics = {"recall"}});
  EXPECT_EQ(tables.at(0).rows.size(), 3u) << RenderTables(tables, "table");
}

// A sweep's perplexities do not say that they were read without an extension only because its
// retrieval has a baseline.
TEST(PlainWindowTest, OtherMetricsHaveNoExtensionForIt) {
  const SweepResults results = ResultsOf(
      {RunOf("a", "rope", 64, 1)},
      {RowOf("a", 256, 8.0, 100), Answers("a", 256, "01"), Answers("a", 256, "01", kWindow)});
  const auto tables = Build(results, {});
  EXPECT_EQ(TableTitle(tables.at(0)), "perplexity by context length (validation, nonoverlap)");
}

// ---- how often a table errs ---------------------------------------------------------------------

constexpr int kTables = 200, kExtensions = 10;

std::uint64_t TestSeed() {
  const auto given = GetEnv("LONGRUN_TEST_SEED");
  const std::uint64_t seed = given ? std::stoull(*given) : 20'261'124;
  std::cout << "LONGRUN_TEST_SEED=" << seed << "\n";
  return seed;
}

struct Chances {
  double window = 0.0;    // of a right answer under the window
  double extended = 0.0;  // under each extension
  int n_seeds = 1;
  bool keeps_scores = true;
};

// The numbers of tables of ten extensions in which some cell is not marked, and of cells that are.
struct Outcome {
  int tables_with_one_apart = 0;
  int cells_alike = 0;
};

// A question that one model finds easy is easy for all: its chance varies by up to a fifth.
Outcome Simulate(const Chances& chances, std::mt19937_64& random) {
  constexpr std::size_t kQuestions = 50;
  std::uniform_real_distribution<double> uniform;
  std::vector<ResultRun> runs;
  for (int seed = 1; seed <= chances.n_seeds; ++seed) {
    runs.push_back(RunOf(Str(seed), "rope", 64, seed));
  }
  Outcome outcome;
  for (int t = 0; t < kTables; ++t) {
    std::vector<double> ease;
    for (std::size_t q = 0; q < kQuestions; ++q) ease.push_back(0.8 + 0.4 * uniform(random));
    std::vector<ResultRow> rows;
    const auto ask = [&](const std::string& key, double chance, const Json& extension) {
      std::string scores;
      for (const double of_question : ease) {
        scores += uniform(random) < chance * of_question ? '1' : '0';
      }
      rows.push_back(Answers(key, 256, scores, extension));
      if (!chances.keeps_scores) rows.back().body.scores.clear();
    };
    for (int seed = 1; seed <= chances.n_seeds; ++seed) {
      ask(Str(seed), chances.window, kWindow);
      for (int e = 1; e <= kExtensions; ++e) {
        Json extension = kPi;
        extension["factor"] = 1 + e;
        ask(Str(seed), chances.extended, extension);
      }
    }
    const auto tables = Build(ResultsOf(runs, rows), {.metrics = {"recall"}});
    int n_alike = 0;
    for (const PivotRow& row : tables.at(0).rows) n_alike += row.cells[0].is_like_window ? 1 : 0;
    outcome.cells_alike += n_alike;
    outcome.tables_with_one_apart += n_alike < kExtensions ? 1 : 0;
  }
  return outcome;
}

// At most 5 of 100 tables set one of ten equally good extensions apart from the window. 19 are
// three deviations more than 10 of 200.
TEST(PlainWindowTest, WhatEqualsTheWindowIsRarelySetApart) {
  std::mt19937_64 random(TestSeed());
  for (const double share : {0.05, 0.5}) {
    for (const Chances& kind :
         {Chances{.n_seeds = 1}, Chances{.n_seeds = 3}, Chances{.keeps_scores = false}}) {
      Chances chances = kind;
      chances.window = chances.extended = share;
      const Outcome outcome = Simulate(chances, random);
      RecordProperty(Str(share, "_", kind.n_seeds, kind.keeps_scores ? "_paired" : "_unpaired"),
                     outcome.tables_with_one_apart);
      EXPECT_LE(outcome.tables_with_one_apart, 19)
          << share << ", " << kind.n_seeds << " seeds" << (kind.keeps_scores ? ", paired" : "");
    }
  }
}

// Of 50 questions, a window that answers 2 and an extension that answers 30 are nearly never alike:
// McNemar's test corrected for ten needs about 11 to 0.
TEST(PlainWindowTest, WhatIsFarFromTheWindowIsRarelyMarked) {
  std::mt19937_64 random(TestSeed());
  for (const bool keeps_scores : {true, false}) {
    const Outcome outcome =
        Simulate({.window = 0.04, .extended = 0.6, .keeps_scores = keeps_scores}, random);
    EXPECT_LE(outcome.cells_alike, kTables * kExtensions / 100);
  }
}

}  // namespace
}  // namespace longrun::client
