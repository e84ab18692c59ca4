// Plots: what is drawn comes from the tables, nothing overlaps, and the SVG is XML.
#include "client/plots/plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/str.h"
#include "client/plots/drawing.h"
#include "client/plots/picture_file.h"
#include "client/plots/plot_cairo.h"
#include "client/plots/plot_curves.h"
#include "client/plots/plot_layout.h"
#include "client/plots/plot_losses.h"
#include "client/plots/plot_scale.h"
#include "client/plots/plot_svg.h"
#include "client/plots/plot_text.h"
#include "client/tables/pivot.h"
#include "client/words/joined.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

Plot PlotOf(const SweepResults& results, const PivotRequest& request = {}) {
  const auto tables = BuildPivot({results}, request);
  EXPECT_TRUE(tables.ok()) << tables.status().message();
  const auto plots = PlotsOfTables(*tables);
  EXPECT_TRUE(plots.ok()) << plots.status().message();
  EXPECT_EQ(plots->size(), 1u);
  return plots->front();
}

// cable stays at 8, rope goes from 8 to `last`, learned cannot read 128.
SweepResults Three(double last) {
  return ResultsOf(
      {RunOf("a", "cable", 64, 1), RunOf("b", "rope", 64, 1), RunOf("c", "learned", 64, 1)},
      {RowOf("a", 64, 8.0, 10), RowOf("a", 128, 8.0, 10), RowOf("b", 64, 8.0, 10),
       RowOf("b", 128, last, 10), RowOf("c", 64, 8.5, 10), RowWithout("c", 128, "not_applicable"),
       RowOf("a", 64, 22.0, 10, "unigram"), RowOf("a", 128, 22.0, 10, "unigram")});
}

TEST(PlotTest, ALabelWithACommaIsQuotedAmongOthers) {
  EXPECT_EQ(JoinLabels({"k=8, every=64"}), "k=8, every=64");
  EXPECT_EQ(JoinLabels({"rope(base=1, partial=0.5)", "k=8, every=64", "lr 0.1"}),
            "rope(base=1, partial=0.5), \"k=8, every=64\", lr 0.1");
}

TEST(PlotTest, EachRowIsASeriesNamedByWhatTellsItFromTheOthers) {
  const Plot plot = PlotOf(Three(20.0));
  ASSERT_EQ(plot.series.size(), 4u);
  EXPECT_EQ(plot.series[0].name, "cable");
  EXPECT_EQ(plot.series[2].note, "not_applicable at 128");
  EXPECT_EQ(plot.series[3].name, "unigram");
  EXPECT_TRUE(plot.series[3].is_baseline);
  EXPECT_EQ(plot.marks_x, std::vector<double>{64});
  ASSERT_EQ(plot.series[1].points.size(), 2u);
  EXPECT_TRUE(plot.series[1].points[0].is_marked);
  EXPECT_NEAR(plot.series[1].points[1].y, 20.0, 1e-12);
  EXPECT_NEAR(*plot.series[1].points[1].se, 0.2, 1e-12);
  EXPECT_TRUE(plot.x_is_log);
}

// Two seeds, whose logarithms differ by 2: sqrt(8 * 8 e^2) = 21.7, and Student's t with one degree
// of freedom is 12.7 standard errors, of 1 each. The interval is far from symmetric, within
// [1, exp(3.08 + 12.7)]; it does not squeeze the lines.
TEST(PlotTest, ThePerplexitiesOfTwoSeedsHaveABandOfPossibleValues) {
  const Plot plot =
      PlotOf(ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "cable", 64, 2)},
                       {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 8.0 * std::exp(2.0), 10)}));
  const auto band = plot.series.at(0).points.at(0).Band();
  ASSERT_TRUE(band.has_value());
  EXPECT_DOUBLE_EQ(band->first, 1.0);
  EXPECT_NEAR(std::log(band->second), std::log(8.0) + 1.0 + 12.7062047, 1e-5);
  // The highest label is within twice the line, not near the end of the band, 7 million.
  EXPECT_EQ(RenderSvg(LayOut(plot, 720, 480)).find("M<"), std::string::npos);
}

