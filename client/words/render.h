// Text for people: aligned columns, colour on terminals that want it, sparklines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "client/wire/messages.h"

namespace longrun::client {

// Whether both stdout and stderr are terminals. Otherwise nothing is redrawn or coloured, since the
// output may go to a file.
bool OnTerminal();
// True on a terminal, unless NO_COLOR is set or TERM is "dumb".
bool UseColour();

// Whether the locale can show UTF-8. Only for the terminal: an output file may be read elsewhere.
bool LocaleIsUtf8();

// The first `width` characters of each line, the last of them "…" if more follow; colour codes are
// kept.
std::string ClipLines(const std::string& text, std::size_t width);

enum class Align { kLeft, kRight };

// Columns aligned by display width, two spaces apart; with colour, the header is bold.
std::string RenderColumns(const std::vector<std::string>& header, const std::vector<Align>& align,
                          const std::vector<std::vector<std::string>>& rows);

// RFC 4180.
std::string RenderCsv(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows);

// Text in Markdown, with a backslash before what would end a table's cell or begin a mark.
std::string MarkdownText(const std::string& text);
// The same in a cell of a table, which has no line breaks.
std::string MarkdownCell(const std::string& text);

// "▇▆▅▃▂▁": a bar for each value, scaled to the smallest and the largest one; values that are not
// finite are blank. Shows at most `width` values, evenly spaced.
std::string Sparkline(const google::protobuf::RepeatedField<float>& values, std::size_t width);

// A value on an axis as text. A position has only the parameters that were given: "cable" or
// "rope(base=500000)". A bucket of positions is "4..7".
std::string AxisName(const Json& value);
// The same for people. It marks values without a publication (model/param.h):
// "cable(variant=bidirectional) (experimental)".
std::string AxisText(const Json& value);

// The last part of an axis' name, "lr"; the whole of "train.extend".
std::string ShortAxis(const std::string& axis);

// The first 8 digits of an id.
std::string ShortId(const std::string& id);

// "1 run", "2 runs"; `many` is for irregular plurals.
std::string Counted(std::int64_t n, std::string_view one, std::string_view many = "");

// "1min 23s"; without fractions from ten seconds; "" for 0, which means unknown.
std::string DurationText(std::int64_t ms);

// How long a sweep's tasks have run (SweepInfo): "1min 23s", or "at least 1min 23s" if the stored
// time of a task is damaged; "" for 0.
std::string TimeRunText(const v1::SweepInfo& info);

// null for numbers that are not finite, which JSON does not have.
Json NumberOrNull(const std::optional<double>& value);

// Pretty-printed JSON with a newline.
std::string RenderJson(const Json& json);

}  // namespace longrun::client
