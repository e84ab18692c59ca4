// Bars and boxes, one row each: the data (BarChart) and its output forms. LayOut places it once for
// SVG, PNG and PDF; the terminal has its own form (bar_chart_text.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/plots/drawing.h"
#include "client/plots/plot_scale.h"

namespace longrun::client {

// The spread of numbers. Whiskers end at the last number within 1.5 interquartile ranges of the
// box (Tukey); numbers beyond them are not drawn.
struct Quartiles {
  double low = 0.0;    // end of the lower whisker
  double first = 0.0;  // a quarter of the numbers are below, between two numbers by proportion
  double median = 0.0;
  double third = 0.0;
  double high = 0.0;
  std::int64_t n = 0;
};
// nullopt without numbers.
std::optional<Quartiles> QuartilesOf(std::vector<double> numbers);

struct BarRow {
  std::string name;
  std::string group = {};  // rows of one group have one colour
  double value = 0.0;      // a bar from 0 to here, if there is no box
  std::optional<Quartiles> box = {};
};

struct BarChart {
  std::string title;  // "distance (run 1f2e, 64 tokens)", as that of a Plot
  std::string x_label;
  bool x_is_log = false;
  std::vector<BarRow> rows = {};
  std::vector<std::string> notes = {};
};

// Of all bars, which begin at 0, or of all boxes with their whiskers.
PlotScale ScaleOf(const BarChart& chart);
std::string ShortNumber(double value);  // in four digits
// The numbers of a row: "1.25", or "0.1 | 0.2 0.3 0.4 | 0.9", whiskers outside.
std::string ValueText(const BarRow& row);
// A colour's number for each row.
std::vector<int> HuesOf(const BarChart& chart);

// Lays the chart out at a size in pixels (at least 320 x 200).
Drawing LayOut(const BarChart& chart, int width, int height);
// The height at which the names of rows do not touch.
int HeightFor(const BarChart& chart);

// The numbers that are drawn.
Json BarChartJson(const BarChart& chart);

}  // namespace longrun::client
