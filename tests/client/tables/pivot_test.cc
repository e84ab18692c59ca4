// The pivot is arithmetic on result rows: closed forms here, no coordinator.
#include "client/tables/pivot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/str.h"
#include "client/tables/pivot_arguments.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/pivot_filter.h"
#include "client/tables/table_parts.h"
#include "client/tables/worse_than_guessing.h"
#include "model/extension/extension.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

std::vector<PivotTable> Build(const std::vector<SweepResults>& results,
                              const PivotRequest& request = {}) {
  const auto tables = BuildPivot(results, request);
  EXPECT_TRUE(tables.ok()) << tables.status().message();
  return tables.ok() ? *tables : std::vector<PivotTable>();
}

std::string WhyNot(const std::vector<SweepResults>& results, const PivotRequest& request) {
  const auto tables = BuildPivot(results, request);
  EXPECT_FALSE(tables.ok());
  return tables.status().message();
}

// cable and rope, trained at 64 and 128, with these seeds each; read at 64 and 128.
// Perplexity is base + seed, base is 10 for cable and 20 for rope, 100 more for train length 128.
SweepResults Grid(const std::vector<int>& seeds = {1, 2}) {
  std::vector<ResultRun> runs;
  std::vector<ResultRow> rows;
  for (const char* position : {"cable", "rope"}) {
    for (const int train_length : {64, 128}) {
      for (const int seed : seeds) {
        const std::string key =
            std::string(position) + std::to_string(train_length) + std::to_string(seed);
        runs.push_back(RunOf(key, position, train_length, seed));
        const double base = (position[0] == 'c' ? 10 : 20) + (train_length == 128 ? 100 : 0);
        for (const int length : {64, 128}) rows.push_back(RowOf(key, length, base + seed, 500));
      }
    }
  }
  return ResultsOf(runs, rows);
}

TEST(PivotTest, PerplexityIsTheExponentialOfTheMeanAndItsErrorScalesWithIt) {
  const auto tables = Build({ResultsOf({RunOf("a", "cable", 64, 1)}, {RowOf("a", 64, 8.0, 1000)})});

  ASSERT_EQ(tables.size(), 1u);
  const PivotCell& cell = tables[0].rows[0].cells[0];
  EXPECT_NEAR(*cell.value, 8.0, 1e-12);
  EXPECT_NEAR(*cell.se, 0.08, 1e-12);
  EXPECT_EQ(cell.error.source, ErrorSource::kText);
  EXPECT_NEAR(*cell.bits_per_byte, 3.0, 1e-12);  // log2 8, a byte a token
  EXPECT_EQ(cell.n, 1000);
  EXPECT_TRUE(cell.at_train_length);
  EXPECT_EQ(cell.seeds[0].cell, "a-64");
}

TEST(PivotTest, SeedsAreFoldedOnTheScaleOfNll) {
  const auto tables = Build({ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2)},
                                       {RowOf("a", 128, 10.0, 500), RowOf("b", 128, 40.0, 500)})});

  const PivotRow& row = tables[0].rows.at(0);
  EXPECT_EQ(row.seeds, (std::vector<Json>{1, 2}));
  const PivotCell& cell = row.cells[0];
  // exp((ln 10 + ln 40) / 2) = sqrt(400) = 20. ln 10 and ln 40 lie ln 4 apart: standard deviation
  // ln 4 / sqrt 2, of the mean ln 4 / 2 = ln 2; the delta method makes it 20 ln 2.
  EXPECT_NEAR(*cell.value, 20.0, 1e-12);
  EXPECT_NEAR(*cell.se, 20.0 * std::log(2.0), 1e-12);
  EXPECT_EQ(cell.error.source, ErrorSource::kSeeds);
  EXPECT_EQ(cell.n, 1000);
  EXPECT_NEAR(*cell.seeds.at(1).value, 40.0, 1e-12);
}

TEST(PivotTest, TheDefaultIsTheMatrixDownAndTheContextLengthAcross) {
  const auto tables = Build({Grid()});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(tables[0].row_axes, (std::vector<std::string>{"position", "train_length", "dataset"}));
  EXPECT_EQ(tables[0].col_axes, std::vector<std::string>{"context_length"});
  ASSERT_EQ(tables[0].rows.size(), 4u);
  EXPECT_EQ(tables[0].rows[1].key, (std::vector<Json>{"cable", 128, "austen"}));
  ASSERT_EQ(tables[0].columns.size(), 2u);
  // sqrt(11 * 12)
  EXPECT_NEAR(*tables[0].rows[0].cells[1].value, std::sqrt(132.0), 1e-12);
}

// Its file says position: [rope, alibi] and train_length: [128, 64, 256],
// and leaves out rope at 128.
TEST(PivotTest, RowsStandInTheOrderOfTheFileAlsoWhereItLeavesPointsOut) {
  const SweepResults results =
      ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 256, 1), RunOf("c", "alibi", 128, 1),
                 RunOf("d", "alibi", 64, 1), RunOf("e", "alibi", 256, 1)},
                {RowOf("a", 64, 10, 10), RowOf("b", 64, 10, 10), RowOf("c", 64, 10, 10),
                 RowOf("d", 64, 10, 10), RowOf("e", 64, 10, 10)});
  const auto tables = Build({results}, {.rows = {"train_length"}, .cols = {"position"}});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(tables[0].columns, (std::vector<std::vector<Json>>{{"rope"}, {"alibi"}}));
  std::vector<Json> lengths;
  for (const PivotRow& row : tables[0].rows) lengths.push_back(row.key.at(0));
  EXPECT_EQ(lengths, (std::vector<Json>{128, 64, 256}));
}

TEST(PivotTest, AnAxisThatIsNeitherDownNorAcrossMakesATableForEachValue) {
  const auto tables = Build({Grid()}, {.rows = {"position"}});
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[1].fixed[2], (std::pair<std::string, Json>("train_length", 128)));
  EXPECT_NEAR(*tables[1].rows[1].cells[0].value, std::sqrt(121.0 * 122.0), 1e-9);
}

