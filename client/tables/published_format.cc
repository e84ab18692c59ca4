#include "client/tables/published_format.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "base/str.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr int kRatioDigits = 3;
constexpr int kDifferenceDigits = 4;
constexpr double kHugeFrom = 1e6;

std::string Fixed(double value, int digits) {
  char buffer[400];  // the largest double has 309 digits before the point
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, digits);
  return std::string(buffer, end.ptr);
}

// As many digits after the point as the published number with the most has: 18.40 beside 18.41.
int DigitsOfTheirs(const PublishedComparison& comparison) {
  std::size_t digits = 0;
  for (const PublishedLine& line : comparison.lines) {
    const std::string text = Str(line.theirs);
    const std::size_t point = text.find('.');
    if (point == std::string::npos || text.find('e') != std::string::npos) continue;
    digits = std::max(digits, text.size() - point - 1);
  }
  return static_cast<int>(digits);
}

// With `digits` after the point, if that says it in full.
std::string TheirsText(double theirs, int digits) {
  const std::string text = Str(theirs);
  return text.find('e') == std::string::npos ? Fixed(theirs, digits) : text;
}

// "1.009±0.003*", "+0.0123"; "" without one of ours.
std::string DifferenceText(const PublishedComparison& comparison, const PublishedLine& line) {
  if (!line.difference) return "";
  const char* const mark = line.is_apart ? "*" : "";
  if (!std::isfinite(*line.difference) || std::abs(*line.difference) >= kHugeFrom) {
    return Str(*line.difference < 0.0 ? "<-1e6" : ">1e6", mark);
  }
  const int digits = comparison.is_ratio ? kRatioDigits : kDifferenceDigits;
  std::string text = Str(!comparison.is_ratio && *line.difference > 0.0 ? "+" : "",
                         Fixed(*line.difference, digits));
  if (line.difference95) {
    const double half = (line.difference95->second - line.difference95->first) / 2;
    if (std::isfinite(half)) StrAppend(text, Str("±", Fixed(half, digits)));
  }
  return text + mark;
}

const char* DifferenceHead(const PublishedComparison& comparison) {
  return comparison.is_ratio || comparison.n_measured == 0 ? "ours / theirs" : "ours - theirs";
}

std::string SettingText(const Json& value) {
  return value.is_string() ? value.get<std::string>() : CanonicalJson(value);
}

std::string OursText(const PublishedSetting& setting) {
  std::vector<std::string> texts;
  for (const Json& value : setting.ours) texts.push_back(SettingText(value));
  return Join(texts, " | ");
}

std::vector<std::string> Heads(const PublishedComparison& comparison) {
  std::vector<std::string> heads;
  for (const std::string& axis : comparison.published.axes) heads.push_back(ShortAxis(axis));
  heads.insert(heads.end(), {"context", "theirs", "ours", DifferenceHead(comparison)});
  return heads;
}

std::string Title(const PublishedComparison& comparison) {
  return Str(comparison.metric_words, ", published and ours: ", comparison.published.title);
}

// "3 of 46 published numbers have a counterpart in ours; 43 do not (–)"
std::string CountText(const PublishedComparison& comparison) {
  const std::size_t n = comparison.n_published, n_measured = comparison.n_measured;
  const std::size_t n_open = n - n_measured;
  std::string text =
      Str(n_measured, " of ", n, n == 1 ? " published number " : " published numbers ",
          n_measured == 1 ? "has" : "have", " a counterpart in ours");
  if (n_open > 0) StrAppend(text, Str("; ", n_open, n_open == 1 ? " does" : " do", " not"));
  if (!comparison.lacking.empty()) {
    StrAppend(text, Str(": the sweep has no ", Join(comparison.lacking, ", no ")));
  } else if (std::ranges::all_of(comparison.lines,
                                 [](const PublishedLine& line) { return line.runs.empty(); })) {
    StrAppend(text, Str(": no run of the sweep has the published values of ",
                        Join(comparison.published.axes, ", "),
                        " and a result at the published context_length"));
  }
  return text;
}

bool HasApart(const PublishedComparison& comparison) {
  return std::ranges::any_of(comparison.lines, &PublishedLine::is_apart);
}

std::string Legend(const PublishedComparison& comparison, const char* mark) {
  std::vector<std::string> parts;
  const auto has_interval = [](const PublishedLine& line) { return line.ours95.has_value(); };
  if (std::ranges::any_of(comparison.lines, has_interval)) {
    parts.push_back(Str("our numbers: ", comparison.error_legend));
  }
  if (HasApart(comparison)) {
    parts.push_back(
        Str(mark, " the published number is outside our 95 % interval for all known errors"));
  }
  if (comparison.published.reading_error > 0.0) {
    parts.push_back(Str("the published numbers were read from a figure, with errors of up to ",
                        comparison.published.reading_error));
  }
  return Join(parts, "   ");
}

