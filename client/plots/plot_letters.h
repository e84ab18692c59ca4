// Text in a drawing: sizes, and widths. Widths are generous estimates,
// since each viewer has its own fonts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "client/plots/drawing.h"

namespace longrun::client {

inline constexpr double kTitleSize = 15.0;
inline constexpr double kTextSize = 12.0;
inline constexpr double kNoteSize = 11.0;
inline constexpr double kEdge = 14.0;  // margin of a drawing

double TextWidth(std::string_view text, double size);

// As much of the text as fits, with "…" for the rest.
std::string Clipped(const std::string& text, double size, double width);

// The text in lines that fit.
std::vector<std::string> Wrapped(const std::string& text, double size, double width);

Mark TextMark(const std::string& text, double x, double y, Mark::Anchor anchor, Ink ink,
              double size);

// Puts the title, large and bold, at the upper edge, and below it the subtitles in as many faint
// lines as needed; returns the y of the last line.
double PutTitle(Drawing& drawing, const std::string& title,
                const std::vector<std::string>& subtitles);
// Puts faint lines at the lower edge; returns the y of the line above them.
double PutNotes(Drawing& drawing, const std::vector<std::string>& notes);

}  // namespace longrun::client