TEST(PivotTest, AnyAxisGoesAcross) {
  // One seed: two would be too few to tell four models apart.
  const auto tables =
      Build({Grid({1})}, {.rows = {"context_length"}, .cols = {"position", "train_length"}});
  ASSERT_EQ(tables.size(), 1u);
  ASSERT_EQ(tables[0].columns.size(), 4u);
  EXPECT_EQ(tables[0].columns[2], (std::vector<Json>{"rope", 64}));
  EXPECT_NEAR(*tables[0].rows[1].cells[2].value, 21.0, 1e-12);
  EXPECT_EQ(tables[0].best_of, "of the row");
  EXPECT_TRUE(tables[0].rows[0].cells[0].is_best);
  EXPECT_FALSE(tables[0].rows[0].cells[2].is_best);
  EXPECT_TRUE(tables[0].rows[1].cells[0].is_best);
}

// A star marks the best among all cells that can be compared, which may stand in several columns:
// the legend says which.
TEST(PivotTest, TheLegendSaysAmongWhichCellsTheBestIsMarked) {
  const auto best_of = [](std::vector<std::string> rows, std::vector<std::string> cols) {
    return Build({Grid()}, {.rows = std::move(rows), .cols = std::move(cols)}).at(0).best_of;
  };
  EXPECT_EQ(best_of({"position", "train_length"}, {"context_length"}), "of the column");
  EXPECT_EQ(best_of({"position"}, {"train_length"}), "of the table");
  EXPECT_EQ(best_of({"seed"}, {"position"}), "of the table");
  EXPECT_EQ(best_of({"train_length"}, {"position", "context_length"}),
            "at the same context_length");
  EXPECT_EQ(best_of({"position", "context_length"}, {"train_length"}),
            "at the same context_length");
  EXPECT_EQ(best_of({"context_length"}, {"position", "train_length"}), "of the row");

  const auto tables = Build({Grid({1})}, {.rows = {"position"}, .cols = {"train_length"}});
  std::size_t n_best = 0;
  for (const PivotRow& row : tables.at(0).rows) {
    for (const PivotCell& cell : row.cells) n_best += cell.is_best ? 1 : 0;
  }
  EXPECT_EQ(n_best, 1u);
}

TEST(PivotTest, SeedsAsAnAxisAreNotFolded) {
  const auto tables = Build({Grid()}, {.rows = {"position", "train_length"},
                                       .cols = {"seed"},
                                       .where = {{.axis = "context_length", .values = {"64"}}}});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_NEAR(*tables[0].rows[0].cells[1].value, 12.0, 1e-12);
  EXPECT_EQ(tables[0].rows[0].cells[1].n_wanted, 1u);
}

TEST(PivotTest, AKeyOfTheRunIsAnAxisByItsPathOrItsLastName) {
  SweepResults results = Grid();
  for (ResultRun& run : results.runs) {
    if (run.axes.at("seed") == 2) run.resolved["train"]["optimizer"]["lr"] = 0.004;
  }
  const auto tables = Build({results}, {.rows = {"position"},
                                        .cols = {"lr"},
                                        .where = {{.axis = "train_length", .values = {"64"}},
                                                  {.axis = "context_length", .values = {"64"}}}});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(tables[0].col_axes, std::vector<std::string>{"train.optimizer.lr"});
  EXPECT_NEAR(*tables[0].rows[0].cells[0].value, 11.0, 1e-12);
  EXPECT_NEAR(*tables[0].rows[0].cells[1].value, 12.0, 1e-12);
}

TEST(PivotTest, AnAxisThatKeepsSuchRunsApartIsNamed) {
  const auto sweep = [](const std::string& name, int n_layer, double lr) {
    SweepResults results = ResultsOf({RunOf(name, "rope", 64, 1)}, {RowOf(name, 64, 8.0, 10)});
    results.name = name;
    results.runs[0].resolved["model"]["n_layer"] = n_layer;
    results.runs[0].resolved["train"]["optimizer"]["lr"] = lr;
    return results;
  };
  const std::string both =
      "one cell of the table would combine runs that differ in model.n_layer, train.optimizer.lr: ";
  EXPECT_EQ(WhyNot({sweep("one", 3, 0.002), sweep("two", 4, 0.004)}, {.rows = {"position"}}),
            both +
                "`--rows position,sweep` keeps them apart; or choose one value of sweep with "
                "--where");
  // No axis does within a sweep whose file says neither.
  SweepResults results = Grid();
  results.runs[1].resolved["model"]["n_layer"] = 4;
  results.runs[1].resolved["train"]["optimizer"]["lr"] = 0.004;
  EXPECT_EQ(WhyNot({results}, {}),
            both + "add these to --rows or --cols, or choose one value of each with --where");
}

TEST(PivotTest, RunsThatDifferInMoreThanTheSeedAreNeverFolded) {
  SweepResults results = Grid();
  results.runs[1].resolved["train"]["optimizer"]["lr"] = 0.004;
  EXPECT_EQ(WhyNot({results}, {}),
            "one cell of the table would combine runs that differ in train.optimizer.lr: add this "
            "to --rows or --cols, or choose one value with --where");
}

TEST(PivotTest, FiltersTakeTextAsATableShowsItAndNumbersInAnyForm) {
  SweepResults results = Grid();
  const Json rope = {{"method", "rope"}, {"base", 500000}};
  for (ResultRun& run : results.runs) {
    if (run.axes.at("position") == "rope") run.axes["position"] = rope;
  }
  for (const char* text : {"rope", "rope(base=500000)"}) {
    const auto tables = Build({results}, {.where = {{.axis = "position", .values = {text}}}});
    ASSERT_EQ(tables[0].rows.size(), 2u);
    EXPECT_EQ(tables[0].rows[0].key[0], rope);
  }
  const auto tables = Build({results}, {.where = {{.axis = "lr", .values = {"2e-3"}},
                                                  {.axis = "train_length", .values = {"1.28e2"}}}});
  EXPECT_EQ(tables[0].rows.size(), 2u);
}

std::vector<PivotFilter> Where(const std::vector<std::string>& texts) {
  PivotArguments arguments;
  arguments.where = texts;
  const auto request = ReadPivotRequest(arguments);
  EXPECT_TRUE(request.ok()) << request.status().message();
  return request.ok() ? request->where : std::vector<PivotFilter>();
}

