// A picture as a list of marks in pixels, from the upper left corner.
// Each output form draws them in order.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace longrun::client {

struct DrawPoint {
  double x = 0.0;
  double y = 0.0;
};

// The role of a mark, which decides its colour: a form chooses colours for a light or a dark page.
// kSeries marks have a number that selects a colour of the palette. kPaper is the colour of the
// page, which sets a line off from the marks below it. kWhite and kBlack are the same on every
// page, for text on a coloured area.
enum class Ink { kText, kFaintText, kAxis, kGrid, kSeries, kBaseline, kPaper, kWhite, kBlack };

// Coloured squares, row by row from the upper left; drawn at any size with sharp edges.
struct PixelImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint32_t> argb = {};  // 0xffRRGGBB, or 0: transparent
};

struct Mark {
  enum class Kind { kLine, kArea, kText, kCircle, kSquare, kTriangle, kDiamond, kImage };
  enum class Anchor { kStart, kMiddle, kEnd };

  Kind kind = Kind::kLine;
  Ink ink = Ink::kAxis;
  int series = 0;                      // for kSeries
  std::vector<DrawPoint> points = {};  // a text or symbol has one: its anchor or centre
  double width = 1.0;                  // line width, radius of a symbol, or size of letters
  bool is_dashed = false;
  bool is_hollow = false;  // only the outline of a symbol
  bool is_bold = false;
  Anchor anchor = Anchor::kStart;
  bool is_upright = true;                        // false: text that runs upwards
  std::string text = {};                         // the text; for other marks their tooltip
  std::shared_ptr<const PixelImage> image = {};  // for kImage: from the first point to the second
};

struct Drawing {
  int width = 0;
  int height = 0;
  std::string title;
  std::string description;  // the numbers in words, for people who cannot see it
  std::vector<Mark> marks = {};
};

// Colours that colour-blind people can tell apart too (Okabe and Ito 2008, without yellow, which is
// faint on white, and without grey, which baselines have), as 0xRRGGBB.
struct PaletteColour {
  unsigned on_light = 0;
  unsigned on_dark = 0;
};
inline constexpr PaletteColour kPalette[] = {
    {0x0072b2, 0x56b4e9}, {0xd55e00, 0xff8c42}, {0x009e73, 0x2fd0a5}, {0xb0528f, 0xe39ac8},
    {0xb57900, 0xf0b93a}, {0x3a3f8f, 0x9aa2ff}, {0x7a3b12, 0xd9a06b}};
inline constexpr int kPaletteSize = sizeof(kPalette) / sizeof(kPalette[0]);

// The opacity of a band.
inline constexpr double kBandOpacity = 0.18;

// The corners of a square, a triangle or a diamond.
std::vector<DrawPoint> SymbolCorners(const Mark& mark);

}  // namespace longrun::client
