// Maps of recall by depth and context length: what is in which cell, what is missing and why, and
// that every form shows the same numbers.
#include "client/plots/depth_map.h"

#include <gtest/gtest.h>

#include "../sample_results.h"
#include "base/str.h"
#include "client/plots/colour_bar.h"
#include "client/plots/depth_map_text.h"
#include "client/plots/plot_svg.h"
#include "client/tables/depth_text.h"
#include "client/tables/table_format.h"

namespace longrun::client {
namespace {

ResultRow Recall(const std::string& key, int length, const Json& depth, double share, int n) {
  ResultRow row = RowWith(key, {{"metric", "recall"},
                                {"context_length", length},
                                {"split", nullptr},
                                {"protocol", nullptr},
                                {"depth", depth},
                                {"value", share},
                                {"n", n},
                                {"status", "ok"}});
  row.evaluation = {{"needle", {{"context_lengths", {length}}}}};
  return row;
}

// rope finds every key up to its train length of 64, and beyond it those in the second half of the
// text; alibi has no numbers at 128.
std::vector<SweepResults> Needles() {
  SweepResults results{.name = "needles",
                       .state = "SUCCEEDED",
                       .axes = {"position", "train_length", "dataset", "seed"},
                       .runs = {RunOf("r1", "rope", 64, 1), RunOf("a1", "alibi", 64, 1)}};
  for (const char* key : {"r1", "a1"}) {
    for (const int length : {32, 64, 128}) {
      const bool is_far = length > 64;
      results.rows.push_back(Recall(key, length, 0.5, is_far ? 0.25 : 1.0, 20));
      results.rows.push_back(Recall(key, length, 1.0, 1.0, 20));
      results.rows.push_back(Recall(key, length, nullptr, is_far ? 0.625 : 1.0, 40));
      if (std::string(key) != "a1" || !is_far) continue;
      for (std::size_t i = results.rows.size() - 3; i < results.rows.size(); ++i) {
        results.rows[i].body.status = "not_applicable";
        results.rows[i].body.value.reset();
        results.rows[i].body.n = 0;
      }
    }
  }
  return {results};
}

std::vector<DepthMap> Maps(const std::vector<SweepResults>& results) {
  const Result<PivotRequest> request = ByDepth({});
  EXPECT_TRUE(request.ok());
  const Result<std::vector<PivotTable>> tables = BuildPivot(results, *request);
  EXPECT_TRUE(tables.ok()) << tables.status().message();
  const Result<std::vector<DepthMap>> maps = DepthMapsOf(*tables);
  EXPECT_TRUE(maps.ok()) << maps.status().message();
  return *maps;
}

TEST(DepthMapTest, HasAMapForEachModelAndACellForEachDepth) {
  const std::vector<DepthMap> maps = Maps(Needles());
  ASSERT_EQ(maps.size(), 2U);
  const DepthMap& rope = maps[0];
  EXPECT_EQ(rope.name, "rope");
  EXPECT_EQ(rope.quantity, "recall");
  EXPECT_EQ(rope.lengths, (std::vector<std::string>{"32", "64", "128"}));
  EXPECT_EQ(rope.depths, (std::vector<double>{0.5, 1.0}));
  EXPECT_EQ(rope.n_within_train, 2U);
  EXPECT_EQ(rope.train_length, 64);
  EXPECT_DOUBLE_EQ(*rope.At(0, 1).value, 1.0);
  EXPECT_DOUBLE_EQ(*rope.At(0, 2).value, 0.25);
  EXPECT_DOUBLE_EQ(*rope.At(1, 2).value, 1.0);
  ASSERT_EQ(rope.all.size(), 3U);
  EXPECT_DOUBLE_EQ(*rope.all[2].value, 0.625);
  EXPECT_EQ(rope.all[2].n, 40);
  EXPECT_TRUE(NotesOf(rope).empty());

  const DepthMap& alibi = maps[1];
  EXPECT_FALSE(alibi.At(0, 2).value);
  EXPECT_EQ(NotesOf(alibi), std::vector<std::string>{"not_applicable at 128"});
  DepthMap partly = rope;
  partly.cells[1].status = "failed";  // at depth 50 %
  partly.cells[1].value.reset();
  EXPECT_EQ(NotesOf(partly), std::vector<std::string>{"failed at 64 (depth 50%)"});
}

// Rows of passkey have no depth, so they make no map; without a needle there is none at all.
TEST(DepthMapTest, RowsWithoutDepthMakeNoMap) {
  std::vector<SweepResults> results = Needles();
  std::erase_if(results[0].rows, [](const ResultRow& row) { return row.body.depth.has_value(); });
  EXPECT_TRUE(Maps(results).empty());
}

TEST(DepthMapTest, TextShowsEveryShareInItsPlace) {
  const std::vector<DepthMap> maps = Maps(Needles());
  EXPECT_EQ(RenderDepthText(maps[0], {}),
            "recall by depth, context length (needle)\n"
            "rope\n"
            "\n"
            " depth    32   64  128\n"
            "   50%  100% 100%  25%\n"
            "  100%  100% 100% 100%\n"
            "   all  100% 100%  63%\n"
            "train length 64\n");
  // A block for the lengths that fit, and one for the others.
  const std::string narrow = RenderDepthText(maps[1], {.width = 20});
  EXPECT_NE(narrow.find(" depth    32   64\n   50%  100% 100%\n"), std::string::npos) << narrow;
  EXPECT_NE(narrow.find(" depth   128\n   50%     -\n"), std::string::npos) << narrow;
  const std::string coloured = RenderDepthText(maps[0], {.colour = true});
  const std::uint32_t rgb = HeatColour(0.25);
  EXPECT_NE(coloured.find(Str("\x1b[48;2;", rgb >> 16, ";", rgb >> 8 & 0xff, ";", rgb & 0xff,
                              ";38;2;255;255;255m  25%")),
            std::string::npos);
}

TEST(DepthMapTest, PictureHasACellOfItsColourForEachShare) {
  const std::vector<DepthMap> maps = Maps(Needles());
  const Drawing drawing = LayOut(maps[0], 900, 460);
  int n_cells = 0;
  for (const Mark& mark : drawing.marks) {
    if (mark.kind != Mark::Kind::kImage || mark.text.empty()) continue;
    ++n_cells;
    EXPECT_EQ(mark.image->argb.size(), 1U);
    if (mark.text.starts_with("depth 50%, length 128: recall 25% (")) {
      EXPECT_EQ(mark.image->argb[0], 0xff000000U | HeatColour(0.25));
      EXPECT_TRUE(mark.text.ends_with(" of 20 answers")) << mark.text;
      EXPECT_GT(mark.points[0].x, drawing.width / 2.0);
    }
  }
  EXPECT_EQ(n_cells, 9);
  EXPECT_NE(drawing.description.find("length 128: 25% at 50%, 100% at 100%"), std::string::npos);
  const std::string svg = RenderSvg(drawing);
  EXPECT_NE(svg.find(">25%</text>"), std::string::npos);
  EXPECT_NE(svg.find("train length 64"), std::string::npos);
  // Nothing lies outside of the page, also where numbers have no room.
  for (const auto& [width, height] : {std::pair{900, 460}, std::pair{360, 240}}) {
    for (const Mark& mark : LayOut(maps[1], width, height).marks) {
      for (const DrawPoint& point : mark.points) {
        EXPECT_TRUE(point.x >= 0 && point.x <= width) << mark.text;
        EXPECT_TRUE(point.y >= 0 && point.y <= height) << mark.text;
      }
    }
  }
}

TEST(DepthMapTest, JsonHasTheSameNumbers) {
  const Json json = DepthMapJson(Maps(Needles())[1]);
  EXPECT_EQ(json.at("train_length"), 64);
  EXPECT_EQ(json.at("depths").at(0).at("depth"), 0.5);
  EXPECT_EQ(json.at("depths").at(0).at("cells").at(1).at("value"), 1.0);
  EXPECT_TRUE(json.at("depths").at(0).at("cells").at(2).at("value").is_null());
  EXPECT_EQ(json.at("depths").at(0).at("cells").at(2).at("status"), "not_applicable");
}

TEST(DepthMapTest, ColumnsAndComparisonsAreRefused) {
  EXPECT_EQ(ByDepth({.cols = {"position"}}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ByDepth({.relative = true}).status().code(), Code::kInvalidArgument);
  const Result<PivotRequest> exact = ByDepth({.metrics = {"exact"}});
  ASSERT_TRUE(exact.ok());
  EXPECT_EQ(exact->metrics, std::vector<std::string>{"exact"});
}

// Tables and curves show recall over all depths, unless someone asks for depths.
TEST(DepthMapTest, TablesLeaveOutSingleDepthsIfAsked) {
  PivotRequest request{.metrics = {"recall"}, .over_all_depths = true};
  Result<std::vector<PivotTable>> tables = BuildPivot(Needles(), request);
  ASSERT_TRUE(tables.ok());
  ASSERT_EQ(tables->size(), 1U);
  EXPECT_TRUE(tables->front().leaves_out_depths);
  EXPECT_DOUBLE_EQ(*tables->front().rows.front().cells.back().value, 0.625);
  request.rows = {"position", "depth"};
  tables = BuildPivot(Needles(), request);
  ASSERT_TRUE(tables.ok());
  EXPECT_EQ(tables->front().rows.size(), 6U);
  EXPECT_FALSE(tables->front().leaves_out_depths);
  EXPECT_EQ(BuildPivot(Needles(), {.metrics = {"recall"}})->size(), 3U);  // a table for each
}

// Without --rows, the depths that are compared go down.
TEST(DepthMapTest, DepthsAreComparedWithOneOfThem) {
  const PivotRequest request{.metrics = {"recall"},
                             .against = PivotFilter{.axis = "depth", .values = {"1"}},
                             .over_all_depths = true};
  const auto tables = BuildPivot(Needles(), request);
  ASSERT_TRUE(tables.ok()) << tables.status().message();
  ASSERT_EQ(tables->size(), 1U);
  EXPECT_EQ(tables->front().row_axes.back(), "depth");
  const PivotCell& half = tables->front().rows.at(1).cells.back();  // of rope, at 128
  EXPECT_EQ(half.status, "ok");
  EXPECT_DOUBLE_EQ(*half.value, 0.25 - 1.0);
  EXPECT_FALSE(tables->front().leaves_out_depths);
}

TEST(DepthMapTest, ATableShowsTheDigitsThatTellDepthsApart) {
  std::vector<SweepResults> results = Needles();
  for (ResultRow& row : results[0].rows) {
    if (row.body.depth == 0.5) row.body.depth = 1.0 / 3;
  }
  const PivotRequest rows{.rows = {"position", "depth"}, .metrics = {"recall"}};
  const auto tables = BuildPivot(results, rows);
  ASSERT_TRUE(tables.ok());
  const std::string text = RenderTables(*tables, "table");
  EXPECT_NE(text.find("rope      0.33   1.0000"), std::string::npos) << text;
  EXPECT_NE(RenderTables(*tables, "csv").find(",0.3333333333333333,"), std::string::npos);
  // They can be written as they are shown.
  PivotRequest where = rows;
  where.where = {{.axis = "depth", .values = {"0.33"}, .whole = "0.33"}};
  const auto kept = BuildPivot(results, where);
  ASSERT_TRUE(kept.ok()) << kept.status().message();
  EXPECT_EQ(kept->front().rows.size(), 2U);
  PivotRequest against = rows;
  against.against = PivotFilter{.axis = "depth", .values = {"0.33"}};
  EXPECT_TRUE(BuildPivot(results, against).ok());

  const auto texts = DepthTexts({0.0, 0.125, 1.0 / 3, 0.33421, 1.0, nullptr});
  EXPECT_EQ(texts,
            (std::map<double, std::string>{
                {0.0, "0"}, {0.125, "0.125"}, {1.0 / 3, "0.333"}, {0.33421, "0.334"}, {1.0, "1"}}));
}

}  // namespace
}  // namespace longrun::client
