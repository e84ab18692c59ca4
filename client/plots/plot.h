// The data of a plot. It is drawn in the terminal, and as SVG, PNG and PDF from the same numbers;
// `LayOut` places it once for all pictures.
//
//   plot_curves.h   from pivot tables: a metric by context length
//   plot_losses.h   from training curves
//   plot_layout.h   Plot -> Drawing: axes, ticks, labels that do not overlap
//   plot_svg.h, plot_cairo.h, plot_text.h   output forms; picture_file.h chooses one
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace longrun::client {

struct PlotPoint {
  double x = 0.0;
  double y = 0.0;
  std::optional<double> se = {};
  std::optional<double> half95 = {};  // half of the 95 % interval
  // The band's ends if they are not y ± half95, as for a share or a perplexity.
  std::optional<std::pair<double, double>> ends95 = {};
  bool is_marked = false;  // at the train length

  std::optional<std::pair<double, double>> Band() const;  // nullopt if it is not finite
};

// One line. Points are in ascending order of x; a point whose y is not finite is a gap.
struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points = {};
  std::string note = {};  // the part that cannot be drawn: "not_applicable at 128, 256"
  bool is_baseline = false;
  // What the beginning of its name says ("rope" of "rope, 64"). Where groups have several lines,
  // colour shows the group, dashes and symbol the rest of the name; SetStyles sets the three.
  std::string group = {};
  int hue = 0;     // one number for each group
  int dash = 0;    // one number for each rest of a name
  int symbol = 0;  // as `dash`; if each group has one line, one number for each line
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
  std::string legend = {};          // what a line or a point is: "line: mean over seeds"
  std::string picture_legend = {};  // of what no text shows: "band: 95 % interval over seeds"
};

// Whether there is anything to draw.
bool HasPoints(const Plot& plot);
// The missing parts of the lines: "rope: missing at 64".
std::vector<std::string> NotesOf(const Plot& plot);

// Numbers groups and rests of names in order of appearance. A series without a group is its own
// group.
void SetStyles(Plot& plot);

// The numbers that are drawn.
Json PlotJson(const Plot& plot);

}  // namespace longrun::client