TEST(PivotTest, WhatToCompareWithIsNeverLeftOutSilently) {
  for (const char* const text : {"", "=", "position", "position=", "=alibi"}) {
    PivotArguments arguments;
    arguments.against = text;
    EXPECT_EQ(ReadPivotRequest(arguments).status().message(),
              Str("--against \"", text, "\": expected axis=value, as in position=alibi"));
  }
  EXPECT_FALSE(ReadPivotRequest(PivotArguments())->against);
}

TEST(PivotTest, OneWhereHoldsSeveralConditions) {
  const auto tables = Build({Grid()}, {.where = Where({"position=cable,train_length=64"})});
  ASSERT_EQ(tables[0].rows.size(), 1u);
  EXPECT_EQ(tables[0].rows[0].key[0], "cable");
  EXPECT_EQ(tables[0].rows[0].key[1], 64);

  const auto both = Where({"position=cable,rope,train_length=64"});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].values, (std::vector<std::string>{"cable", "rope"}));
  EXPECT_EQ(both[1].axis, "train_length");
}

TEST(PivotTest, CommasWithinAValueSeparateNothing) {
  const auto where = Where({"position=rope(base=500000, layout=half),alibi"});
  ASSERT_EQ(where.size(), 1u);
  EXPECT_EQ(where[0].values, (std::vector<std::string>{"rope(base=500000, layout=half)", "alibi"}));
  const auto evaluation = Where({"evaluation=k=8, every=64"});
  ASSERT_EQ(evaluation.size(), 1u);
  EXPECT_EQ(evaluation[0].whole, "k=8, every=64");
}

TEST(PivotTest, ConditionsThatNothingFulfilsAreToldOnce) {
  EXPECT_EQ(WhyNot({Grid()}, {.where = Where({"seed=1", "seed=2"})}),
            "no result fulfils all conditions of --where: seed has the values 1, 2");
}

// Training curves are chosen as the rows of a table are.
TEST(PivotTest, WhereChoosesRunsAsItChoosesRows) {
  const Json rope = {{"method", "rope"}, {"base", 500000}};
  const std::vector<ResultRun> runs = {RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2),
                                       RunOf("c", rope, 64, 1), RunOf("d", rope, 64, 2),
                                       RunOf("e", rope, 64, 3, "books,new")};
  std::vector<RunRef> all;
  for (const ResultRun& run : runs) all.push_back(MakeRunRef("s", run));
  const std::vector<std::string> axes = {"position", "train_length", "dataset", "seed"};
  const auto keys = [&](const std::vector<RunRef>& among, const std::string& where) {
    const auto kept = RunsWhere(among, axes, Where({where}));
    if (!kept.ok()) return kept.status().message();
    std::string text;
    for (const RunRef& run : *kept) text += run.run_key();
    return text;
  };
  EXPECT_EQ(keys(all, "position=rope"), "ab");  // the method with its defaults
  EXPECT_EQ(keys({all[2], all[3]}, "position=rope"), "cd");
  EXPECT_EQ(keys(all, "position=rope(base=500000),seed=1"), "c");
  EXPECT_EQ(keys(all, "dataset=books,new"), "e");
  EXPECT_EQ(keys(all, "position=rope,alibi"),
            "--where position: \"alibi\" is not a value of position; its values are rope, "
            "rope(base=500000)");
  EXPECT_EQ(keys(all, "context_length=64"),
            "--where context_length: this is an axis of evaluations, which a training run does not "
            "have: leave it out");
}

// The form in which a table's title shows an evaluation is one in which --where takes it.
TEST(PivotTest, AnEvaluationIsChosenAsTheTitleShowsIt) {
  SweepResults results = ResultsOf({RunOf("a", "rope", 64, 1)}, {});
  for (const auto& [stride, value] : {std::pair(16, 8.0), std::pair(32, 9.0)}) {
    ResultRow row = RowOf("a", 64, value, 10);
    row.body.protocol = "sliding_bos";
    row.evaluation = {{"perplexity", {{"protocol", "sliding_bos"}, {"stride", stride}}}};
    results.rows.push_back(std::move(row));
  }
  ASSERT_EQ(Build({results}).size(), 2u);
  EXPECT_NE(TableTitle(Build({results})[0]).find("sliding_bos(stride=16)"), std::string::npos);
  for (const char* const text : {"evaluation=sliding_bos(stride=16)", "evaluation=stride=16"}) {
    const auto tables = Build({results}, {.where = Where({text})});
    ASSERT_EQ(tables.size(), 1u) << text;
    EXPECT_NEAR(*tables[0].rows[0].cells[0].value, 8.0, 1e-12) << text;
  }
  EXPECT_EQ(WhyNot({results}, {.where = Where({"evaluation=sliding_bos"})}),
            "--where evaluation: \"sliding_bos\" is not a value of evaluation; its values are "
            "\"sliding_bos(stride=16)\", \"sliding_bos(stride=32)\"");
}

TEST(PivotTest, WhatIsNotThereIsSaidWithWhatIs) {
  EXPECT_EQ(WhyNot({Grid()}, {.rows = {"positon"}}),
            "there is no axis \"positon\"; did you mean \"position\"?");
  EXPECT_EQ(WhyNot({Grid()}, {.rows = {"position", "position"}}),
            "the axis \"position\" is named twice");
  for (const std::vector<std::string>& values :
       {std::vector<std::string>{"alibi"}, std::vector<std::string>{"rope", "alibi"}}) {
    EXPECT_EQ(WhyNot({Grid()}, {.where = {{.axis = "position", .values = values}}}),
              "--where position: \"alibi\" is not a value of position; its values are cable, rope");
  }
  EXPECT_EQ(WhyNot({Grid()}, {.metrics = {"accuracy"}}),
            "the results have no metric \"accuracy\"; their metrics: perplexity, nll, "
            "bits_per_token, bits_per_byte");
  SweepResults results = Grid();
  results.axes = {"a.lr", "b.lr"};
  EXPECT_EQ(WhyNot({results}, {.rows = {"lr"}}),
            "the axis \"lr\" can be a.lr or b.lr: give its full name");
}

TEST(PivotTest, ACellThatIsNotMeasuredYetIsMissingAndWithoutAnAnswer) {
  const auto tables = Build({ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1)},
                                       {RowOf("a", 64, 8.0, 10), RowWithout("b", 64, "missing")})});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(tables[0].rows[1].cells[0].status, "missing");
  EXPECT_EQ(tables[0].rows[1].cells[0].n_answered, 0u);
}

