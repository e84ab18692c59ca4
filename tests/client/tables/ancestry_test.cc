// Runs that start from other runs, as a coordinator's answer has them: which of them are seeds of
// one run.
#include "client/tables/ancestry.h"

#include <gtest/gtest.h>

#include "client/tables/pivot.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/sweep_results.h"
#include "client/tables/table_format.h"
#include "client/tables/table_parts.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

std::string KeyOf(const std::string& name) { return name + std::string(64 - name.size(), '0'); }

// A run that was trained on so many tokens.
struct Sample {
  std::string name;  // 8 letters: its id
  std::string position;
  int seed = 0;
  int tokens = 0;
  std::string parent = {};
  std::string base = {};

  ResultRun Result() const {
    ResultRun run = RunOf(KeyOf(name), position, 64, seed);
    run.resolved["train"]["tokens"] = tokens;
    if (!parent.empty()) run.resolved["parent"] = KeyOf(parent);
    if (!base.empty()) run.resolved["init"] = {{"run", KeyOf(base)}};
    return run;
  }
};

void Fill(const ResultRun& run, v1::RunInfo* info) {
  info->set_run_key(run.run_key);
  info->set_dataset(run.dataset);
  info->set_axes_json(CanonicalJson(run.axes));
  info->set_run_json(CanonicalJson(run.resolved));
}

// The sweep's runs, whose perplexities are 10 + seed, and the ancestors that the coordinator knows.
// `link_axis`: an axis of the matrix that names the run from which each starts, or "".
SweepResults Answer(const std::vector<Sample>& runs, const std::vector<Sample>& ancestors,
                    const std::string& link_axis = "train.continue_from",
                    const std::string& name = "more") {
  v1::GetResultsResponse answer;
  for (const char* axis : {"position", "train_length", "dataset", "seed"}) answer.add_axes(axis);
  if (!link_axis.empty()) answer.add_axes(link_axis);
  for (const Sample& sample : runs) {
    ResultRun run = sample.Result();
    if (link_axis == "train.continue_from") run.axes[link_axis] = sample.parent;
    if (link_axis == "model.init_from") run.axes[link_axis] = {{"run", sample.base}};
    Fill(run, answer.add_runs());
    v1::ResultRow& row = *answer.add_rows();
    row.set_run_key(run.run_key);
    row.set_cell(run.run_key);
    row.set_attempt("attempt");
    row.set_body_json(CanonicalJson(BodyOf(64, 10 + sample.seed, 500)));
  }
  for (const Sample& sample : ancestors) Fill(sample.Result(), answer.add_ancestors());
  return ReadResults(name, answer);
}

std::vector<PivotTable> Build(const std::vector<SweepResults>& results,
                              const PivotRequest& request = {}) {
  const auto tables = BuildPivot(results, request);
  EXPECT_TRUE(tables.ok()) << tables.status().message();
  return tables.ok() ? *tables : std::vector<PivotTable>();
}

// Of each row its key and its number of seeds: ["rope",64,"austen"] 2.
std::vector<std::string> RowsOf(const PivotTable& table) {
  std::vector<std::string> rows;
  for (const PivotRow& row : table.rows) {
    rows.push_back(CanonicalJson(row.key) + " " + std::to_string(row.cells.at(0).n_ok));
  }
  return rows;
}

using Rows = std::vector<std::string>;

const std::vector<Sample> kParents = {{"rope---1", "rope", 1, 1000},
                                      {"rope---2", "rope", 2, 1000},
                                      {"alibi--1", "alibi", 1, 1000},
                                      {"alibi--2", "alibi", 2, 1000}};
const std::vector<Sample> kContinued = {{"more-r-1", "rope", 1, 2000, "rope---1"},
                                        {"more-r-2", "rope", 2, 2000, "rope---2"},
                                        {"more-a-1", "alibi", 1, 2000, "alibi--1"},
                                        {"more-a-2", "alibi", 2, 2000, "alibi--2"}};

