// Heat maps: what is drawn where, in which colour, and that nothing is written over something else.
#include "client/plots/heat_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/str.h"
#include "client/plots/colour_bar.h"
#include "client/plots/drawing.h"
#include "client/plots/heat_map_text.h"
#include "client/plots/plot_cairo.h"
#include "client/plots/plot_letters.h"
#include "client/plots/plot_svg.h"

namespace longrun::client {
namespace {

// A[i][j] = 2^-(i - j) where j <= i, rows as they come.
AttentionMap Falling(std::int64_t n,
                     AttentionMap::Values of = AttentionMap::Values::kProbabilities) {
  AttentionMap map;
  map.values_of = of;
  map.n_tokens = n;
  map.layers = {0, 1};
  map.heads = {0};
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const float hidden =
          of == AttentionMap::Values::kLogits ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
      const auto distance = static_cast<float>(i - j);
      map.values.push_back(j > i                                 ? hidden
                           : of == AttentionMap::Values::kLogits ? -distance
                                                                 : std::exp2(-distance));
    }
  }
  map.head_entropy.assign(static_cast<std::size_t>(n), 1.0);
  return map;
}

HeatMap Heat(std::int64_t n, std::int64_t train_length = 0,
             AttentionMap::Values of = AttentionMap::Values::kProbabilities) {
  HeatMap heat = MakeHeatMap(Falling(n, of), AttentionMap::Pool::kMean, train_length);
  heat.title = "Attention of rope, trained at 128";
  heat.subtitle = {
      "run 1f2e3d4c · document 0 of validation (novels) · 256 tokens · mean over 12 "
      "layers and 12 heads"};
  return heat;
}

// CIE 1976 L* of an sRGB colour (IEC 61966-2-1, white D65).
double Lightness(std::uint32_t rgb) {
  const auto linear = [](std::uint32_t byte) {
    const double x = byte / 255.0;
    return x <= 0.04045 ? x / 12.92 : std::pow((x + 0.055) / 1.055, 2.4);
  };
  const double y = 0.2126 * linear(rgb >> 16 & 0xff) + 0.7152 * linear(rgb >> 8 & 0xff) +
                   0.0722 * linear(rgb & 0xff);
  return y > 216.0 / 24389.0 ? 116.0 * std::cbrt(y) - 16.0 : y * 24389.0 / 27.0;
}

TEST(HeatColourTest, LightnessRisesInNearlyEqualSteps) {
  constexpr int kSteps = 16;
  const double whole = (Lightness(HeatColour(1.0)) - Lightness(HeatColour(0.0))) / kSteps;
  EXPECT_GT(whole, 4.5);
  for (int i = 0; i < kSteps; ++i) {
    const double step = Lightness(HeatColour((i + 1.0) / kSteps)) -
                        Lightness(HeatColour(static_cast<double>(i) / kSteps));
    EXPECT_GT(step, 0.5 * whole) << i;
    EXPECT_LT(step, 1.6 * whole) << i;
  }
  // The ends of matplotlib's viridis.
  EXPECT_EQ(HeatColour(0.0), 0x440154U);
  EXPECT_EQ(HeatColour(1.0), 0xfde725U);
  EXPECT_EQ(HeatColour(-3.0), HeatColour(0.0));
  EXPECT_EQ(HeatColour(7.0), HeatColour(1.0));
}

TEST(HeatMapTest, ProbabilitiesAreLogarithmicAndLogitsLinear) {
  const HeatMap p = Heat(9);
  EXPECT_TRUE(p.scale.is_log);
  EXPECT_NEAR(*p.UnitAt(0, 0), 1.0, 1e-9);
  EXPECT_NEAR(*p.UnitAt(4, 0), 0.5, 1e-6);  // 2^-4 between 2^-8 and 1
  EXPECT_FALSE(p.UnitAt(0, 1).has_value());
  const HeatMap s = Heat(9, 0, AttentionMap::Values::kLogits);
  EXPECT_FALSE(s.scale.is_log);
  EXPECT_NEAR(*s.UnitAt(2, 0), 0.75, 1e-9);  // -2 between -8 and 0
  EXPECT_FALSE(s.UnitAt(0, 1).has_value());
}

