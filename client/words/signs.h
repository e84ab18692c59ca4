// Signs outside of ASCII that longrun's own words have.
#pragma once

#include <string>

namespace longrun::client {

// "+-" for "±", "-" for "–", "^" for "°", "~" for "…". Other letters, such as those of names, stay.
std::string WithAsciiSigns(const std::string& text);

// The text for stdout: with ASCII signs if stdout is a terminal that cannot show others. A file or
// a pipe may be read elsewhere, and gets the text unchanged. RenderColumns() calls it for cells.
std::string ForTerminal(const std::string& text);

}  // namespace longrun::client