TEST(AncestryTest, ContinuedRunsWhoseParentsDifferOnlyInTheSeedAreOneRow) {
  const auto tables = Build({Answer(kContinued, kParents)});
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(RowsOf(tables[0]), (Rows{R"(["rope",64,"austen"] 2)", R"(["alibi",64,"austen"] 2)"}));
  EXPECT_EQ(tables[0].row_axes, (Rows{"position", "train_length", "dataset"}));
  const PivotCell& cell = tables[0].rows[0].cells[0];
  EXPECT_NEAR(*cell.value, std::sqrt(11.0 * 12.0), 1e-9);  // the mean of the nll
  EXPECT_TRUE(cell.estimate.seeds.se.has_value());
  EXPECT_EQ(cell.readings.at(1).seed, 2);
  EXPECT_TRUE(tables[0].unknown_ancestors.empty());
  // The axis is still there for those who name it.
  const auto named = Build({Answer(kContinued, kParents)}, {.rows = {"continue_from"}});
  EXPECT_EQ(RowsOf(named.at(0)), (Rows{R"(["rope---1+rope---2"] 2)"}));
}

TEST(AncestryTest, ParentsThatDifferInMoreThanTheSeedKeepTheirRows) {
  std::vector<Sample> parents = kParents, runs = kContinued;
  parents[1].tokens = 500;
  parents[3].tokens = 500;
  const auto tables = Build({Answer(runs, parents)});
  EXPECT_EQ(
      RowsOf(tables.at(0)),
      (Rows{R"(["rope",64,"austen","rope---1"] 1)", R"(["rope",64,"austen","rope---2"] 1)",
            R"(["alibi",64,"austen","alibi--1"] 1)", R"(["alibi",64,"austen","alibi--2"] 1)"}));
  // Two lengths of the first training, with two seeds each.
  parents = {{"long---1", "rope", 1, 1000},
             {"long---2", "rope", 2, 1000},
             {"short--1", "rope", 1, 500},
             {"short--2", "rope", 2, 500}};
  runs = {{"a", "rope", 1, 2000, "long---1"},
          {"b", "rope", 2, 2000, "long---2"},
          {"c", "rope", 1, 2000, "short--1"},
          {"d", "rope", 2, 2000, "short--2"}};
  EXPECT_EQ(RowsOf(Build({Answer(runs, parents)}).at(0)),
            (Rows{R"(["rope",64,"austen","long---1+long---2"] 2)",
                  R"(["rope",64,"austen","short--1+short--2"] 2)"}));
  // Without a row of its own, each has a table of its own.
  EXPECT_EQ(Build({Answer(runs, parents)}, {.rows = {"position"}}).size(), 2u);
  EXPECT_EQ(RowsOf(Build({Answer(runs, parents)}, {.rows = {"parent.train.tokens"}}).at(0)),
            (Rows{"[1000] 2"}));
}

TEST(AncestryTest, AllAncestorsCountNotOnlyTheNearest) {
  std::vector<Sample> ancestors = kParents;
  ancestors.push_back({"next-r-1", "rope", 1, 2000, "rope---1"});
  ancestors.push_back({"next-r-2", "rope", 2, 2000, "rope---2"});
  const std::vector<Sample> runs = {{"last-r-1", "rope", 1, 4000, "next-r-1"},
                                    {"last-r-2", "rope", 2, 4000, "next-r-2"}};
  EXPECT_EQ(RowsOf(Build({Answer(runs, ancestors)}).at(0)), (Rows{R"(["rope",64,"austen"] 2)"}));
  ancestors[1].tokens = 500;
  EXPECT_EQ(RowsOf(Build({Answer(runs, ancestors)}).at(0)),
            (Rows{R"(["rope",64,"austen","next-r-1"] 1)", R"(["rope",64,"austen","next-r-2"] 1)"}));
}