TEST(HeatMapTest, WhatLiesFarBelowTheHighestIsCutAndSaidSo) {
  const HeatMap heat = Heat(64);  // 2^-63 to 1
  EXPECT_NEAR(heat.scale.low, 1e-5, 1e-12);
  EXPECT_EQ(*heat.UnitAt(40, 0), 0.0);
  EXPECT_TRUE(std::ranges::any_of(heat.notes, [](const std::string& note) {
    return note == "the darkest colour stands for 1e-05 and less";
  })) << Join(heat.notes, "; ");
  EXPECT_EQ(Heat(9).notes, std::vector<std::string>{"blank: keys that the query cannot see"});
  // All alike, and zeros alone, have colours too.
  AttentionMap flat = Falling(3);
  for (float& value : flat.values) value = 0.0F;
  EXPECT_EQ(*MakeHeatMap(flat, AttentionMap::Pool::kMean, 0).UnitAt(2, 0), 0.0);
}

TEST(HeatMapTest, APictureHasAtMost512CellsASideAndNamesItsPooling) {
  const HeatMap heat = Heat(1200);
  EXPECT_EQ(heat.map.Side(), 400);
  EXPECT_EQ(heat.notes.front(),
            "a cell is the mean of the visible pairs among 3 x 3 pairs of tokens");
  const Drawing drawing = LayOut(heat, 760, 780);
  const auto image = std::ranges::find(drawing.marks, Mark::Kind::kImage, &Mark::kind);
  ASSERT_NE(image, drawing.marks.end());
  EXPECT_EQ(image->image->width, 400);
  EXPECT_EQ(image->image->argb[1], 0u);  // not visible: the page shows through
  EXPECT_EQ(image->image->argb[0] >> 24, 0xffu);
}

struct Box {
  double left, top, right, bottom;
  std::string text;
};

std::vector<Box> TextBoxes(const Drawing& drawing) {
  std::vector<Box> boxes;
  for (const Mark& mark : drawing.marks) {
    if (mark.kind != Mark::Kind::kText) continue;
    const double width = TextWidth(mark.text, mark.width), half = mark.width / 2;
    const double share = mark.anchor == Mark::Anchor::kStart    ? 0.0
                         : mark.anchor == Mark::Anchor::kMiddle ? 0.5
                                                                : 1.0;
    const DrawPoint at = mark.points.front();
    if (mark.is_upright) {
      boxes.push_back(
          {at.x - share * width, at.y - half, at.x + (1 - share) * width, at.y + half, mark.text});
    } else {
      boxes.push_back(
          {at.x - half, at.y - share * width, at.x + half, at.y + (1 - share) * width, mark.text});
    }
  }
  return boxes;
}

TEST(HeatMapTest, TextsLieInsideAndTouchNeitherEachOtherNorTheMap) {
  for (const std::int64_t n : {8, 256, 1000, 8192}) {
    for (const auto& [width, height] : {std::pair(760, 780), {360, 360}, {500, 900}, {1200, 600}}) {
      // Numbers of a shorter text: only where things lie matters here.
      const std::int64_t block = (n + 63) / 64, side = (n + block - 1) / block;
      AttentionMap map = PoolMap(Falling(side), side, AttentionMap::Pool::kMean);
      map.block = block;
      map.n_tokens = n;
      ASSERT_EQ(map.Side(), side);
      HeatMap heat = Heat(8, 128);
      heat.map = map;
      const Drawing drawing = LayOut(heat, width, height);
      const std::vector<Box> boxes = TextBoxes(drawing);
      const auto image = std::ranges::find(drawing.marks, Mark::Kind::kImage, &Mark::kind);
      for (std::size_t a = 0; a < boxes.size(); ++a) {
        EXPECT_GE(boxes[a].left, 0.0) << boxes[a].text;
        EXPECT_LE(boxes[a].right, width) << boxes[a].text << " of " << n << " at " << width;
        EXPECT_LE(boxes[a].bottom, height) << boxes[a].text;
        EXPECT_TRUE(boxes[a].right <= image->points[0].x || boxes[a].left >= image->points[1].x ||
                    boxes[a].bottom <= image->points[0].y || boxes[a].top >= image->points[1].y)
            << boxes[a].text << " lies on the map of " << n << " at " << width;
        for (std::size_t b = a + 1; b < boxes.size(); ++b) {
          EXPECT_TRUE(boxes[a].right <= boxes[b].left || boxes[b].right <= boxes[a].left ||
                      boxes[a].bottom <= boxes[b].top || boxes[b].bottom <= boxes[a].top)
              << boxes[a].text << " and " << boxes[b].text << " of " << n << " at " << width
              << " x " << height;
        }
      }
    }
  }
}

