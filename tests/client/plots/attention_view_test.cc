// The views of attention maps, against closed forms: attention that is equal over all keys, and
// attention to the first key only.
#include "client/plots/attention_view.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "base/str.h"
#include "base/utf8.h"
#include "client/plots/bar_chart_text.h"
#include "client/plots/map_file.h"
#include "client/words/window.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kTokens = 64;
constexpr double kRounding = 0x1p-25;  // of a number below 1 to fp32

// A causal map of probabilities, with its entropies.
AttentionMap MapOf(const std::function<double(std::int64_t, std::int64_t)>& attention) {
  AttentionMap map{.n_tokens = kTokens, .layers = {0}, .heads = {0}};
  for (std::int64_t q = 0; q < kTokens; ++q) {
    double entropy = 0.0;
    for (std::int64_t k = 0; k < kTokens; ++k) {
      const double p = k <= q ? attention(q, k) : 0.0;
      if (p > 0.0) entropy -= p * std::log(p);
      map.values.push_back(static_cast<float>(p));
    }
    map.entropy.push_back(entropy);
    map.head_entropy.push_back(entropy);
  }
  return map;
}

ViewedMap Uniform() {
  return {.name = "uniform", .map = MapOf([](std::int64_t q, std::int64_t) {
                               return 1.0 / static_cast<double>(q + 1);
                             })};
}

ViewedMap FirstKey() {
  return {.name = "first key",
          .map = MapOf([](std::int64_t, std::int64_t k) { return k == 0 ? 1.0 : 0.0; })};
}

AttentionPicture Drawn(std::string_view view, const AttentionViewInput& input) {
  Result<AttentionPicture> picture = FindAttentionView(view)->draw(input);
  EXPECT_TRUE(picture.ok()) << picture.status().message();
  return std::move(picture).value();
}

std::string WhyNot(std::string_view view, const AttentionViewInput& input) {
  const Result<AttentionPicture> picture = FindAttentionView(view)->draw(input);
  return picture.ok() ? "drawn" : picture.status().message();
}

TEST(AttentionViewTest, EntropyOfEqualAttentionIsTheLogarithmOfItsKeys) {
  const Plot plot = std::get<Plot>(Drawn("entropy", {.maps = {Uniform()}, .every = 1}));
  ASSERT_EQ(plot.series.at(0).points.size(), kTokens);
  for (const PlotPoint& point : plot.series[0].points) {
    EXPECT_NEAR(point.y, std::log(point.x + 1.0), 1e-12);
  }
}

// The entropy of attention to one key is 0.
TEST(AttentionViewTest, EntropyWithAReferenceIsTheDistanceOfBoth) {
  const AttentionViewInput input = {
      .maps = {FirstKey(), Uniform()}, .reference = Uniform(), .every = 5};
  const Plot plot = std::get<Plot>(Drawn("entropy", input));
  ASSERT_EQ(plot.series.size(), 2u);
  ASSERT_EQ(plot.series[0].points.size(), 13u);  // 0, 5, .. 60
  for (const PlotPoint& point : plot.series[0].points) {
    EXPECT_NEAR(point.y, std::log(point.x + 1.0), 1e-12);
  }
  for (const PlotPoint& point : plot.series[1].points) EXPECT_EQ(point.y, 0.0);
}

// |1/n - 1| + (n - 1) 1/n = 2 (n - 1) / n for a query with n keys.
TEST(AttentionViewTest, DistanceIsTheSumOfAbsoluteDifferences) {
  double expected = 0.0;
  for (std::int64_t n = 1; n <= kTokens; ++n) {
    expected += 2.0 * static_cast<double>(n - 1) / static_cast<double>(n);
  }
  AttentionViewInput input = {.maps = {FirstKey(), Uniform()}, .reference = Uniform()};
  const BarChart chart = std::get<BarChart>(Drawn("distance", input));
  ASSERT_EQ(chart.rows.size(), 2u);
  EXPECT_NEAR(chart.rows[0].value, expected, 1e-5);
  EXPECT_EQ(chart.rows[1].value, 0.0);
  // Of means of cells, it is at most that.
  for (ViewedMap& viewed : input.maps) {
    viewed.map = PoolMap(std::move(viewed.map), 8, AttentionMap::Pool::kMean);
  }
  input.reference->map = PoolMap(std::move(input.reference->map), 8, AttentionMap::Pool::kMean);
  const BarChart pooled = std::get<BarChart>(Drawn("distance", input));
  EXPECT_LT(pooled.rows[0].value, expected);
  EXPECT_GT(pooled.rows[0].value, 0.5 * expected);
  EXPECT_NE(Join(pooled.notes, "\n").find("at least this much"), std::string::npos);
}

