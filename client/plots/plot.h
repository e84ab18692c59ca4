// Plots: the data (Plot), and its output forms. A curve of results is drawn in the terminal, as SVG and as
// PNG from the same numbers; `LayOut` places it once for both pictures.
//
//   plot_curves.cc   from pivot tables: a metric by context length
//   plot_losses.cc   from training curves
//   plot_layout.cc   Plot -> Drawing: axes, ticks, labels that do not overlap
//   plot_svg.cc, plot_png.cc, plot_text.cc   output forms
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/plots/drawing.h"
#include "client/tables/pivot.h"

namespace longrun {

struct PlotPoint {
  double x = 0.0;
  double y = 0.0;
  std::optional<double> se = {};  // half of the band's height
  bool is_marked = false;         // at the train length
};

// One line. Points are in ascending order of x; a point whose y is not finite is a gap.
struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points = {};
  std::string note = {};  // the part that cannot be drawn: "not_applicable at 128, 256"
  bool is_baseline = false;
  // Lines of one group ("rope", at several train lengths) have one colour; SetHues derives `hue` and `dash`
  // from it.
  std::string group = {};
  int hue = 0;   // one number per group
  int dash = 0;  // distinguishes lines of one hue
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool x_is_log = false;
  bool y_is_log = false;
  std::optional<double> y_least = {};  // the limits of y: 0 and 1 for a share
  std::optional<double> y_most = {};
  bool has_markers = true;           // a marker at each point; not for curves with many points
  std::vector<double> marks_x = {};  // train lengths: one dashed line each
  std::string marks_label = {};      // "train length"
  std::vector<PlotSeries> series = {};
  std::string legend = {};  // the meaning of the band: "band: ± standard error over seeds"
};

// One plot for each table (for throughput, one for each direction), with a series for each row, including
// baselines. y is logarithmic if the values span more than a factor of 20. kInvalidArgument unless the
// columns are only context lengths or, by position, only tokens of context.
Result<std::vector<Plot>> PlotsOfTables(const std::vector<PivotTable>& tables);

// Whether there is anything to draw; and the missing parts of its lines: "rope: missing at 64".
bool HasPoints(const Plot& plot);
std::vector<std::string> NotesOf(const Plot& plot);

// Numbers the groups in order of appearance, and the lines within each. A series without a group is its own
// group.
void SetHues(Plot& plot);

// A run's training curve, from GetSeries.
struct LossCurve {
  std::string name;        // of its series: runs of one name are seeds, and are averaged
  std::string group = {};  // of its series
  std::vector<double> x = {};
  std::vector<double> y = {};  // not finite if missing
};

// The tokens of an optimiser step of a resolved run; nothing if it does not train.
std::optional<double> BatchTokens(const Json& run);

// Seeds are averaged at the x that all of them have: mean and standard error of the mean.
Plot PlotOfLosses(const std::vector<LossCurve>& curves, const std::string& title,
                  const std::string& x_label, const std::string& y_label);

// Lays out axes, lines, bands and labels at a size in pixels (at least 320 x 200).
Drawing LayOut(const Plot& plot, int width, int height);

// An SVG document: valid XML, with title and description, readable on light and dark pages. Can be used
// alone or inside HTML.
std::string RenderSvg(const Drawing& drawing);

// PNG bytes, on white; `scale` pixels for each pixel of the drawing.
Result<std::string> RenderPng(const Drawing& drawing, double scale = 2.0);
// PNG bytes of only the image, one pixel for each of its pixels.
Result<std::string> PixelPng(const PixelImage& image);

// The size given with --size: pixels of a picture, or characters of text.
struct PlotSize {
  int width = 0;  // 0: not given
  int height = 0;
};
// "800x480"; "": not given.
Result<PlotSize> ReadPlotSize(const std::string& text);

// Whether the locale can show UTF-8. Only for the terminal: an output file may be read elsewhere.
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