std::string NamesOf(const std::vector<PublishedSetting>& settings) {
  std::vector<std::string> names;
  names.reserve(settings.size());
  for (const PublishedSetting& setting : settings) names.push_back(setting.key);
  return Join(names, ", ");
}

std::vector<std::vector<std::string>> SettingRows(const PublishedComparison& comparison) {
  std::vector<std::vector<std::string>> rows;
  for (const PublishedSetting& one : comparison.differing) {
    rows.push_back({one.key, SettingText(one.theirs), OursText(one)});
  }
  for (const PublishedSetting& one : comparison.absent) {
    rows.push_back({one.key, SettingText(one.theirs), "–"});
  }
  return rows;
}

// What the table of settings says, in words, after or instead of it.
std::string SettingsNote(const PublishedComparison& comparison, std::string_view separator) {
  if (comparison.published.settings.empty()) return "the published table names no settings";
  std::vector<std::string> parts;
  if (!comparison.absent.empty()) parts.emplace_back("–: the sweep has no such setting");
  parts.push_back(comparison.equal.empty()
                      ? "no setting agrees"
                      : Str("settings that agree: ", NamesOf(comparison.equal)));
  return Join(parts, separator);
}

std::string Text(const PublishedComparison& comparison) {
  const PublishedTable& published = comparison.published;
  const int digits = DigitsOfTheirs(comparison);
  std::vector<Align> align(published.axes.size(), Align::kLeft);
  align.resize(published.axes.size() + 4, Align::kRight);
  std::vector<std::vector<std::string>> rows;
  for (const PublishedLine& line : comparison.lines) {
    std::vector<std::string> row = line.at;
    row.insert(row.end(), {Str(line.context_length), TheirsText(line.theirs, digits),
                           line.ours_text, DifferenceText(comparison, line)});
    rows.push_back(std::move(row));
  }
  std::string out = Str(Title(comparison), "\n", RenderColumns(Heads(comparison), align, rows),
                        CountText(comparison), "\n");
  if (const std::string legend = Legend(comparison, "*"); !legend.empty()) out += legend + "\n";
  const std::vector<std::vector<std::string>> settings = SettingRows(comparison);
  out += settings.empty() ? "\nno setting differs\n" : "\nsettings that differ\n";
  if (!settings.empty()) {
    out += RenderColumns({"setting", "theirs", "ours"}, {Align::kLeft, Align::kLeft, Align::kLeft},
                         settings);
  }
  out += SettingsNote(comparison, "\n") + "\n";
  out += Str("\nsource: ", published.source, "\n");
  if (!comparison.ours_title.empty()) out += Str("ours: ", comparison.ours_title, "\n");
  if (!published.notes.empty()) out += Str("notes: ", published.notes, "\n");
  return out;
}

std::string MarkdownLine(std::vector<std::string> fields) {
  for (std::string& field : fields) field = MarkdownCell(field);
  return Str("| ", Join(fields, " | "), " |\n");
}

std::string Markdown(const PublishedComparison& comparison) {
  const PublishedTable& published = comparison.published;
  const int digits = DigitsOfTheirs(comparison);
  std::vector<std::string> rule(published.axes.size(), "---");
  rule.resize(published.axes.size() + 4, "---:");
  std::string out = Str("**", MarkdownText(Title(comparison)), "**\n\n",
                        MarkdownLine(Heads(comparison)), MarkdownLine(rule));
  for (const PublishedLine& line : comparison.lines) {
    std::vector<std::string> row = line.at;
    row.insert(row.end(), {Str(line.context_length), TheirsText(line.theirs, digits),
                           line.ours_text, DifferenceText(comparison, line)});
    out += MarkdownLine(std::move(row));
  }
  out += Str("\n", MarkdownText(CountText(comparison)), "\n");
  if (const std::string legend = Legend(comparison, "*"); !legend.empty()) {
    out += Str("\n", MarkdownText(legend), "\n");
  }
  if (const auto settings = SettingRows(comparison); !settings.empty()) {
    out += Str("\n", MarkdownLine({"setting that differs", "theirs", "ours"}),
               MarkdownLine({"---", "---", "---"}));
    for (const std::vector<std::string>& row : settings) out += MarkdownLine(row);
  }
  out += Str("\n", MarkdownText(SettingsNote(comparison, "\n\n")),
             "\n\nSource: ", MarkdownText(published.source), "\n");
  if (!comparison.ours_title.empty()) {
    out += Str("\nOurs: ", MarkdownText(comparison.ours_title), "\n");
  }
  if (!published.notes.empty()) out += Str("\n", MarkdownText(published.notes), "\n");
  return out;
}