TEST(PivotTest, ASeedThatIsMissingIsCountedAndTheRestIsShown) {
  const auto tables = Build({ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2)},
                                       {RowOf("a", 64, 8.0, 10), RowWithout("b", 64, "missing")})});
  const PivotCell& cell = tables[0].rows[0].cells[0];
  EXPECT_EQ(cell.n_ok, 1u);
  EXPECT_EQ(cell.n_wanted, 2u);
  EXPECT_NEAR(*cell.value, 8.0, 1e-12);
  EXPECT_NEAR(*cell.se, 0.08, 1e-12);  // one seed: the row's own
  EXPECT_EQ(cell.n_answered, 1u);
}

TEST(PivotTest, AReasonForNoNumberIsAnAnswerButAFailureIsNot) {
  for (const char* status : {"not_applicable", "out_of_memory", "diverged", "non_finite"}) {
    const auto tables =
        Build({ResultsOf({RunOf("a", "learned", 64, 1)}, {RowWithout("a", 128, status)})});
    EXPECT_EQ(tables[0].rows[0].cells[0].status, status);
    EXPECT_FALSE(tables[0].rows[0].cells[0].value.has_value());
    EXPECT_EQ(tables[0].rows[0].cells[0].n_answered, 1u) << status;
  }
  const auto tables =
      Build({ResultsOf({RunOf("a", "learned", 64, 1)}, {RowWithout("a", 128, "failed")})});
  EXPECT_EQ(tables[0].rows[0].cells[0].n_answered, 0u);
}

TEST(PivotTest, TheBestIsMarkedAmongCompleteModelsAndTiesShareIt) {
  const auto tables = Build(
      {ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1), RunOf("c", "alibi", 64, 1),
                  RunOf("d", "none", 64, 1), RunOf("e", "none", 64, 2)},
                 {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10), RowOf("c", 64, 8.0, 10),
                  RowOf("d", 64, 3.0, 10), RowWithout("e", 64, "diverged"),
                  RowOf("a", 64, 2.0, 10, "unigram")})});
  const auto& rows = tables[0].rows;
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_TRUE(rows[0].cells[0].is_best);
  EXPECT_FALSE(rows[1].cells[0].is_best);
  EXPECT_TRUE(rows[2].cells[0].is_best);
  EXPECT_FALSE(rows[3].cells[0].is_best);  // one seed of two
  EXPECT_EQ(rows[3].cells[0].status, "diverged");
  EXPECT_EQ(rows[4].baseline, "unigram");
  EXPECT_FALSE(rows[4].cells[0].is_best);
}

TEST(PivotTest, TheBestIsLookedForAmongRunsOfOneDatasetAndTheLargerCanBeBetter) {
  std::vector<ResultRow> rows = {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10),
                                 RowOf("c", 64, 5.0, 10), RowOf("d", 64, 4.0, 10)};
  const std::vector<ResultRun> runs = {RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1),
                                       RunOf("c", "cable", 64, 1, "bible"),
                                       RunOf("d", "rope", 64, 1, "bible")};
  const auto lower = Build({ResultsOf(runs, rows)});
  EXPECT_EQ(lower[0].best_of, "of the column for each dataset");
  std::vector<bool> best;
  for (const PivotRow& row : lower[0].rows) best.push_back(row.cells[0].is_best);
  EXPECT_EQ(best, (std::vector<bool>{true, false, false, true}));  // cable austen, rope bible

  for (ResultRow& row : rows) row.body.metric = "tokens_per_s";
  const auto higher = Build({ResultsOf(runs, rows)});
  ASSERT_EQ(higher[0].metrics.size(), 1u);
  EXPECT_EQ(higher[0].metrics[0].name, "tokens_per_s");
  best.clear();
  for (const PivotRow& row : higher[0].rows) best.push_back(row.cells[0].is_best);
  EXPECT_EQ(best, (std::vector<bool>{false, true, true, false}));
}

TEST(PivotTest, RelativeToTheTrainLengthIsPairedBySeed) {
  // Seed 1: 10 -> 20, seed 2: 12 -> 96. Ratios 2 and 8: geometric mean 4; ln 2 and ln 8 lie ln 4
  // apart, so the error of their mean is ln 2.
  const auto tables = Build({ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2)},
                                       {RowOf("a", 64, 10.0, 500), RowOf("b", 64, 12.0, 500),
                                        RowOf("a", 128, 20.0, 500), RowOf("b", 128, 96.0, 500)})},
                            {.relative = true});
  const auto& cells = tables[0].rows[0].cells;
  EXPECT_NEAR(*cells[0].value, 1.0, 1e-12);
  EXPECT_FALSE(cells[0].se.has_value());
  EXPECT_NEAR(*cells[1].value, 4.0, 1e-12);
  EXPECT_NEAR(*cells[1].estimate.seeds.se, std::log(2.0), 1e-12);
  EXPECT_EQ(cells[1].error.source, ErrorSource::kBoth);
  EXPECT_NEAR(*cells[1].se, 4.0 * std::hypot(std::log(2.0), *cells[1].estimate.text.se), 1e-12);
}

TEST(PivotTest, RelativeOfOneSeedAddsBothErrorsAndNeedsTheTrainLength) {
  const std::vector<ResultRun> runs = {RunOf("a", "rope", 64, 1), RunOf("b", "rope", 32, 1)};
  const auto tables = Build(
      {ResultsOf(runs, {RowOf("a", 64, 10.0, 500, nullptr, 0.03),
                        RowOf("a", 128, 20.0, 500, nullptr, 0.04), RowOf("b", 128, 20.0, 500)})},
      {.relative = true});
  EXPECT_NEAR(*tables[0].rows[0].cells[1].value, 2.0, 1e-12);
  EXPECT_NEAR(*tables[0].rows[0].cells[1].se, 2.0 * 0.05, 1e-12);  // sqrt(0.03^2 + 0.04^2)
  EXPECT_EQ(tables[0].rows[1].cells[1].status, "no_reference");
  EXPECT_FALSE(tables[0].rows[1].cells[1].value.has_value());
}