TEST(AncestryTest, RunsOfUnknownParentsStayApartAndTheTableSaysWhy) {
  const std::vector<Sample> runs = {kContinued[0], kContinued[1]};
  const auto tables = Build({Answer(runs, {})});
  EXPECT_EQ(RowsOf(tables.at(0)),
            (Rows{R"(["rope",64,"austen","rope---1"] 1)", R"(["rope",64,"austen","rope---2"] 1)"}));
  EXPECT_NE(RenderTables(tables, "table")
                .find("the coordinator does not know the runs rope---1, rope---2, so runs that "
                      "start from them are not combined as seeds"),
            std::string::npos)
      << RenderTables(tables, "table");
  // Nor does a parent that is known help if its own parent is not.
  const std::vector<Sample> next = {{"last-r-1", "rope", 1, 4000, "more-r-1"},
                                    {"last-r-2", "rope", 2, 4000, "more-r-2"}};
  EXPECT_EQ(Build({Answer(next, runs)}).at(0).rows.size(), 2u);
  // Where no axis tells them apart, they are not averaged either.
  const auto refused = BuildPivot(
      {Answer({runs[0]}, {}, "", "one"), Answer({runs[1]}, {}, "", "two")}, {.rows = {"position"}});
  EXPECT_EQ(refused.status().message(),
            "one cell of the table would combine runs that differ in parent: add this to --rows or "
            "--cols, or choose one value with --where; the coordinator does not know run rope---1, "
            "from which run more-r-1 starts, so longrun cannot tell whether only its seed differs");
}

TEST(AncestryTest, SweepsThatContinueOneSeedEachShareARow) {
  const auto of = [](const std::vector<Sample>& runs, const std::vector<Sample>& parents,
                     const std::string& name) { return Answer(runs, parents, "", name); };
  std::vector<Sample> parents = kParents;
  const auto both = [&] {
    return std::vector<SweepResults>{of({kContinued[0]}, parents, "one"),
                                     of({kContinued[1]}, parents, "two")};
  };
  EXPECT_EQ(RowsOf(Build(both(), {.rows = {"position"}}).at(0)), (Rows{R"(["rope"] 2)"}));
  EXPECT_TRUE(Build(both()).at(0).hidden_keys.empty());
  parents[1].tokens = 500;
  EXPECT_EQ(Build(both()).at(0).hidden_keys, (Rows{"parent.train.tokens"}));
  EXPECT_EQ(BuildPivot(both(), {.rows = {"position"}}).status().message(),
            "one cell of the table would combine runs that differ in parent.train.tokens: add this "
            "to --rows or --cols, or choose one value with --where");
  EXPECT_EQ(RowsOf(Build(both(), {.rows = {"position", "parent.train.tokens"}}).at(0)),
            (Rows{R"(["rope",1000] 1)", R"(["rope",500] 1)"}));
  // "tokens" is still a key of the run itself.
  EXPECT_EQ(Build(both(), {.rows = {"parent", "tokens"}}).at(0).row_axes,
            (Rows{"parent", "train.tokens"}));
}

TEST(AncestryTest, BasesOfOtherSweepsThatDifferOnlyInTheSeedAreOneRow) {
  const std::vector<Sample> runs = {{"fine---1", "rope", 1, 2000, "", "rope---1"},
                                    {"fine---2", "rope", 1, 2000, "", "rope---2"}};
  const auto tables = Build({Answer(runs, kParents, "model.init_from")});
  EXPECT_EQ(RowsOf(tables.at(0)), (Rows{R"(["rope",64,"austen"] 2)"}));
  // Both have seed 1 and start from others: each is paired with what has the same seeds.
  const PivotCell& cell = tables[0].rows[0].cells[0];
  EXPECT_EQ(cell.readings.at(0).seed, 1);
  EXPECT_EQ(cell.readings.at(1).seed, Json::array({1, 2}));
  const std::vector<Sample> others = {{"fine---1", "rope", 1, 2000, "", "rope---1"},
                                      {"fine---2", "rope", 1, 2000, "", "alibi--2"}};
  EXPECT_EQ(Build({Answer(others, kParents, "model.init_from")}).at(0).rows.size(), 2u);
}