TEST(HeatMapTest, TheTrainLengthIsMarkedWhereItLiesInTheMap) {
  const auto n_dashed = [](const HeatMap& heat) {
    const Drawing drawing = LayOut(heat, 760, 780);
    return std::ranges::count_if(drawing.marks, [](const Mark& mark) { return mark.is_dashed; });
  };
  EXPECT_EQ(n_dashed(Heat(256, 128)), 2);
  EXPECT_EQ(n_dashed(Heat(256, 0)), 0);
  EXPECT_EQ(n_dashed(Heat(128, 128)), 0);
  EXPECT_EQ(Heat(128, 128).notes.back().find("the darkest"), 0u);
  EXPECT_TRUE(std::ranges::any_of(Heat(128, 128).notes, [](const std::string& note) {
    return note == "the whole map is within the train length 128";
  }));
}

TEST(HeatMapTest, SvgHoldsAPictureAndPngIsOne) {
  HeatMap heat = Heat(64, 16);
  heat.title = "<b>&";
  const std::string svg = RenderSvg(LayOut(heat, 760, 780));
  EXPECT_NE(svg.find("href=\"data:image/png;base64,iVBORw0KGgo"), std::string::npos);
  EXPECT_NE(svg.find("image-rendering:pixelated"), std::string::npos);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  EXPECT_NE(svg.find("&lt;b&gt;&amp;"), std::string::npos);
  const auto pdf = RenderPdf(LayOut(heat, 400, 400));
  ASSERT_TRUE(pdf.ok());
  EXPECT_NE(pdf->find("/Subtype /Image"), std::string::npos);
  const auto png = RenderPng(LayOut(heat, 400, 400), 1.0);
  ASSERT_TRUE(png.ok()) << png.status().message();
  EXPECT_EQ(png->substr(1, 3), "PNG");
}

// A line has the lighter of its two queries: at distance d,
// shade round(8 (7 - d) / 7) of ".:-=+*#%@".
TEST(HeatTextTest, QueriesGoDownTwoALineAndHiddenKeysAreBlank) {
  HeatMap heat = Heat(8);
  heat.title = "t";
  heat.subtitle = {"s"};
  EXPECT_EQ(RenderHeatText(heat, {.ascii = true}),
            "t\ns\n\n"
            "      0 @@\n"
            "        #%@@\n"
            "        =*#%@@\n"
            "      8 :-=*#%@@\n"
            "        0      8\n"
            "        rows: queries, columns: keys\n"
            "        logarithmic from 0.0078125 . to 1 @\n"
            "        blank: keys that the query cannot see\n");
  const std::string coloured = RenderHeatText(heat, {.colour = true});
  EXPECT_NE(coloured.find("\x1b[38;2;"), std::string::npos);
  EXPECT_NE(coloured.find("▀"), std::string::npos);
}

TEST(HeatMapJsonTest, HiddenCellsAreNull) {
  const Json json = HeatMapJson(Heat(3, 2));
  EXPECT_EQ(json.at("attention"),
            (Json{{1.0, nullptr, nullptr}, {0.5, 1.0, nullptr}, {0.25, 0.5, 1.0}}));
  EXPECT_EQ(json.at("train_length"), 2);
  EXPECT_EQ(json.at("values"), "probabilities");
}

// 0 is in the middle of the colours, whatever the values are.
TEST(HeatMapTest, ADifferenceHasASymmetricScale) {
  AttentionMap map = Falling(4);
  for (float& value : map.values) value -= 0.25F;  // -0.25 to 0.75 where a key is visible
  const HeatMap heat = MakeHeatMap(map, AttentionMap::Pool::kMean, 0, /*is_difference=*/true);
  EXPECT_FALSE(heat.scale.is_log);
  EXPECT_EQ(heat.scale.low, -0.75);
  EXPECT_EQ(heat.scale.high, 0.75);
  EXPECT_EQ(heat.UnitAt(0, 0), 1.0);
  EXPECT_EQ(heat.UnitAt(2, 0), 0.5);  // 2^-2 - 0.25
  EXPECT_TRUE(HeatMapJson(heat).at("difference"));
  EXPECT_FALSE(HeatMapJson(Heat(4)).contains("difference"));

  std::ranges::fill(map.values, 0.0F);
  EXPECT_EQ(MakeHeatMap(map, AttentionMap::Pool::kMean, 0, true).UnitAt(3, 0), 0.5);
}

}  // namespace
}  // namespace longrun::client
