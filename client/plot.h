// Plots: what is drawn (Plot), and its forms. A curve of results is drawn in the terminal, as SVG and
// as PNG from the same numbers; `LayOut` places it once for both pictures.
//
//   plot_curves.cc   from pivot tables: a metric by context length
//   plot_losses.cc   from training curves
//   plot_layout.cc   Plot -> Drawing: axes, ticks, labels that do not overlap
//   plot_svg.cc, plot_png.cc, plot_text.cc   forms
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/drawing.h"
#include "client/pivot.h"

namespace longrun {

struct PlotPoint {
  double x = 0.0;
  double y = 0.0;
  std::optional<double> se = {};  // half of the band's height
  bool is_marked = false;         // at the train length
};

// One line. Points rise in x; a gap is a point whose y is not finite.
struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points = {};
  std::string note = {};  // what of it cannot be drawn: "not_applicable at 128, 256"
  bool is_baseline = false;
  // Lines of one group ("rope", at several train lengths) have one colour; `hue` and `dash` follow from
  // it (SetHues).
  std::string group = {};
  int hue = 0;   // a number for each group
  int dash = 0;  // of the lines of one hue
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool x_is_log = false;
  bool y_is_log = false;
  std::optional<double> y_least = {};  // the ends of what y can be: 0 and 1 of a share
  std::optional<double> y_most = {};
  bool has_markers = true;           // a mark at each point; curves of many points have none
  std::vector<double> marks_x = {};  // train lengths: a dashed line each
  std::string marks_label = {};      // "train length"
  std::vector<PlotSeries> series = {};
  std::string legend = {};  // what the band is: "band: ± standard error over seeds"
};

// One plot for each table (of a throughput, for each of its directions): a series for each of its rows,
// baselines among them. y is logarithmic where
// the values span more than a factor of 20. kInvalidArgument where the columns are not the context
// lengths alone, or by position the tokens of context alone.
Result<std::vector<Plot>> PlotsOfTables(const std::vector<PivotTable>& tables);

// Whether there is anything to draw, and what of its lines is not there: "rope: missing at 64".
bool HasPoints(const Plot& plot);
std::vector<std::string> NotesOf(const Plot& plot);

// Numbers the groups in the order in which they come, and the lines within each; a series without a
// group is one of its own.
void SetHues(Plot& plot);

// A run's training curve, as GetSeries gives it.
struct LossCurve {
  std::string name;        // of its series: runs of one name are seeds, and are folded
  std::string group = {};  // of its series
  std::vector<double> x = {};
  std::vector<double> y = {};  // not finite where there was none
};

// Tokens of an optimiser step of a resolved run; nothing where it trains nothing.
std::optional<double> BatchTokens(const Json& run);

// Seeds are folded at the x that all of them have: mean and standard error of the mean.
Plot PlotOfLosses(const std::vector<LossCurve>& curves, const std::string& title,
                  const std::string& x_label, const std::string& y_label);

// Axes, lines, bands and labels at a size in pixels (at least 320 x 200).
Drawing LayOut(const Plot& plot, int width, int height);

// An SVG document: valid XML, with title and description, readable on light and dark pages. Can stand
// alone or inside HTML.
std::string RenderSvg(const Drawing& drawing);

// PNG bytes, on a white page; `scale` pixels for each of the drawing's.
Result<std::string> RenderPng(const Drawing& drawing, double scale = 2.0);
// PNG bytes of the pixels alone, a pixel each.
Result<std::string> PixelPng(const PixelImage& image);

// What --size says: pixels of a picture, characters of a text.
struct PlotSize {
  int width = 0;  // 0: not given
  int height = 0;
};
// "800x480"; "": not given.
Result<PlotSize> ReadPlotSize(const std::string& text);

// What a locale can show. Not where the output is a file: that one may be read elsewhere.
bool LocaleIsUtf8();

struct PlotTextStyle {
  int width = 80;  // characters
  int height = 20;
  bool ascii = false;  // else Braille dots
  bool colour = false;
};

std::string RenderPlotText(const Plot& plot, const PlotTextStyle& style);

// The numbers that are drawn.
Json PlotJson(const Plot& plot);

}  // namespace longrun