// exp(ln 8 + 60 + 60 * 12.7) is more than a double can hold.
TEST(PlotTest, ABandWithoutAnEndIsNamedInTheNotes) {
  const Plot plot =
      PlotOf(ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "cable", 64, 2)},
                       {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 8.0 * std::exp(120.0), 10)}));
  EXPECT_FALSE(plot.series.at(0).points.at(0).Band().has_value());
  EXPECT_EQ(plot.series.at(0).note, "no band at 64, where the interval has no end");
}

TEST(PlotTest, OfManyBandsWithoutAnEndTheNotesHaveTheNumber) {
  std::vector<ResultRow> rows;
  for (const int length : {16, 32, 64, 128, 256}) {
    rows.push_back(RowOf("a", length, 8.0, 10));
    rows.push_back(RowOf("b", length, 8.0 * std::exp(120.0), 10));
  }
  rows.push_back(RowOf("a", 512, 8.0, 10));
  rows.push_back(RowOf("b", 512, 8.0 * std::exp(2.0), 10));
  const Plot plot =
      PlotOf(ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "cable", 64, 2)}, std::move(rows)));
  EXPECT_EQ(plot.series.at(0).note, "no band at 5 of 6 points, where the interval has no end");
}

TEST(PlotTest, TheValuesAreOnALogarithmicScaleBeyondAFactorOfTwenty) {
  EXPECT_FALSE(PlotOf(Three(159.0)).y_is_log);  // 159 / 8 < 20
  EXPECT_TRUE(PlotOf(Three(161.0)).y_is_log);
}

TEST(PlotTest, OnlyLengthsGoAcrossAPlot) {
  const auto tables = BuildPivot({Three(9.0)}, {.rows = {"context_length"}, .cols = {"position"}});
  ASSERT_TRUE(tables.ok());
  const auto plots = PlotsOfTables(*tables);
  ASSERT_FALSE(plots.ok());
  EXPECT_EQ(plots.status().code(), Code::kInvalidArgument);
}

// The geometric mean of a bucket's ends is its place; the train length lies where it is, whatever
// bucket holds it.
TEST(PlotTest, LossByPositionHasThePositionsAcross) {
  const SweepResults results =
      ResultsOf({RunOf("a", "cable", 2, 1), RunOf("b", "rope", 2, 1)},
                {RowByPosition("a", {16, 8, 4, 2}), RowByPosition("b", {16, 8, 9, 9})});
  const Plot plot = PlotOf(results, {.metrics = {"perplexity_by_position"}});
  EXPECT_EQ(plot.title,
            "perplexity by tokens of context (validation, per_position(spacing=fixed), context "
            "length 4)");
  EXPECT_EQ(plot.x_label, "tokens of context");
  EXPECT_TRUE(plot.x_is_log);
  ASSERT_EQ(plot.series.size(), 2u);
  EXPECT_EQ(plot.series[1].name, "rope");
  ASSERT_EQ(plot.series[1].points.size(), 4u);
  EXPECT_EQ(plot.series[1].points[2].x, 3.0);
  EXPECT_NEAR(plot.series[1].points[2].y, 9.0, 1e-12);
  EXPECT_EQ(plot.marks_x, std::vector<double>{2});
  const Plot merged = PlotOf(results, {.metrics = {"perplexity_by_position"}, .buckets_max = 2});
  EXPECT_NEAR(merged.series[0].points[1].x, std::sqrt(12.0), 1e-12);  // 3 to 4
  EXPECT_EQ(merged.marks_x, std::vector<double>{2});
  // The middle of a bucket is no tick.
  EXPECT_EQ(RenderPlotText(merged, {.width = 60, .height = 10}).find("3.46"), std::string::npos);
  const std::string text = RenderPlotText(plot, {.width = 60, .height = 10, .ascii = true});
  EXPECT_NE(text.find("tokens of context   [ ] train length"), std::string::npos) << text;
  EXPECT_NE(text.find("[2]"), std::string::npos) << text;
}