TEST(PivotTest, SeveralSweepsStandInOneTableAndARunOfBothCountsOnce) {
  SweepResults a = ResultsOf({RunOf("a", "cable", 64, 1)}, {RowOf("a", 64, 8.0, 10)});
  SweepResults b = ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1)},
                             {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10),
                              RowOf("a", 128, 7.0, 10), RowOf("b", 128, 9.0, 10)});
  a.name = "first";
  b.name = "second";
  const auto apart = Build({a, b});
  ASSERT_EQ(apart.size(), 1u);
  EXPECT_EQ(apart[0].row_axes.front(), "sweep");
  ASSERT_EQ(apart[0].rows.size(), 3u);
  EXPECT_EQ(apart[0].rows[0].key[0], "first");
  EXPECT_EQ(apart[0].rows[0].cells[1].status, "not_asked");

  const auto together = Build({a, b}, {.rows = {"position"}});
  ASSERT_EQ(together.size(), 1u);
  ASSERT_EQ(together[0].rows.size(), 2u);
  EXPECT_EQ(together[0].rows[0].cells[0].n_wanted, 1u);
}

TEST(PivotTest, MetricsCanStandSideBySide) {
  const auto tables = Build({Grid()}, {.rows = {"position"},
                                       .cols = {"metric"},
                                       .where = {{.axis = "train_length", .values = {"64"}},
                                                 {.axis = "context_length", .values = {"64"}},
                                                 {.axis = "seed", .values = {"1"}}},
                                       .metrics = {"bits_per_byte", "perplexity"}});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(tables[0].columns, (std::vector<std::vector<Json>>{{"bits_per_byte"}, {"perplexity"}}));
  EXPECT_NEAR(*tables[0].rows[1].cells[0].value, std::log2(21.0), 1e-12);
  EXPECT_NEAR(*tables[0].rows[1].cells[1].value, 21.0, 1e-12);
}

TEST(PivotTest, EvaluationsThatDifferInAParameterAreTablesOfTheirOwn) {
  std::vector<ResultRow> rows = {RowOf("a", 64, 8.0, 10), RowOf("a", 64, 7.0, 10),
                                 RowWithout("a", 128, "missing")};
  const Json same = {{"split", "validation"}, {"protocol", "nonoverlap"}, {"k", 1}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].evaluation["perplexity"] = same;
    rows[i].evaluation["perplexity"]["stride"] = i == 0 ? 16 : 32;
  }
  const auto tables = Build({ResultsOf({RunOf("a", "rope", 64, 1)}, rows)});
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[0].fixed[2], (std::pair<std::string, Json>("evaluation", "stride=16")));
  EXPECT_EQ(tables[0].columns.size(), 1u);
  EXPECT_NEAR(*tables[0].rows[0].cells[0].value, 8.0, 1e-12);
  ASSERT_EQ(tables[1].columns.size(), 2u);
  EXPECT_NEAR(*tables[1].rows[0].cells[0].value, 7.0, 1e-12);
  EXPECT_EQ(tables[1].rows[0].cells[1].status, "missing");
}

TEST(PivotTest, AParameterThatOnlyOneEvaluationHasMakesATableOfItsOwn) {
  std::vector<ResultRow> rows = {RowOf("a", 64, 8.0, 10), RowOf("a", 64, 7.0, 10)};
  rows[0].evaluation = {{"perplexity", {{"split", "validation"}, {"protocol", "nonoverlap"}}}};
  rows[1].evaluation = rows[0].evaluation;
  rows[1].evaluation["perplexity"]["temperature"] = 0.5;
  const auto tables = Build({ResultsOf({RunOf("a", "rope", 64, 1)}, rows)});
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_NEAR(*tables[0].rows[0].cells[0].value, 8.0, 1e-12);
  EXPECT_EQ(tables[1].fixed[2], (std::pair<std::string, Json>("evaluation", "temperature=0.5")));
  EXPECT_NEAR(*tables[1].rows[0].cells[0].value, 7.0, 1e-12);
}

// Under the default of original_length, runs of several train lengths share a row's name.
TEST(PivotTest, ExtensionsAreRowsInTheirOrderAndTheBaselineStandsApart) {
  std::vector<ResultRun> runs;
  std::vector<ResultRow> rows;
  const auto evaluation = [](const Json& given, int train_length) {
    const Json plain = {{"perplexity", {{"protocol", "nonoverlap"}}}};
    if (given.is_null()) return plain;
    return WithExtension(plain, ResolveExtension(WithOriginalLength(given, train_length)).value());
  };
  const Json yarn = {{"method", "yarn"}, {"factor", 4}}, pi = {{"method", "pi"}, {"factor", 4}};
  const auto add = [&](int train_length, const Json& given, double perplexity,
                       const Json& variant = nullptr) {
    for (const int context_length : {64, 256}) {
      ResultRow row = RowOf(Str("r", train_length), context_length, perplexity, 1000, variant);
      row.evaluation = evaluation(given, train_length);
      row.cell += Str("-", given.is_null() ? "none" : given.at("method").get<std::string>());
      rows.push_back(row);
    }
  };
  for (const int train_length : {64, 128}) {
    runs.push_back(RunOf(Str("r", train_length), "rope", train_length, 1));
    add(train_length, yarn, 20);
    add(train_length, Json(), 30);
    add(train_length, Json(), 90, "unigram");
    add(train_length, pi, 25);
  }
  const std::vector<SweepResults> results = {ResultsOf(runs, rows)};
  const auto named = Build(
      results, {.rows = {"extension"}, .where = {{.axis = "train_length", .values = {"128"}}}});
  ASSERT_EQ(named.size(), 1U);
  const PivotTable& table = named[0];
  ASSERT_EQ(table.rows.size(), 4U);
  EXPECT_EQ(table.rows[0].key, (std::vector<Json>{"none"}));
  EXPECT_EQ(table.rows[1].key, (std::vector<Json>{pi}));
  EXPECT_EQ(table.rows[2].key, (std::vector<Json>{yarn}));
  EXPECT_EQ(table.rows[3].baseline, "unigram");
  // They are compared with each other.
  EXPECT_FALSE(table.rows[0].cells[0].is_best);
  EXPECT_TRUE(table.rows[2].cells[0].is_best);

  const auto all = Build(results);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].row_axes.back(), "extension");
  ASSERT_EQ(all[0].rows.size(), 7U);
  EXPECT_EQ(all[0].rows[4].key.back(), pi);
  for (const PivotRow& row : all[0].rows) {
    for (const PivotCell& cell : row.cells) EXPECT_EQ(cell.status, "ok");
  }

  // Several chosen ones share a table too, and a table of one has the baseline.
  const auto two = Build(results, {.where = {{.axis = "extension", .values = {"none", "yarn"}}}});
  ASSERT_EQ(two.size(), 1U);
  EXPECT_EQ(two[0].row_axes.back(), "extension");
  EXPECT_EQ(two[0].rows.size(), 5U);
  for (const char* const one : {"none", "yarn"}) {
    const auto only = Build(results, {.where = {{.axis = "extension", .values = {one}}}});
    ASSERT_EQ(only.size(), 1U) << one;
    ASSERT_EQ(only[0].rows.size(), 3U) << one;
    EXPECT_EQ(only[0].rows[2].baseline, "unigram");
  }
  // A table for each extension: the first has the baseline.
  const auto apart = Build(results, {.rows = {"train_length"}});
  ASSERT_EQ(apart.size(), 3U);
  EXPECT_EQ(apart[0].rows.size(), 3U);
  EXPECT_EQ(apart[1].rows.size(), 2U);

  const auto chosen =
      Build(results, {.where = {{.axis = "extension", .values = {"yarn"}}},
                      .against = PivotFilter{.axis = "extension", .values = {"none"}}});
  ASSERT_EQ(chosen.size(), 1U);
  ASSERT_EQ(chosen[0].rows.size(), 2U);
  EXPECT_NEAR(*chosen[0].rows[0].cells[0].value, 20.0 / 30.0, 1e-9);
}

