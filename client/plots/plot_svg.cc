#include "client/plots/plot_svg.h"

#include <cmath>
#include <cstdint>
#include <cstdio>

#include "base/check.h"
#include "base/hash.h"
#include "base/str.h"
#include "client/plots/plot_cairo.h"
#include "client/words/html.h"

namespace longrun::client {
namespace {

// Text escaped for XML; a space replaces each character that XML does not allow.
std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : ToUtf8(text)) {
    if (!AppendEntity(c, out)) out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

// A tenth of a pixel is enough.
std::string Coordinate(double value) {
  const double rounded = std::round(value * 10.0) / 10.0;
  return Str(rounded == 0.0 ? 0.0 : rounded);
}

std::string Hex(unsigned colour) {
  char text[16];
  std::snprintf(text, sizeof text, "#%06x", colour);
  return text;
}

std::string ClassOf(const Mark& mark) {
  switch (mark.ink) {
    case Ink::kText:
      return "lr-text";
    case Ink::kFaintText:
      return "lr-faint";
    case Ink::kAxis:
      return "lr-axis";
    case Ink::kGrid:
      return "lr-grid";
    case Ink::kBaseline:
      return "lr-base";
    case Ink::kPaper:
      return "lr-back";
    case Ink::kWhite:
      return "lr-white";
    case Ink::kBlack:
      return "lr-black";
    case Ink::kSeries:
      return Str("lr-s", mark.series % kPaletteSize);
  }
  return "";
}

// `color` is the ink; shapes use it as their stroke or fill.
std::string Style() {
  const auto rules = [](const char* paper, const char* text, const char* faint, const char* axis,
                        const char* grid, bool on_dark) {
    std::string css = Str(".lr-paper{fill:", paper, "}.lr-back{color:", paper,
                          "}.lr-text{color:", text, "}.lr-faint,.lr-base{color:", faint,
                          "}.lr-axis{color:", axis, "}.lr-grid{color:", grid, "}");
    for (int i = 0; i < kPaletteSize; ++i) {
      const unsigned colour = on_dark ? kPalette[i].on_dark : kPalette[i].on_light;
      StrAppend(css, Str(".lr-s", i, "{color:", Hex(colour), "}"));
    }
    return css;
  };
  return Str("<style>.lr-plot text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',",
             "sans-serif;fill:currentColor}", ".lr-white{color:#ffffff}.lr-black{color:#000000}",
             rules("#ffffff", "#1b1b1b", "#5a5a5a", "#8a8a8a", "#e4e4e4", false),
             "@media (prefers-color-scheme:dark){",
             rules("#16181c", "#eceff1", "#aab2ba", "#7d858d", "#2c3138", true), "}</style>\n");
}

std::string PointList(const std::vector<DrawPoint>& points) {
  std::vector<std::string> parts;
  parts.reserve(points.size());
  for (const DrawPoint& point : points) {
    parts.push_back(Str(Coordinate(point.x), ",", Coordinate(point.y)));
  }
  return Join(parts, " ");
}

std::string TextElement(const Mark& mark) {
  constexpr double kMiddleOfLetters = 0.35;  // of the font size, above the baseline
  const double x = mark.points.front().x;
  const double y = mark.points.front().y;
  const std::string place =
      mark.is_upright ? Str("x=\"", Coordinate(x), "\" y=\"",
                            Coordinate(y + kMiddleOfLetters * mark.width), "\"")
                      : Str("transform=\"translate(", Coordinate(x + kMiddleOfLetters * mark.width),
                            ",", Coordinate(y), ") rotate(-90)\"");
  const char* anchor = mark.anchor == Mark::Anchor::kStart    ? "start"
                       : mark.anchor == Mark::Anchor::kMiddle ? "middle"
                                                              : "end";
  return Str("<text class=\"", ClassOf(mark), "\" ", place, " font-size=\"", Coordinate(mark.width),
             "\" text-anchor=\"", anchor, "\"", mark.is_bold ? " font-weight=\"600\"" : "", ">",
             Escaped(mark.text), "</text>\n");
}

std::string Tip(const Mark& mark, const char* element) {
  if (mark.text.empty()) return "/>\n";
  return Str("><title>", Escaped(mark.text), "</title></", element, ">\n");
}

std::string ImageElement(const Mark& mark) {
  const DrawPoint from = mark.points[0], to = mark.points[1];
  const Result<std::string> png = PixelPng(*mark.image);
  LR_CHECK(png.ok());  // it fails only if memory runs out
  return Str("<image x=\"", Coordinate(from.x), "\" y=\"", Coordinate(from.y), "\" width=\"",
             Coordinate(to.x - from.x), "\" height=\"", Coordinate(to.y - from.y),
             "\" preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" ",
             "href=\"data:image/png;base64,", Base64(*png), "\"", Tip(mark, "image"));
}

std::string Element(const Mark& mark) {
  const std::string head = Str(" class=\"", ClassOf(mark), "\" ");
  const std::string paint = mark.is_hollow
                                ? "fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\""
                                : "fill=\"currentColor\"";
  switch (mark.kind) {
    case Mark::Kind::kText:
      return TextElement(mark);
    case Mark::Kind::kLine:
      return Str("<polyline", head,
                 "fill=\"none\" stroke=\"currentColor\" stroke-linejoin=\"round\"",
                 " stroke-width=\"", Coordinate(mark.width), "\"",
                 mark.is_dashed ? " stroke-dasharray=\"5 4\"" : "", " points=\"",
                 PointList(mark.points), "\"", Tip(mark, "polyline"));
    case Mark::Kind::kArea:
      return Str("<polygon", head, "fill=\"currentColor\" fill-opacity=\"", kBandOpacity,
                 "\" points=\"", PointList(mark.points), "\"", Tip(mark, "polygon"));
    case Mark::Kind::kCircle:
      return Str("<circle", head, paint, " cx=\"", Coordinate(mark.points.front().x), "\" cy=\"",
                 Coordinate(mark.points.front().y), "\" r=\"", Coordinate(mark.width), "\"",
                 Tip(mark, "circle"));
    case Mark::Kind::kSquare:
    case Mark::Kind::kTriangle:
    case Mark::Kind::kDiamond:
      return Str("<polygon", head, paint, " points=\"", PointList(SymbolCorners(mark)), "\"",
                 Tip(mark, "polygon"));
    case Mark::Kind::kImage:
      return ImageElement(mark);
  }
  return "";
}

}  // namespace

std::string RenderSvg(const Drawing& drawing) {
  const std::string id = Str("lr", Fnv1a64(Str(drawing.title, drawing.description)));
  std::string out =
      Str("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"lr-plot\" role=\"img\" width=\"",
          drawing.width, "\" height=\"", drawing.height, "\" viewBox=\"0 0 ", drawing.width, " ",
          drawing.height, "\" aria-labelledby=\"", id, "t ", id, "d\">\n<title id=\"", id, "t\">",
          Escaped(drawing.title), "</title>\n<desc id=\"", id, "d\">", Escaped(drawing.description),
          "</desc>\n", Style(), "<rect class=\"lr-paper\" width=\"100%\" height=\"100%\"/>\n");
  for (const Mark& mark : drawing.marks) out += Element(mark);
  return out + "</svg>\n";
}

}  // namespace longrun::client