TEST(PlotTest, TrainingCurvesOfOneNameAreFoldedWhereAllHaveAPoint) {
  const Plot plot = PlotOfLosses({{.name = "rope", .x = {1, 2, 3}, .y = {4.0, 2.0, 1.0}},
                                  {.name = "rope", .x = {1, 2}, .y = {6.0, NAN}},
                                  {.name = "cable", .x = {1}, .y = {3.0}}},
                                 "loss", "step", "loss");
  ASSERT_EQ(plot.series.size(), 2u);
  ASSERT_EQ(plot.series[0].points.size(), 1u);  // at 2 one has no number, at 3 one has no point
  EXPECT_NEAR(plot.series[0].points[0].y, 5.0, 1e-12);
  EXPECT_NEAR(*plot.series[0].points[0].se, 1.0, 1e-12);  // 4 and 6: |6 - 4| / 2
  EXPECT_EQ(plot.series[0].note,
            "no finite number at 1 point, the first at 2; 2 points left out, since not every seed "
            "has them");
  EXPECT_FALSE(plot.series[1].points[0].se.has_value());
  // A text has no band.
  const std::string text = RenderPlotText(plot, {.ascii = true});
  EXPECT_TRUE(text.ends_with("\nline: mean over seeds\n")) << text;
  const Drawing drawing = LayOut(plot, 800, 480);
  EXPECT_TRUE(std::ranges::any_of(drawing.marks, [](const Mark& mark) {
    return mark.text == "line: mean over seeds; band: 95 % interval over seeds";
  }));
}

// Where a line cannot go, a note says so, in all three forms.
TEST(PlotTest, WhatIsInfiniteIsNamedBelowThePlot) {
  const Plot plot =
      PlotOf(ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "sinusoidal", 64, 1)},
                       {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10), RowOf("a", 128, 8.0, 10),
                        RowBeyond("b", 128), RowOf("a", 256, 8.0, 10), RowBeyond("b", 256)}));
  EXPECT_EQ(plot.series[1].note, "inf at 128, 256");
  const std::string note = "sinusoidal: inf at 128, 256";
  EXPECT_NE(RenderPlotText(plot, {.ascii = true}).find(note), std::string::npos);
  const Drawing drawing = LayOut(plot, 800, 480);  // of which SVG and PNG are made
  EXPECT_TRUE(
      std::ranges::any_of(drawing.marks, [&](const Mark& mark) { return mark.text == note; }));
  EXPECT_NE(RenderSvg(drawing).find(note), std::string::npos);
  EXPECT_NE(drawing.description.find("inf at 128, 256"), std::string::npos);
}

TEST(PlotTest, EachDirectionOfAThroughputHasAPlotAndBytesHaveAUnit) {
  const SweepResults results =
      ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "alibi", 64, 1)},
                {ThroughputRow("a", "peak_bytes", "forward", 64, 3 * 1048576.0),
                 ThroughputRow("a", "peak_bytes", "generate", 64, 512.0),
                 ThroughputRow("b", "peak_bytes", "forward", 64, 1048576.0),
                 ThroughputRow("b", "peak_bytes", "generate", 64, 256.0)});
  const auto tables = BuildPivot({results}, {});
  ASSERT_TRUE(tables.ok());
  const auto plots = PlotsOfTables(*tables);
  ASSERT_TRUE(plots.ok());
  ASSERT_EQ(plots->size(), 2u);
  EXPECT_EQ(plots->at(0).title, "peak memory by context length (forward)");
  EXPECT_EQ(plots->at(0).y_label, "peak memory (MiB)");
  EXPECT_EQ(plots->at(0).series.at(0).name, "rope");
  EXPECT_EQ(plots->at(0).series.at(0).points.at(0).y, 3.0);
  EXPECT_EQ(plots->at(1).y_label, "peak memory (bytes)");
  EXPECT_EQ(plots->at(1).series.at(1).points.at(0).y, 256.0);

  // A ratio has no unit.
  const auto against =
      BuildPivot({results}, {.against = PivotFilter{.axis = "position", .values = {"alibi"}}});
  ASSERT_TRUE(against.ok());
  const auto ratios = PlotsOfTables(*against);
  ASSERT_TRUE(ratios.ok());
  EXPECT_EQ(ratios->at(0).y_label, "peak memory, against position=alibi");
  EXPECT_NEAR(ratios->at(0).series.at(0).points.at(0).y, 3.0, 1e-12);
}