// A number of one seed is compared with the same seed's number.
TEST(PivotTest, AgainstComparesSeedsThatAreNamedOneByOne) {
  const PivotFilter cable = {.axis = "position", .values = {"cable"}};
  const PivotFilter one_seed = {.axis = "seed", .values = {"1"}};
  for (const PivotRequest& request :
       {PivotRequest{.where = {one_seed}, .against = cable},
        PivotRequest{.rows = {"train_length", "position", "seed"}, .against = cable}}) {
    const auto tables = Build({Grid()}, request);
    ASSERT_EQ(tables.size(), 1U);
    for (const PivotRow& row : tables[0].rows) {
      const bool is_long = std::ranges::find(row.key, Json(128)) != row.key.end();
      const bool is_cable = std::ranges::find(row.key, Json("cable")) != row.key.end();
      const PivotCell& cell = row.cells.at(0);
      ASSERT_EQ(cell.seeds.size(), 1U);
      const double base = is_long ? 110 : 10;
      const double seed = cell.seeds[0].seed.get<double>();
      EXPECT_NEAR(*cell.value, is_cable ? 1.0 : (base + 10 + seed) / (base + seed), 1e-9);
    }
  }
  // Seeds that the other does not have are not compared with.
  std::vector<ResultRun> runs = {RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 2)};
  const auto none = Build({ResultsOf(runs, {RowOf("a", 64, 8, 500), RowOf("b", 64, 9, 500)})},
                          {.where = {{.axis = "seed", .values = {"2"}}}, .against = cable});
  ASSERT_EQ(none.size(), 1U);
  EXPECT_EQ(none[0].rows[0].cells[0].status, "no_reference");
  EXPECT_EQ(none[0].rows[0].cells[0].keys_that_differ, std::vector<std::string>{"seed"});
}

// ALiBi cannot be extended by methods that change a rotation: its number is one without extension.
TEST(PivotTest, ANumberUnderAnExtensionWithoutReferenceNamesTheExtension) {
  const Json plain = {{"perplexity", {{"protocol", "nonoverlap"}}}};
  const Json yarn = {{"method", "yarn"}, {"factor", 4}};
  std::vector<ResultRow> rows = {RowOf("alibi", 64, 20, 1000), RowOf("rope", 64, 30, 1000),
                                 RowOf("rope", 64, 25, 1000)};
  for (ResultRow& row : rows) row.evaluation = plain;
  rows[2].evaluation = WithExtension(plain, ResolveExtension(WithOriginalLength(yarn, 64)).value());
  rows[2].cell += "-yarn";
  const std::vector<ResultRun> runs = {RunOf("alibi", "alibi", 64, 1),
                                       RunOf("rope", "rope", 64, 1)};
  const auto tables = Build({ResultsOf(runs, rows)},
                            {.rows = {"extension", "position"},
                             .against = PivotFilter{.axis = "position", .values = {"alibi"}}});
  std::set<std::vector<std::string>> keys;
  for (const PivotTable& table : tables) {
    for (const PivotRow& row : table.rows) {
      for (const PivotCell& cell : row.cells) {
        if (cell.status == kNoReference) keys.insert(cell.keys_that_differ);
      }
    }
  }
  EXPECT_EQ(keys, (std::set<std::vector<std::string>>{{"extension"}}));
}

// What has no extension has no such axis in its tables.
TEST(PivotTest, WithoutExtensionsTheirAxisIsEmpty) {
  const auto tables = Build({Grid()});
  const auto& fixed = tables.at(0).fixed;
  EXPECT_EQ(std::ranges::find(fixed, "extension", &std::pair<std::string, Json>::first),
            fixed.end());
}

ResultRow OnDataset(ResultRow row, const std::string& name, const std::string& digest) {
  row.evaluation = {{"perplexity", {{"split", "validation"}, {"protocol", "nonoverlap"}}}};
  if (!name.empty()) {
    row.evaluation = WithEvaluatedDataset(row.evaluation, {.name = name, .digest = digest});
    row.cell += digest;
  }
  return row;
}

std::optional<Json> FixedOf(const PivotTable& table, std::string_view axis) {
  const auto found =
      std::ranges::find(table.fixed, axis, [](const auto& one) { return one.first; });
  return found == table.fixed.end() ? std::nullopt : std::optional(found->second);
}

