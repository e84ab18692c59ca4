// Text for people: aligned columns, colour where a terminal asks for it, sparklines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace longrun {

// Both stdout and stderr are: what is drawn on one would show in the other's file otherwise.
bool OnTerminal();
// On a terminal, NO_COLOR is not set, and TERM is not "dumb".
bool UseColour();

// Each line's first `width` characters; colour codes stay.
std::string ClipLines(const std::string& text, std::size_t width);

enum class Align { kLeft, kRight };

// Columns aligned by display width, two spaces apart; the header in bold where there is colour.
std::string RenderColumns(const std::vector<std::string>& header, const std::vector<Align>& align,
                          const std::vector<std::vector<std::string>>& rows);

// RFC 4180.
std::string RenderCsv(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows);

// "▇▆▅▃▂▁": the values from smallest to largest; nulls are blanks. At most `width` characters.
std::string Sparkline(const Json& values, std::size_t width);

// "cable", or "rope(base=500000)": a position as it is named, parameters that are given only. "4..7": a bucket of
// positions.
std::string AxisName(const Json& value);
// The same for people, "cable(variant=bidirectional) (experimental)": what has no publication behind it
// says so (model/param.h).
std::string AxisText(const Json& value);

// The first 8 digits of an id.
std::string ShortId(const std::string& id);

// "1 run", "2 runs"; `many` where an s does not make it.
std::string Counted(std::int64_t n, std::string_view one, std::string_view many = "");

// "1min 23s"; from ten seconds on without fractions; "" of 0, which is not known.
std::string DurationText(std::int64_t ms);

// JSON has no infinity: what is not finite is null.
Json NumberOrNull(const std::optional<double>& value);

// Pretty-printed JSON with a newline.
std::string RenderJson(const Json& json);

}  // namespace longrun
