#include "client/words/render.h"

#include <langinfo.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string_view>

#include "base/process.h"
#include "base/str.h"
#include "base/units.h"
#include "client/words/position_range.h"
#include "client/words/signs.h"
#include "client/words/window.h"
#include "model/position/method.h"

namespace longrun::client {
namespace {

std::string CsvField(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string quoted = "\"";
  for (const char c : field) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

bool OnTerminal() { return isatty(STDOUT_FILENO) == 1 && isatty(STDERR_FILENO) == 1; }

bool UseColour() {
  return OnTerminal() && !GetEnv("NO_COLOR").has_value() && GetEnv("TERM") != "dumb";
}

std::string RenderColumns(const std::vector<std::string>& header_words,
                          const std::vector<Align>& align,
                          const std::vector<std::vector<std::string>>& row_words) {
  std::vector<std::string> header = header_words;
  std::vector<std::vector<std::string>> rows = row_words;
  for (std::string& cell : header) cell = ForTerminal(cell);
  for (auto& row : rows) {
    for (std::string& cell : row) cell = ForTerminal(cell);
  }
  std::vector<std::size_t> width(header.size(), 0);
  const auto widen = [&width](const std::vector<std::string>& row) {
    for (std::size_t c = 0; c < row.size(); ++c)
      width[c] = std::max(width[c], DisplayWidth(row[c]));
  };
  widen(header);
  for (const auto& row : rows) widen(row);

  const auto line = [&](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(width[c] - DisplayWidth(row[c]), ' ');
      if (c > 0) text += "  ";
      text += align[c] == Align::kRight ? pad + row[c] : row[c] + pad;
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
  };
  const bool colour = UseColour();
  std::string out = colour ? Str("\x1b[1m", line(header), "\x1b[0m\n") : Str(line(header), "\n");
  for (const auto& row : rows) out += line(row) + "\n";
  return out;
}

bool LocaleIsUtf8() {
  std::setlocale(LC_CTYPE, "");
  return std::string_view(nl_langinfo(CODESET)) == "UTF-8";
}

namespace {

// Characters that take a column; colour codes take none.
std::size_t Columns(std::string_view line) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = std::min(line.find('m', i), line.size());
    } else if ((static_cast<unsigned char>(line[i]) & 0xc0) != 0x80) {
      ++n;
    }
  }
  return n;
}

std::string ClipLine(std::string_view line, std::size_t width) {
  if (Columns(line) <= width) return std::string(line);
  std::string out;
  std::size_t column = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      while (i < line.size() && line[i] != 'm') out += line[i++];
      out += 'm';
      continue;
    }
    if ((static_cast<unsigned char>(line[i]) & 0xc0) != 0x80 && ++column == width) out += "…";
    if (column < width) out += line[i];
  }
  return out;
}

}  // namespace

std::string ClipLines(const std::string& text, std::size_t width) {
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    out += ClipLine(rest.substr(0, end), width);
    if (end < rest.size()) out += '\n';
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

std::string RenderCsv(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows) {
  const auto line = [](const std::vector<std::string>& row) {
    std::vector<std::string> fields;
    fields.reserve(row.size());
    for (const std::string& field : row) fields.push_back(CsvField(field));
    return Join(fields, ",") + "\n";
  };
  std::string out = line(header);
  for (const auto& row : rows) out += line(row);
  return out;
}

std::string MarkdownText(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\|`*<>[]").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string MarkdownCell(const std::string& text) {
  std::string out = MarkdownText(text);
  std::ranges::replace_if(
      out, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return out;
}

std::string Sparkline(const google::protobuf::RepeatedField<float>& values, std::size_t width) {
  static constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::vector<std::optional<double>> points;
  for (const float value : values) {
    points.push_back(std::isfinite(value) ? std::optional<double>(value) : std::nullopt);
  }
  if (points.size() > width) {
    // Thinned evenly; always keeps the newest point.
    std::vector<std::optional<double>> thinned;
    for (std::size_t i = 0; i < width; ++i) {
      thinned.push_back(points[(i + 1) * points.size() / width - 1]);
    }
    points = std::move(thinned);
  }
  double low = INFINITY;
  double high = -INFINITY;
  for (const auto& point : points) {
    if (!point) continue;
    low = std::min(low, *point);
    high = std::max(high, *point);
  }
  std::string out;
  for (const auto& point : points) {
    if (!point) {
      out += ' ';
    } else {
      const double unit = high > low ? (*point - low) / (high - low) : 0.0;
      out += kBars[static_cast<std::size_t>(std::lround(unit * 7.0))];
    }
  }
  return out;
}

std::string AxisName(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (IsPositionRange(value)) {
    const Json &from = value.at("from"), &to = value.at("to");
    return from == to ? CanonicalJson(from) : Str(CanonicalJson(from), "..", CanonicalJson(to));
  }
  if (!value.is_object() || !value.contains("method")) return CanonicalJson(value);
  std::vector<std::string> params;
  for (const auto& [name, param] : value.items()) {
    if (name != "method") params.push_back(name + "=" + AxisName(param));
  }
  std::string text = AxisName(value.at("method"));
  if (!params.empty()) text += Str("(", Join(params, ", "), ")");
  return text;
}

std::string AxisText(const Json& value) {
  return Str(AxisName(value), IsExperimental(value) ? " (experimental)" : "");
}

std::string ShortAxis(const std::string& axis) {
  // The file's `extend` is another axis, `extension`.
  if (axis == "train.extend") return axis;
  // The keys of a run from which a run starts are not its own.
  if (axis.starts_with("parent.") || axis.starts_with("init.run")) return axis;
  return axis.substr(axis.rfind('.') + 1);
}

std::string ShortId(const std::string& id) { return id.substr(0, 8); }

std::string Counted(std::int64_t n, std::string_view one, std::string_view many) {
  if (n == 1) return Str("1 ", one);
  return many.empty() ? Str(n, " ", one, "s") : Str(n, " ", many);
}

std::string DurationText(std::int64_t ms) { return ms > 0 ? FormatDurationMs(ms) : ""; }

std::string TimeRunText(const v1::SweepInfo& info) {
  return info.duration_is_partial() ? Str("at least ", FormatDurationMs(info.duration_ms()))
                                    : DurationText(info.duration_ms());
}

Json NumberOrNull(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

std::string RenderJson(const Json& json) { return json.dump(2) + "\n"; }

}  // namespace longrun::client
