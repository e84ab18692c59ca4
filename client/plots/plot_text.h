// A plot in the terminal: lines in Braille dots (or ASCII), a letter at each point, the names next
// to the ends of the lines.
#pragma once

#include <cstddef>
#include <string>

#include "client/plots/plot.h"
#include "client/plots/plot_size.h"

namespace longrun::client {

struct PlotTextStyle {
  int width = 80;  // characters
  int height = 20;
  bool ascii = false;  // else Braille dots
  bool colour = false;
};

// The style for a text of this size or, if none is given, for the terminal; for a file: 80 x 20.
PlotTextStyle TextStyleFor(const PlotSize& size, bool ascii, bool to_stdout);

// The text in at most `width` letters of UTF-8; "…" or, in ASCII, "~" stands for the rest.
std::string Clipped(const std::string& text, std::size_t width, bool ascii);
// ASCII for terminals without the characters: "±" is "+-", any other letter beyond ASCII is "?".
std::string AsciiOf(const std::string& text);

std::string RenderPlotText(const Plot& plot, const PlotTextStyle& style);

}  // namespace longrun::client