TEST(AttentionViewTest, RowIsTheAttentionOfTheLastQueryOrOfTheOnesGiven) {
  const Plot last = std::get<Plot>(Drawn("row", {.maps = {Uniform(), FirstKey()}}));
  ASSERT_EQ(last.series.size(), 2u);
  ASSERT_EQ(last.series[0].points.size(), kTokens);
  for (const PlotPoint& point : last.series[0].points) EXPECT_NEAR(point.y, 1.0 / 64, kRounding);
  const Plot some = std::get<Plot>(
      Drawn("row", {.maps = {FirstKey()}, .reference = Uniform(), .queries = {3, 0}}));
  ASSERT_EQ(some.series.size(), 2u);
  EXPECT_EQ(some.series[0].name, "first key, query 3");
  ASSERT_EQ(some.series[0].points.size(), 4u);  // keys that the query cannot see are no zeros
  EXPECT_NEAR(some.series[0].points[0].y, 0.75, kRounding);
  EXPECT_NEAR(some.series[0].points[1].y, -0.25, kRounding);
  EXPECT_EQ(some.series[1].points.size(), 1u);
  EXPECT_EQ(WhyNot("row", {.maps = {Uniform()}, .queries = {64}}),
            "--row 64: the map has the queries 0 to 63");
}

TEST(AttentionViewTest, BoxesHaveTheQuartilesOfARow) {
  // Query q gives its key k the attention 2 (k + 1) / ((q + 1) (q + 2)), in equal steps.
  const AttentionMap rising = MapOf([](std::int64_t q, std::int64_t k) {
    return 2.0 * static_cast<double>(k + 1) / static_cast<double>((q + 1) * (q + 2));
  });
  const BarChart chart = std::get<BarChart>(
      Drawn("box", {.maps = {{.name = "rising", .map = rising}}, .queries = {4, 63}}));
  ASSERT_EQ(chart.rows.size(), 2u);
  const Quartiles box = chart.rows[0].box.value();  // of 1/15, 2/15, .. 5/15
  EXPECT_EQ(box.n, 5);
  EXPECT_NEAR(box.low, 1.0 / 15, kRounding);
  EXPECT_NEAR(box.first, 2.0 / 15, kRounding);
  EXPECT_NEAR(box.median, 3.0 / 15, kRounding);
  EXPECT_NEAR(box.third, 4.0 / 15, kRounding);
  EXPECT_NEAR(box.high, 5.0 / 15, kRounding);
  EXPECT_EQ(std::get<BarChart>(Drawn("box", {.maps = {Uniform()}})).rows.size(), 8u);
}

// numpy.percentile of these numbers: 3.25, 5.5, 7.75; matplotlib's whiskers end at 1 and 9.
TEST(AttentionViewTest, WhiskersLeaveOutliersOut) {
  const Quartiles box = QuartilesOf({100, 1, 2, 3, 4, 5, 6, 7, 8, 9}).value();
  EXPECT_EQ(box.first, 3.25);
  EXPECT_EQ(box.median, 5.5);
  EXPECT_EQ(box.third, 7.75);
  EXPECT_EQ(box.low, 1.0);
  EXPECT_EQ(box.high, 9.0);
  EXPECT_FALSE(QuartilesOf({}));
}

TEST(AttentionViewTest, WhatAMapLacksIsNamed) {
  ViewedMap logits = Uniform();
  logits.map.values_of = AttentionMap::Values::kLogits;
  logits.map.entropy.clear();
  EXPECT_NE(WhyNot("entropy", {.maps = {logits}}).find("--values probabilities"),
            std::string::npos);
  ViewedMap largest = Uniform();
  largest.map = PoolMap(std::move(largest.map), 8, AttentionMap::Pool::kMax);
  EXPECT_NE(WhyNot("distance", {.maps = {largest}, .reference = largest}).find("pool_by: mean"),
            std::string::npos);
  EXPECT_EQ(FindAttentionView("heat"), nullptr);
}