TEST(PlotTest, TheBandOfBytesIsInTheirUnit) {
  const SweepResults results =
      ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2)},
                {ThroughputRow("a", "peak_bytes", "forward", 64, 3.0 * 1048576.0),
                 ThroughputRow("b", "peak_bytes", "forward", 64, 3.1 * 1048576.0)});
  const auto tables = BuildPivot({results}, {});
  ASSERT_TRUE(tables.ok());
  const auto plots = PlotsOfTables(*tables);
  ASSERT_TRUE(plots.ok());
  const PlotPoint& point = plots->at(0).series.at(0).points.at(0);
  const auto band = point.Band();
  ASSERT_TRUE(band.has_value());
  EXPECT_LT(band->first, point.y);
  EXPECT_GT(band->first, 0.0);
  EXPECT_GT(band->second, point.y);
  EXPECT_LT(band->second, 10.0);
}

TEST(PlotTest, ALengthThatOnlyAnotherSweepAsksForIsNoGap) {
  SweepResults one =
      ResultsOf({RunOf("a", "rope", 64, 1)}, {RowOf("a", 64, 8.0, 10), RowOf("a", 256, 9.0, 10)});
  SweepResults other = ResultsOf({RunOf("b", "alibi", 64, 1)}, {RowOf("b", 128, 8.0, 10)});
  one.name = "one";
  other.name = "other";
  const auto tables = BuildPivot({one, other}, {});
  ASSERT_TRUE(tables.ok()) << tables.status().message();
  const auto plots = PlotsOfTables(*tables);
  ASSERT_TRUE(plots.ok());
  ASSERT_EQ(plots->size(), 1u);
  ASSERT_EQ(plots->at(0).series.size(), 2u);
  const std::vector<PlotPoint>& points = plots->at(0).series[0].points;
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].x, 64.0);
  EXPECT_EQ(points[1].x, 256.0);
  EXPECT_EQ(plots->at(0).series[1].points.size(), 1u);
}

TEST(PlotTest, AShareIsDrawnBetweenZeroAndOne) {
  ResultRow high = RowOf("a", 64, 1.0, 10);
  high.body.metric = "acc";
  high.body.value = 1.0;
  high.body.se = 0.1;
  high.body.protocol.reset();
  ResultRow low = high;
  low.body.context_length = 128;
  low.body.value = 0.02;
  const Plot plot = PlotOf(ResultsOf({RunOf("a", "rope", 64, 1)}, {high, low}));
  EXPECT_EQ(plot.y_least, 0.0);
  EXPECT_EQ(plot.y_most, 1.0);
  EXPECT_FALSE(plot.y_is_log);  // 1 / 0.02 = 50, beyond a factor of 20
  EXPECT_EQ(plot.title.find("null"), std::string::npos) << plot.title;
  for (const Mark& mark : LayOut(plot, 800, 480).marks) {
    EXPECT_NE(mark.text, "1.2");
    EXPECT_NE(mark.text, "-0.2");
  }
  const auto against =
      BuildPivot({ResultsOf({RunOf("a", "rope", 64, 1)}, {high, low})},
                 {.against = PivotFilter{.axis = "context_length", .values = {"64"}}});
  ASSERT_TRUE(against.ok());
  EXPECT_FALSE(PlotsOfTables(*against)->at(0).y_least.has_value());  // a difference of -0.98

  const PlotScale scale = Within(ScaleOf({0.0, 1.1}, false, 0.06), 0.0, 1.0);
  EXPECT_EQ(scale.low, 0.0);
  EXPECT_EQ(scale.high, 1.0);
}

TEST(PlotTest, ColourShowsTheMethodAndTheSymbolItsTrainLength) {
  const Plot plot = PlotOf(
      ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 128, 1), RunOf("c", "alibi", 64, 1)},
                {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10), RowOf("c", 64, 9.5, 10)}));
  ASSERT_EQ(plot.series.size(), 3u);
  EXPECT_EQ(plot.series[0].hue, plot.series[1].hue);
  EXPECT_NE(plot.series[0].dash, plot.series[1].dash);
  EXPECT_NE(plot.series[0].hue, plot.series[2].hue);
  EXPECT_NE(plot.series[0].symbol, plot.series[1].symbol);
  EXPECT_EQ(plot.series[0].dash, plot.series[2].dash);
  EXPECT_EQ(plot.series[0].symbol, plot.series[2].symbol);
}