TEST(PivotTest, ANumberOnAnotherDatasetIsInATableOfItsOwn) {
  const std::vector<ResultRun> runs = {RunOf("a", "rope", 64, 1), RunOf("b", "cable", 64, 1)};
  std::vector<SweepResults> results = {ResultsOf(
      runs, {OnDataset(RowOf("a", 64, 8, 500), "", ""), OnDataset(RowOf("b", 64, 9, 500), "", ""),
             OnDataset(RowOf("a", 64, 30, 500), "books", "b1"),
             OnDataset(RowOf("b", 64, 40, 500), "books", "b1")})};
  const auto tables = Build(results);
  ASSERT_EQ(tables.size(), 2U);
  EXPECT_EQ(FixedOf(tables[0], "evaluated_dataset"), std::nullopt);
  EXPECT_EQ(FixedOf(tables[1], "evaluated_dataset"), Json("books"));
  EXPECT_EQ(TableTitle(tables[0]), "perplexity by context length (validation, nonoverlap)");
  EXPECT_EQ(TableTitle(tables[1]), "perplexity by context length (books, validation, nonoverlap)");
  EXPECT_NEAR(*tables[1].rows.at(1).cells.at(0).value, 40.0, 1e-9);
  for (const auto& [value, perplexity] : {std::pair("books", 30.0), std::pair("none", 8.0)}) {
    const auto chosen =
        Build(results, {.where = {{.axis = "evaluated_dataset", .values = {value}}}});
    ASSERT_EQ(chosen.size(), 1U) << value;
    EXPECT_NEAR(*chosen[0].rows.at(0).cells.at(0).value, perplexity, 1e-9);
  }
  const auto across = Build(results, {.rows = {"position"}, .cols = {"evaluated_dataset"}});
  ASSERT_EQ(across.size(), 1U);
  EXPECT_EQ(across[0].columns, (std::vector<std::vector<Json>>{{nullptr}, {"books"}}));
}

// With runs that were trained on what others are only evaluated on, the columns are the texts.
TEST(PivotTest, EachModelOnEachTextIsOneTable) {
  const std::vector<ResultRun> runs = {RunOf("a", "rope", 64, 1, "austen"),
                                       RunOf("b", "rope", 64, 1, "books"),
                                       RunOf("c", "rope", 64, 1, "poems")};
  const std::vector<SweepResults> results = {ResultsOf(
      runs, {OnDataset(RowOf("a", 64, 8, 500), "", ""), OnDataset(RowOf("b", 64, 9, 500), "", ""),
             OnDataset(RowOf("c", 64, 7, 500), "", ""),
             OnDataset(RowOf("a", 64, 30, 500), "books", "books"),
             OnDataset(RowOf("b", 64, 40, 500), "austen", "austen"),
             OnDataset(RowOf("c", 64, 50, 500), "austen", "austen")})};
  const auto tables = Build(results, {.rows = {"dataset"}, .cols = {"evaluated_dataset"}});
  ASSERT_EQ(tables.size(), 1U);
  EXPECT_EQ(tables[0].columns, (std::vector<std::vector<Json>>{{"austen"}, {"books"}, {"poems"}}));
  const double expected[3][3] = {{8, 30, 0}, {40, 9, 0}, {50, 0, 7}};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) {
      const PivotCell& cell = tables[0].rows.at(r).cells.at(c);
      ASSERT_EQ(cell.value.has_value(), expected[r][c] > 0) << r << c;
      if (cell.value) {
        EXPECT_NEAR(*cell.value, expected[r][c], 1e-9);
      }
    }
  }
  // Models that read the same text are compared, whatever they were trained on.
  EXPECT_TRUE(tables[0].rows[0].cells[0].is_best);
  EXPECT_FALSE(tables[0].rows[1].cells[0].is_best);
}

TEST(PivotTest, EvaluatedDatasetsOfOneNameAreToldApartAndOneWithTwoNamesIsOne) {
  const std::vector<ResultRun> runs = {RunOf("a", "rope", 64, 1)};
  std::vector<SweepResults> results = {
      ResultsOf(runs, {OnDataset(RowOf("a", 64, 30, 500), "books", "b1b1b1b1b1"),
                       OnDataset(RowOf("a", 64, 40, 500), "books", "b2b2b2b2b2"),
                       OnDataset(RowOf("a", 128, 50, 500), "novels", "b1b1b1b1b1"),
                       OnDataset(RowOf("a", 128, 60, 500), "austen", "b3b3b3b3b3")})};
  TellDatasetsApart(results);
  std::vector<Json> names;
  for (const PivotTable& table : Build(results)) {
    names.push_back(*FixedOf(table, "evaluated_dataset"));
  }
  EXPECT_EQ(names, (std::vector<Json>{"austen@b3b3b3b3", "books@b1b1b1b1", "books@b2b2b2b2"}));
  EXPECT_EQ(results[0].runs[0].dataset, "austen@austen");
  // Without the digest, the name is any of them.
  EXPECT_EQ(Build(results, {.where = {{.axis = "evaluated_dataset", .values = {"books"}}}}).size(),
            2U);
}

TEST(PivotTest, AVariantOfTheModelIsARowAndABaselineStandsApart) {
  const std::vector<ResultRun> runs = {RunOf("a", "rope", 64, 1)};
  const std::vector<ResultRow> rows = {RowOf("a", 64, 8.0, 10), RowOf("a", 64, 7.0, 10, "yarn"),
                                       RowOf("a", 64, 22.0, 10, "unigram")};
  const auto tables = Build({ResultsOf(runs, rows)});
  ASSERT_EQ(tables.size(), 1u);
  ASSERT_EQ(tables[0].rows.size(), 3u);
  EXPECT_EQ(tables[0].row_axes.back(), "variant");
  EXPECT_EQ(tables[0].rows[2].baseline, "unigram");
  const auto named = Build({ResultsOf(runs, rows)}, {.rows = {"variant"}});
  EXPECT_EQ(named[0].rows.size(), 3u);
  for (const PivotRow& row : named[0].rows) EXPECT_EQ(row.baseline, "");
}

// cable, trained at 2, and learned, which ends before 4; both read by position at 4.
SweepResults Positions() {
  ResultRow not_applicable = RowByPosition("b", {1, 1, 1, 1});
  not_applicable.body.status = "not_applicable";
  not_applicable.body.buckets.clear();
  not_applicable.body.value.reset();
  not_applicable.body.nll_sum.reset();
  return ResultsOf({RunOf("a", "cable", 2, 1), RunOf("b", "learned", 2, 1)},
                   {RowByPosition("a", {16, 8, 4, 2}), not_applicable, RowOf("a", 8, 9.0, 10)});
}