TEST(AttentionViewTest, BarsAndBoxesAreDrawnByTheirNumbers) {
  const BarChart chart = {
      .title = "Bars (two)",
      .x_label = "sum",
      .rows = {{.name = "half", .value = 5.0}, {.name = "whole", .value = 10.0}}};
  const std::string text = RenderBarText(chart, {.width = 31});
  EXPECT_NE(text.find("half   ==========            5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("whole  ====================  10\n"), std::string::npos) << text;
  const BarChart boxes = {.title = "Boxes (one)",
                          .x_label = "x",
                          .rows = {{.name = "b", .box = QuartilesOf({0, 1, 2, 3, 4})}}};
  const std::string box = RenderBarText(boxes, {.width = 60});
  EXPECT_LT(box.find('|'), box.find('['));
  EXPECT_LT(box.find('['), box.find('I'));
  EXPECT_LT(box.find('I'), box.find(']'));
  EXPECT_NE(box.find("0 | 1 2 3 | 4"), std::string::npos) << box;
  // A bar of half the length ends half as far from the axis.
  const Drawing drawing = LayOut(chart, 400, 300);
  std::vector<double> widths;
  for (const Mark& mark : drawing.marks) {
    if (mark.kind == Mark::Kind::kArea) widths.push_back(mark.points[1].x - mark.points[0].x);
  }
  ASSERT_EQ(widths.size(), 2u);
  EXPECT_NEAR(widths[0], widths[1] / 2, 1e-9);
}

TEST(AttentionViewTest, NamesBeyondAsciiTakeTheColumnsOfTheirLetters) {
  const auto umlauts = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += "ü";
    return text;
  };
  const BarChart chart = {.title = "Bars",
                          .x_label = "sum",
                          .rows = {{.name = umlauts(20), .value = 10.0},
                                   {.name = umlauts(40), .value = 10.0},
                                   {.name = "a", .value = 10.0}}};
  for (const bool ascii : {false, true}) {
    const std::string text = RenderBarText(chart, {.ascii = ascii});
    EXPECT_TRUE(CheckUtf8(text, "the chart", "").ok()) << text;
    std::vector<std::string> bars;
    for (const std::string& line : Split(text, '\n')) {
      if (line.find('=') == std::string::npos) continue;
      bars.push_back(line);
      EXPECT_EQ(DisplayWidth(line.substr(0, line.find('='))), 32u + 2u) << text;
    }
    ASSERT_EQ(bars.size(), 3u) << text;
    EXPECT_TRUE(bars[0].starts_with(ascii ? std::string(20, '?') : umlauts(20))) << text;
    EXPECT_TRUE(bars[1].starts_with(ascii ? std::string(31, '?') + "~" : umlauts(31) + "…"))
        << text;
  }
}

TEST(AttentionViewTest, NamesOfManyRowsDoNotTouch) {
  BarChart chart = {.title = "Boxes (many)", .x_label = "x"};
  for (int r = 0; r < 64; ++r) {
    chart.rows.push_back({.name = Str("query ", r), .box = QuartilesOf({0, 1, 2, 3, 4})});
  }
  std::vector<double> ys;
  for (const Mark& mark : LayOut(chart, 800, HeightFor(chart)).marks) {
    if (mark.kind == Mark::Kind::kText && mark.anchor == Mark::Anchor::kEnd) {
      ys.push_back(mark.points[0].y);
    }
  }
  ASSERT_EQ(ys.size(), 64u);
  for (std::size_t r = 1; r < ys.size(); ++r) EXPECT_GE(ys[r] - ys[r - 1], 12.0);  // kTextSize
}

// numpy.lib.format, version 1.0: the header ends with a newline at a multiple of 64 bytes.
TEST(AttentionViewTest, AMapIsWrittenForNumPyAndAsCsv) {
  AttentionMap map{
      .n_tokens = 2, .layers = {0}, .heads = {0}, .values = {1.0F, 0.0F, 0.25F, 0.75F}};
  const std::string npy = AttentionMapNpy(map);
  EXPECT_EQ(npy.substr(0, 10), std::string_view("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_TRUE(
      npy.substr(10).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"));
  ASSERT_EQ(npy.size(), 128u + 16u);
  EXPECT_EQ(npy[127], '\n');
  float values[4];
  std::memcpy(values, npy.data() + 128, sizeof values);
  EXPECT_EQ(values[2], 0.25F);
  const HeatMap heat = MakeHeatMap(map, AttentionMap::Pool::kMean, 0);
  EXPECT_EQ(HeatMapCsv(heat), "1,\n0.25,0.75\n");
}

}  // namespace
}  // namespace longrun::client