// Of each seed: a base, a stage of it, and a stage of that stage.
TEST(AncestryTest, StagesOfOneSweepAreCombinedOverSeedsAtEveryDepth) {
  std::vector<Sample> runs;
  for (const int seed : {1, 2}) {
    const std::string n = std::to_string(seed);
    runs.push_back({"base---" + n, "rope", seed, 1000});
    runs.push_back({"first--" + n, "rope", seed, 2000, "", "base---" + n});
    runs.push_back({"second-" + n, "rope", seed, 3000, "", "first--" + n});
  }
  const auto tables = Build({Answer(runs, {}, "")}, {.rows = {"train.tokens"}});
  EXPECT_EQ(RowsOf(tables.at(0)), (Rows{"[1000] 2", "[2000] 2", "[3000] 2"}));
}

TEST(AncestryTest, AgainstComparesContinuedRunsAlthoughTheirParentsDifferInTheSameWay) {
  const PivotRequest request = {.against = PivotFilter{.axis = "position", .values = {"alibi"}}};
  std::vector<Sample> parents = kParents;
  const std::vector<Sample> rope = {kContinued[0], kContinued[1]};
  const std::vector<Sample> alibi = {kContinued[2], kContinued[3]};
  const auto status = [](const std::vector<PivotTable>& tables) {
    return tables.at(0).rows.at(0).cells.at(0).status;
  };
  EXPECT_EQ(status(Build({Answer(kContinued, parents)}, request)), "ok");
  EXPECT_EQ(
      status(Build({Answer(rope, parents, "", "one"), Answer(alibi, parents, "", "two")}, request)),
      "ok");
  for (std::size_t i = 2; i < 4; ++i) parents[i].tokens = 500;
  const auto differ =
      Build({Answer(rope, parents, "", "one"), Answer(alibi, parents, "", "two")}, request);
  EXPECT_EQ(status(differ), "no_reference");
  EXPECT_EQ(differ[0].rows[0].cells[0].keys_that_differ, (Rows{"parent.train.tokens"}));
}

// The same model, trained on two lengths of text first: the column of the parents is shown, and
// does not hide that the two methods agree in it.
TEST(AncestryTest, AgainstFindsTheRunWithTheSameFirstTraining) {
  std::vector<Sample> parents = kParents, runs = kContinued;
  for (const char* position : {"rope", "alibi"}) {
    const std::string start = std::string(position).substr(0, 4);
    parents.push_back({start + "---9", position, 1, 500});
    runs.push_back({start + "-new", position, 1, 2000, start + "---9"});
  }
  const auto tables = Build({Answer(runs, parents)},
                            {.against = PivotFilter{.axis = "position", .values = {"alibi"}}});
  for (const PivotRow& row : tables.at(0).rows) {
    EXPECT_EQ(row.cells.at(0).status, "ok") << CanonicalJson(row.key);
  }
  EXPECT_EQ(tables[0].rows.size(), 4u);
}

TEST(AncestryTest, WhatARunSharesWithItsAncestorsIsLeftOut) {
  const Json run = {
      {"position", "rope"},
      {"train", {{"tokens", 4}, {"extend", "pi"}}},
      {"parent",
       {{"position", "rope"}, {"train", {{"tokens", 2}}}, {"init", {{"run", "unknown"}}}}}};
  EXPECT_EQ(
      WithoutInherited(run).at("parent"),
      (Json{{"train", {{"tokens", 2}, {"extend", nullptr}}}, {"init", {{"run", "unknown"}}}}));
}

}  // namespace
}  // namespace longrun::client