TEST(PivotTest, TheBucketsOfARowAreItsColumnsByPosition) {
  const auto tables = Build({Positions()}, {.metrics = {"perplexity_by_position"}});
  ASSERT_EQ(tables.size(), 1u);
  const PivotTable& table = tables[0];
  EXPECT_EQ(table.col_axes, std::vector<std::string>{"tokens_of_context"});
  ASSERT_EQ(table.columns.size(), 4u);
  EXPECT_EQ(table.columns[2], (std::vector<Json>{{{"from", 3}, {"to", 3}}}));
  ASSERT_EQ(table.rows.size(), 2u);
  const std::vector<PivotCell>& cable = table.rows[0].cells;
  EXPECT_NEAR(*cable[0].value, 16.0, 1e-12);
  EXPECT_NEAR(*cable[3].value, 2.0, 1e-12);
  EXPECT_EQ(cable[3].n, 2);
  EXPECT_FALSE(cable[0].se.has_value());
  EXPECT_FALSE(cable[0].at_train_length);
  EXPECT_TRUE(cable[1].at_train_length);  // the bucket of 2 tokens
  EXPECT_FALSE(cable[2].at_train_length);
  for (const PivotCell& cell : table.rows[1].cells) EXPECT_EQ(cell.status, "not_applicable");
}

TEST(PivotTest, MergedBucketsAddTheirSums) {
  const auto tables = Build({Positions()}, {.metrics = {"nll_by_position"}, .buckets_max = 2});
  ASSERT_EQ(tables.size(), 1u);
  const PivotTable& table = tables[0];
  ASSERT_EQ(table.columns.size(), 2u);
  EXPECT_EQ(table.columns[0], (std::vector<Json>{{{"from", 1}, {"to", 2}}}));
  EXPECT_EQ(table.columns[1], (std::vector<Json>{{{"from", 3}, {"to", 4}}}));
  EXPECT_NEAR(*table.rows[0].cells[0].value, (std::log(16.0) + std::log(8.0)) / 2, 1e-12);
  EXPECT_EQ(table.rows[0].cells[0].n, 4);
  // One more than there are changes nothing.
  const auto all = Build({Positions()}, {.metrics = {"nll_by_position"}, .buckets_max = 5});
  EXPECT_EQ(all.at(0).columns.size(), 4u);
}

// Tables write a space between parameters, and other verbs none.
TEST(PivotTest, AValueMayBeNamedWithOrWithoutSpaces) {
  const Json value = {{"method", "self_extend"}, {"group", 8}, {"window", 32}};
  EXPECT_TRUE(IsWholeName(value, "self_extend(group=8, window=32)"));
  EXPECT_TRUE(IsWholeName(value, "self_extend(group=8,window=32)"));
  EXPECT_FALSE(IsWholeName(value, "self_extend(group=8,window=3)"));
  EXPECT_FALSE(IsWholeName(Json("my book"), "mybook"));
}

TEST(PivotTest, PositionsMayStandDownWithTheMethodsAcross) {
  const auto tables = Build({Positions()}, {.rows = {"tokens_of_context"},
                                            .cols = {"position"},
                                            .where = {{.axis = "position", .values = {"cable"}}},
                                            .metrics = {"nll_by_position"}});
  ASSERT_EQ(tables.size(), 1u);
  ASSERT_EQ(tables[0].rows.size(), 4u);
  EXPECT_NEAR(*tables[0].rows[2].cells[0].value, std::log(4.0), 1e-12);
}

TEST(PivotTest, AMetricByPositionIsAskedForByItself) {
  EXPECT_EQ(WhyNot({Positions()}, {.metrics = {"nll_by_position", "nll"}}),
            "--metric nll_by_position,nll: metrics by position have columns of their own: use a "
            "separate command for them");
  EXPECT_EQ(WhyNot({Positions()}, {.metrics = {"nll_by_position"}, .relative = true}),
            "--relative compares context lengths, and nll_by_position shows the positions within "
            "one context length: leave --relative out");
  EXPECT_EQ(WhyNot({Positions()}, {.cols = {"tokens_of_context"}}),
            "the axis tokens_of_context exists only for metrics by position: add --metric "
            "nll_by_position");
  EXPECT_EQ(WhyNot({Grid()}, {.metrics = {"nll_by_position"}}),
            "the results have no metric \"nll_by_position\"; their metrics: perplexity, nll, "
            "bits_per_token, bits_per_byte; a perplexity with protocol: per_position measures it");
}

// Guessing evenly among 320 tokens has perplexity 320. What is read beyond the train length may be
// worse, and a run that does not train may be, too.
TEST(PivotTest, TrainingsThatAreWorseThanGuessingAreNamed) {
  const auto run = [](const std::string& key, bool trains) {
    ResultRun one = RunOf(key, "rope", 64, 1);
    one.resolved["model"]["vocab_size"] = 320;
    if (trains) one.resolved["train"]["tokens"] = 1000;
    return one;
  };
  const auto said = [&](double at_64, double at_128, bool trains) {
    return WorseThanGuessing({ResultsOf(
        {run("a", trains)}, {RowOf("a", 64, at_64, 500), RowOf("a", 128, at_128, 500)})});
  };
  EXPECT_EQ(said(319.0, 5000.0, true), "");
  EXPECT_EQ(said(5000.0, 5000.0, false), "");
  // Within its error, which RowOf makes 0.01, and of one token, which has none.
  EXPECT_EQ(said(320.5, 319.0, true), "");
  ResultRow of_one = RowOf("a", 64, 5000.0, 1);
  of_one.body.se.reset();
  EXPECT_EQ(WorseThanGuessing({ResultsOf({run("a", true)}, {of_one})}), "");
  const std::string text = said(5000.0, 319.0, true);
  EXPECT_NE(text.find("1 run is worse at the train length than a guess that gives every token the "
                      "same probability: run a "
                      "(rope, train length 64, seed 1) has perplexity 5e+03, guessing has 320."),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace longrun::client