Json IntervalJson(const std::optional<std::pair<double, double>>& interval) {
  if (!interval) return nullptr;
  return Json::array({NumberOrNull(interval->first), NumberOrNull(interval->second)});
}

// "64" as the number that it is.
Json AxisJson(const std::string& text) {
  const Result<Json> json = ParseJson(text);
  return json.ok() && json->is_number() ? *json : Json(text);
}

Json LineJson(const PublishedComparison& comparison, const PublishedLine& line) {
  Json json = {{"context_length", line.context_length},
               {"theirs", line.theirs},
               {"ours", NumberOrNull(line.ours)},
               {"ours_ci95", IntervalJson(line.ours95)},
               {"status", line.status},
               {"difference", NumberOrNull(line.difference)},
               {"difference_ci95", IntervalJson(line.difference95)},
               {"apart", line.is_apart},
               {"runs", line.runs}};
  for (std::size_t a = 0; a < line.at.size(); ++a) {
    json[comparison.published.axes[a]] = AxisJson(line.at[a]);
  }
  return json;
}

Json SettingsJson(const std::vector<PublishedSetting>& settings) {
  Json list = Json::array();
  for (const PublishedSetting& one : settings) {
    list.push_back({{"key", one.key}, {"theirs", one.theirs}, {"ours", one.ours}});
  }
  return list;
}

std::string AsJson(const PublishedComparison& comparison) {
  const PublishedTable& published = comparison.published;
  Json values = Json::array();
  for (const PublishedLine& line : comparison.lines) values.push_back(LineJson(comparison, line));
  const char* const scale = comparison.is_ratio ? "ratio" : "difference";
  return RenderJson({{"published",
                      {{"name", published.name},
                       {"title", published.title},
                       {"source", published.source},
                       {"notes", published.notes.empty() ? Json() : Json(published.notes)},
                       {"reading_error", published.reading_error}}},
                     {"metric", published.metric},
                     {"axes", published.axes},
                     {"scale", comparison.n_measured == 0 ? Json() : Json(scale)},
                     {"values", std::move(values)},
                     {"of", comparison.n_published},
                     {"measured", comparison.n_measured},
                     {"lacking", comparison.lacking},
                     {"settings",
                      {{"differing", SettingsJson(comparison.differing)},
                       {"absent", SettingsJson(comparison.absent)},
                       {"equal", SettingsJson(comparison.equal)}}}});
}

std::string Number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Str(*value) : std::string();
}

// A line for each number. The settings are in JSON, and in the forms for people.
std::string Csv(const PublishedComparison& comparison) {
  std::vector<std::string> header = comparison.published.axes;
  header.insert(header.end(), {"context_length", "metric", "theirs", "ours", "ci95_low",
                               "ci95_high", "status", "scale", "difference", "difference_ci95_low",
                               "difference_ci95_high", "apart", "runs", "published"});
  std::vector<std::vector<std::string>> rows;
  for (const PublishedLine& line : comparison.lines) {
    const auto low = [](const auto& interval) {
      return interval ? Number(interval->first) : std::string();
    };
    const auto high = [](const auto& interval) {
      return interval ? Number(interval->second) : std::string();
    };
    const std::string scale = comparison.is_ratio ? "ratio" : "difference";
    std::vector<std::string> row = line.at;
    row.insert(row.end(),
               {Str(line.context_length), comparison.published.metric, Str(line.theirs),
                Number(line.ours), low(line.ours95), high(line.ours95), line.status,
                line.difference ? scale : "", Number(line.difference), low(line.difference95),
                high(line.difference95), line.difference95 ? (line.is_apart ? "1" : "0") : "",
                Join(line.runs, " "), comparison.published.name});
    rows.push_back(std::move(row));
  }
  return RenderCsv(header, rows);
}

struct Form {
  const char* name;
  std::string (*render)(const PublishedComparison& comparison);
};
constexpr Form kForms[] = {{"table", Text}, {"markdown", Markdown}, {"json", AsJson}, {"csv", Csv}};

}  // namespace

std::vector<std::string> PublishedFormatNames() {
  std::vector<std::string> names;
  for (const Form& form : kForms) names.emplace_back(form.name);
  return names;
}

Status CheckPublishedFormat(const std::string& name) {
  const std::vector<std::string> names = PublishedFormatNames();
  if (std::ranges::find(names, name) != names.end()) return {};
  return {
      Code::kInvalidArgument,
      Str("-o ", name,
          " cannot be used with --published: comparisons with published numbers have the forms ",
          Join(names, ", "))};
}

std::string RenderPublished(const PublishedComparison& comparison, const std::string& name) {
  for (const Form& form : kForms) {
    if (form.name == name) return form.render(comparison);
  }
  LR_CHECK(false);
}

}  // namespace longrun::client