TEST(PlotTest, WithOneLineForEachMethodEachHasASymbolOfItsOwn) {
  const Plot plot = PlotOf(ResultsOf({RunOf("a", "rope", 64, 1), RunOf("c", "alibi", 64, 1)},
                                     {RowOf("a", 64, 8.0, 10), RowOf("c", 64, 9.5, 10)}));
  ASSERT_EQ(plot.series.size(), 2u);
  EXPECT_NE(plot.series[0].symbol, plot.series[1].symbol);
  EXPECT_EQ(plot.series[1].dash, 0);
}

TEST(PlotTest, ATrainingCurveNamesThePointsThatAreNoNumbers) {
  const Plot plot = PlotOfLosses({{.name = "rope", .x = {1, 2, 3}, .y = {4.0, NAN, INFINITY}}},
                                 "loss", "step", "loss");
  EXPECT_EQ(plot.series[0].note, "no finite number at 2 points, the first at 2");
}

TEST(PlotScaleTest, TicksAreRoundAndWithinTheScale) {
  EXPECT_EQ(Ticks(ScaleOf({0.0, 10.0}, false, 0.0), 5, false),
            (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(Ticks(ScaleOf({1.0, 10.0}, true, 0.0), 5), (std::vector<double>{1, 2, 5, 10}));
  const std::vector<double> decades = Ticks(ScaleOf({1e-3, 1e9}, true, 0.0), 4);
  for (const double tick : decades) {
    EXPECT_NEAR(std::log10(tick), std::round(std::log10(tick)), 1e-9);
  }
  EXPECT_LE(decades.size(), 7u);
  // A single value has room around it, and nothing at all has a scale too.
  EXPECT_LT(ScaleOf({5.0}, false, 0.05).low, 5.0);
  EXPECT_GT(ScaleOf({}, true, 0.05).high, ScaleOf({}, true, 0.05).low);
  EXPECT_GE(Ticks(ScaleOf({5.31, 5.52}, true, 0.06), 5).size(), 2u);
}

// The mean of equal losses and the ends of its interval may differ in their last bits.
TEST(PlotScaleTest, ValuesThatDifferOnlyByRoundingHaveTheScaleOfOneValue) {
  for (const double value : {2.5, 1e-9, 1e9, -2.5}) {
    const double next = std::nextafter(value, INFINITY);
    const PlotScale scale = ScaleOf({value, next}, false, 0.06);
    EXPECT_NEAR(scale.high - scale.low, 0.1 * std::abs(value), 1e-6 * std::abs(value)) << value;
    EXPECT_LE(Ticks(scale, 5).size(), 11u);
  }
  // A scale may also be given: it gets few ticks, even if its values hardly differ.
  EXPECT_LE(Ticks({.low = 2.5, .high = std::nextafter(2.5, 3.0)}, 5).size(), 11u);
  EXPECT_LE(Ticks({.low = 1e16, .high = 1e16 + 8}, 5, true).size(), 11u);
}

TEST(PlotScaleTest, WhatIsCountedHasWholeTicks) {
  EXPECT_EQ(Ticks(ScaleOf({0.0, 2.0}, false, 0.0), 5, false),
            (std::vector<double>{0, 0.5, 1, 1.5, 2}));
  EXPECT_EQ(Ticks(ScaleOf({0.0, 2.0}, false, 0.0), 5, true), (std::vector<double>{0, 1, 2}));
}

TEST(PlotScaleTest, TicksAreWrittenShort) {
  EXPECT_EQ(TickText(131072), "131072");
  EXPECT_EQ(TickText(500'000), "500K");
  EXPECT_EQ(TickText(2.5e6), "2.5M");
  EXPECT_EQ(TickText(1e9), "1B");
  EXPECT_EQ(TickText(0.2), "0.2");
  EXPECT_EQ(TickText(0.0), "0");
  EXPECT_EQ(TickText(1e12), "1T");
  EXPECT_EQ(TickText(1e15), "1e15");
  EXPECT_EQ(TickText(-2.5e215), "-2.5e215");
}

// ---- pictures -----------------------------------------------------------------------------------

// Many lines that end close to each other, with names longer than there is room for.
Plot Crowded() {
  Plot plot{.title = "perplexity by context length (validation)",
            .x_label = "context length (tokens)",
            .y_label = "perplexity",
            .x_is_log = true,
            .marks_x = {64},
            .marks_label = "train length"};
  for (int s = 0; s < 12; ++s) {
    PlotSeries series{.name = Str("a method with quite a long name, number ", s)};
    for (const double x : {64.0, 128.0, 256.0}) {
      series.points.push_back({.x = x, .y = 8.0 + 0.001 * s, .se = 0.01, .is_marked = x == 64.0});
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

TEST(LayOutTest, NamesAtTheEndsOfLinesDoNotOverlapAndStayWithin) {
  const Drawing drawing = LayOut(Crowded(), 800, 480);
  std::vector<double> ys;
  for (const Mark& mark : drawing.marks) {
    for (const DrawPoint& point : mark.points) {
      EXPECT_GE(point.x, 0.0);
      EXPECT_LE(point.x, drawing.width);
      EXPECT_GE(point.y, 0.0);
      EXPECT_LE(point.y, drawing.height);
    }
    if (mark.kind == Mark::Kind::kText && mark.ink == Ink::kSeries) ys.push_back(mark.points[0].y);
  }
  ASSERT_EQ(ys.size(), 12u);
  std::ranges::sort(ys);
  for (std::size_t i = 1; i < ys.size(); ++i) EXPECT_GE(ys[i] - ys[i - 1], 14.9) << i;
}

TEST(LayOutTest, MoreNamesThanThereIsRoomForAreCounted) {
  const Drawing drawing = LayOut(Crowded(), 400, 200);
  double count_y = 0.0;
  double last_y = 0.0;  // of the lowest name
  for (const Mark& mark : drawing.marks) {
    if (mark.kind != Mark::Kind::kText) continue;
    if (mark.text.ends_with(" more")) count_y = mark.points[0].y;
    if (mark.ink == Ink::kSeries) last_y = std::max(last_y, mark.points[0].y);
  }
  EXPECT_GT(last_y, 0.0);
  EXPECT_GE(count_y - last_y, 14.9);
}

TEST(LayOutTest, CurvesOfManyPointsAreThinnedToTheirExtremes) {
  LossCurve curve{.name = "rope"};
  for (int i = 0; i < 100'000; ++i) {
    curve.x.push_back(i);
    curve.y.push_back(i == 54'321 ? 9.0 : 1.0 + 0.1 * std::sin(i));
  }
  const Drawing drawing = LayOut(PlotOfLosses({curve}, "loss", "step", "loss"), 800, 480);
  std::size_t n_points = 0;
  double top = 1e9;
  for (const Mark& mark : drawing.marks) {
    if (mark.kind != Mark::Kind::kLine || mark.ink != Ink::kSeries) continue;
    n_points += mark.points.size();
    for (const DrawPoint& point : mark.points) top = std::min(top, point.y);
  }
  EXPECT_LT(n_points, 4u * 800u);
  double lowest_top = 1e9;  // the peak of 9 is drawn near the upper edge
  for (const Mark& mark : drawing.marks) {
    if (mark.ink == Ink::kAxis) {
      for (const DrawPoint& point : mark.points) lowest_top = std::min(lowest_top, point.y);
    }
  }
  EXPECT_LT(top - lowest_top, 40.0);
}

// A small reader of XML: elements nest, attributes are quoted, entities are known.
// "" or what is wrong.
std::string WhyNotXml(const std::string& xml) {
  static const std::set<std::string> kEntities = {"amp", "lt", "gt", "quot", "#39"};
  std::vector<std::string> open;
  for (std::size_t i = 0; i < xml.size(); ++i) {
    if (xml[i] == '&') {
      const std::size_t end = xml.find(';', i);
      if (end == std::string::npos || !kEntities.contains(xml.substr(i + 1, end - i - 1))) {
        return Str("a bare & at ", i);
      }
    }
    if (xml[i] == '>') return Str("a bare > at ", i);
    if (xml[i] != '<') continue;
    const std::size_t end = xml.find('>', i);
    if (end == std::string::npos) return "an element that does not end";
    std::string tag = xml.substr(i + 1, end - i - 1);
    i = end;
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return Str("</", tag, "> closes nothing");
      open.pop_back();
      continue;
    }
    if (tag.find('<') != std::string::npos) return Str("a bare < in ", tag);
    if (std::ranges::count(tag, '"') % 2 != 0) return Str("an open quote in ", tag);
    if (!tag.ends_with('/')) open.push_back(tag.substr(0, tag.find_first_of(" \n")));
  }
  return open.empty() ? "" : Str(open.back(), " is not closed");
}

TEST(XmlTest, TheReaderOfThisTestFindsWhatIsNotXml) {
  EXPECT_EQ(WhyNotXml("<a b=\"1\"><c/>&amp;</a>"), "");
  for (const char* bad : {"<a>", "<a></b>", "<a>&x</a>", "<a b=\"1></a>", "<a>></a>"}) {
    EXPECT_NE(WhyNotXml(bad), "") << bad;
  }
}

TEST(SvgTest, IsXmlWithTitleAndDescriptionWhateverNamesContain) {
  Plot plot = Crowded();
  plot.series[3].name = "<script>alert(\"&'\")</script>\x01\xff";
  plot.title = "a < b & c";
  const std::string svg = RenderSvg(LayOut(plot, 800, 480));
  EXPECT_EQ(WhyNotXml(svg), "");
  EXPECT_TRUE(IsUtf8(svg));
  EXPECT_EQ(svg.find("<script"), std::string::npos);
  EXPECT_NE(svg.find(">a &lt; b &amp; c</title>"), std::string::npos);
  EXPECT_NE(svg.find("role=\"img\""), std::string::npos);
  EXPECT_NE(svg.find("<desc id="), std::string::npos);
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(SvgTest, AGapInALineIsAGap) {
  Plot plot{.title = "t", .x_label = "x", .y_label = "y"};
  plot.series.push_back({.name = "s",
                         .points = {{.x = 1, .y = 1},
                                    {.x = 2, .y = 2},
                                    {.x = 3, .y = NAN},
                                    {.x = 4, .y = 1},
                                    {.x = 5, .y = 2}}});
  int n_lines = 0;
  for (const Mark& mark : LayOut(plot, 800, 480).marks) {
    if (mark.kind == Mark::Kind::kLine && mark.ink == Ink::kSeries && mark.width > 1.0) ++n_lines;
  }
  EXPECT_EQ(n_lines, 2);
}

TEST(PngTest, IsAPngOfTheSizeAskedFor) {
  const auto png = RenderPng(LayOut(Crowded(), 400, 300), 2.0);
  ASSERT_TRUE(png.ok()) << png.status().message();
  // Signature, then the chunk IHDR with width and height, big-endian (W3C PNG, 5.2 and 11.2.2).
  ASSERT_GT(png->size(), 24u);
  EXPECT_EQ(png->substr(0, 8), "\x89PNG\r\n\x1a\n");
  const auto word = [&](std::size_t at) {
    int value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value = value * 256 + static_cast<unsigned char>((*png)[at + i]);
    return value;
  };
  EXPECT_EQ(word(16), 800);
  EXPECT_EQ(word(20), 600);
  EXPECT_EQ(png->substr(png->size() - 8, 4), "IEND");
  EXPECT_FALSE(RenderPng(LayOut(Crowded(), 8000, 300), 4.0).ok());
}

TEST(PdfTest, IsOnePageOfLinesAndLettersAndTheSameEachTime) {
  Drawing drawing = LayOut(Crowded(), 400, 300);
  drawing.title = "a title";
  const auto pdf = RenderPdf(drawing);
  ASSERT_TRUE(pdf.ok()) << pdf.status().message();
  EXPECT_TRUE(pdf->starts_with("%PDF-1.4\n"));
  EXPECT_TRUE(pdf->ends_with("%%EOF\n"));
  EXPECT_NE(pdf->find("/Count 1\n"), std::string::npos);
  // 72 points an inch for 96 pixels (ISO 32000-1, 8.3.2.3).
  EXPECT_NE(pdf->find("/MediaBox [ 0 0 300 225 ]"), std::string::npos);
  EXPECT_NE(pdf->find("/Title (a title)"), std::string::npos);
  // Embedded letters with their meaning, so that text can be searched, and no picture of them.
  EXPECT_NE(pdf->find("/ToUnicode"), std::string::npos);
  EXPECT_EQ(pdf->find("/Subtype /Image"), std::string::npos);
  EXPECT_EQ(pdf->find("/CreationDate"), std::string::npos);
  const auto again = RenderPdf(drawing);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*pdf, *again);
}

TEST(PictureFileTest, TheNameDecidesTheForm) {
  const Drawing drawing = LayOut(Crowded(), 400, 300);
  for (const auto& [name, begin] :
       {std::pair("a.svg", "<svg "), {"a.png", "\x89PNG"}, {"a.pdf", "%PDF"}}) {
    EXPECT_TRUE(IsPictureFile(name));
    const auto bytes = RenderPicture(drawing, name);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    EXPECT_TRUE(bytes->starts_with(begin)) << name;
  }
  EXPECT_FALSE(IsPictureFile("a.txt"));
  EXPECT_FALSE(IsPictureFile("pdf"));
}

// ---- the terminal -------------------------------------------------------------------------------

TEST(PlotTextTest, AsciiShowsPointsNamesTicksAndTheTrainLength) {
  Plot plot{.title = "perplexity by context length ± x",
            .x_label = "context length",
            .y_label = "perplexity",
            .x_is_log = true,
            .marks_x = {64},
            .marks_label = "train length"};
  plot.series.push_back(
      {.name = "flat", .points = {{.x = 64, .y = 0}, {.x = 128, .y = 0}, {.x = 256, .y = 0}}});
  plot.series.push_back({.name = "up",
                         .points = {{.x = 64, .y = 2}, {.x = 128, .y = 4}, {.x = 256, .y = 8}},
                         .note = "diverged at 512"});
  const std::string text = RenderPlotText(plot, {.width = 40, .height = 9, .ascii = true});
  EXPECT_EQ(text,
            "perplexity by context length +- x\n"
            "perplexity\n"
            "8 +:                         .b  b up\n"
            "  |:                      ...\n"
            "6 +:                  ....\n"
            "  |:               ...\n"
            "4 +:          ...b.\n"
            "  |:   .......\n"
            "2 +b...\n"
            "  |:\n"
            "0 +a.............a............a  a flat\n"
            "  +----------------------------\n"
            " [64]           128          256\n"
            "   context length   [ ] train length\n"
            "up: diverged at 512\n");
}

TEST(PlotTextTest, BrailleDrawsLinesAndColoursOnlyWhenAsked) {
  const Plot plot = PlotOf(Three(20.0));
  const std::string plain = RenderPlotText(plot, {.width = 60, .height = 10});
  EXPECT_TRUE(IsUtf8(plain));
  EXPECT_EQ(plain.find('\x1b'), std::string::npos);
  EXPECT_NE(plain.find("\xe2\xa0"), std::string::npos);  // U+2800 to U+283F
  EXPECT_NE(plain.find("a cable"), std::string::npos);
  EXPECT_NE(plain.find("[64]"), std::string::npos);
  EXPECT_NE(plain.find("learned: not_applicable at 128"), std::string::npos);
  const std::string coloured = RenderPlotText(plot, {.width = 60, .height = 10, .colour = true});
  EXPECT_NE(coloured.find("\x1b[36m"), std::string::npos);
}

TEST(PlotTextTest, NothingToDrawIsDrawnAllTheSame) {
  Plot plot{.title = "t", .x_label = "x", .y_label = "y", .x_is_log = true};
  plot.series.push_back({.name = "none", .points = {{.x = 64, .y = NAN}}, .note = "missing at 64"});
  EXPECT_NE(RenderPlotText(plot, {}).find("none: missing at 64"), std::string::npos);
  EXPECT_EQ(WhyNotXml(RenderSvg(LayOut(plot, 800, 480))), "");
}

}  // namespace
}  // namespace longrun::client
