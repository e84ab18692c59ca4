#include "client/tables/table_parts.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/str.h"
#include "base/units.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

std::string Fixed(double value, int digits) {
  char buffer[400];  // the largest double has 309 digits before the point
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, digits);
  return end.ec == std::errc() ? std::string(buffer, end.ptr) : Str(value);
}

// From here on a perplexity tells that it exploded: by how much, another processor says otherwise.
// With more digits it is "2.97000e+21".
constexpr double kScientificFrom = 1e6;
constexpr const char* kHuge = ">1e6";
constexpr int kScientificDigits = 2;

std::string Scientific(double value, int digits) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*e", digits, value);
  return buffer;
}

// Digits after the point that a table has room for.
int DigitsOf(const PivotTable& table, const PivotCell& cell) {
  const double size = std::abs(*cell.value);
  if (table.relative) return 3;
  if (cell.metric.is_nll() && cell.metric.is_log) return size < 100 ? 2 : size < 10'000 ? 1 : 0;
  if (cell.metric.is_nll()) return 4;
  // Five digits in all.
  if (size == 0.0 || !std::isfinite(size)) return 0;
  return std::clamp(4 - static_cast<int>(std::floor(std::log10(size))), 0, 8);
}

bool IsHuge(const PivotTable& table, const PivotCell& cell) {
  return cell.value && std::isfinite(*cell.value) && (table.relative || cell.metric.is_nll()) &&
         std::abs(*cell.value) >= kScientificFrom;
}

CellParts NumberParts(const PivotTable& table, const PivotCell& cell, int more_digits) {
  const int digits = DigitsOf(table, cell) + more_digits;
  const bool may_explode = table.relative || cell.metric.is_nll();
  const bool is_huge = IsHuge(table, cell);
  if (is_huge && more_digits == 0) return {.value = kHuge};
  const auto text = [&](double value) {
    const bool scientific =
        std::isfinite(value) && (is_huge || (may_explode && std::abs(value) >= kScientificFrom));
    return scientific ? Scientific(value, kScientificDigits + more_digits) : Fixed(value, digits);
  };
  CellParts parts;
  parts.value = text(*cell.value);
  if (cell.se && std::isfinite(*cell.se)) parts.error = text(*cell.se);
  return parts;
}

// The parts of the evaluation's axis that its name does not say already.
std::string NotIn(const std::string& name, const std::string& evaluation) {
  std::vector<std::string> parts;
  for (const std::string& part : Split(evaluation, ',')) {
    const std::string_view trimmed = Trim(part);
    if (name.find(trimmed) == std::string::npos) parts.emplace_back(trimmed);
  }
  return Join(parts, ", ");
}

// "train_length" -> "train length"
std::string Words(std::string name) {
  std::ranges::replace(name, '_', ' ');
  return name;
}

// "train_length" -> "train", "train.optimizer.lr" -> "lr"
std::string WithoutLength(const std::string& axis) {
  std::string name = Words(ShortAxis(axis));
  constexpr std::string_view kLength = " length";
  if (name.ends_with(kLength)) name.resize(name.size() - kLength.size());
  return name;
}

}  // namespace

std::string ColumnHead(const PivotTable& table, std::size_t column) {
  std::vector<std::string> values;
  const std::vector<Json>& here = table.columns.at(column);
  for (std::size_t a = 0; a < here.size(); ++a) {
    const std::string text = here[a].is_null() ? "–" : AxisText(here[a]);
    // A number does not say of what it is.
    const bool is_named = here.size() > 1 && !here[a].is_string() && !here[a].is_object();
    values.push_back(is_named ? Str(WithoutLength(table.col_axes.at(a)), " ", text) : text);
  }
  return Join(values, " / ");
}

std::string TableTitle(const PivotTable& table) {
  std::vector<std::string> across;
  for (const std::string& axis : table.col_axes) across.push_back(Words(ShortAxis(axis)));
  std::vector<std::string> fixed;
  for (const auto& [axis, value] : table.fixed) {
    if (value.is_null()) continue;  // as the split of what reads no text
    const bool speaks =
        axis == "split" || axis == "protocol" || axis == "dataset" || axis == "variant";
    if (axis == "protocol" && !table.protocol.empty()) {
      fixed.push_back(table.protocol);
      continue;
    }
    if (axis == "evaluation") {
      const std::string rest = NotIn(table.protocol, AxisText(value));
      if (!rest.empty()) fixed.push_back(rest);
      continue;
    }
    fixed.push_back(speaks ? AxisText(value) : Str(Words(ShortAxis(axis)), " ", AxisText(value)));
  }
  std::vector<std::string> metrics;
  for (const ResultMetric& metric : table.metrics) metrics.push_back(metric.words());
  std::string title = Join(metrics, ", ");
  if (table.relative) title += " relative to the train length,";
  title += Str(" by ", Join(across, ", "));
  if (!fixed.empty()) title += Str(" (", Join(fixed, ", "), ")");
  return title;
}

std::string ErrorLegend(const PivotTable& table) {
  bool over_seeds = false;
  bool own = false;
  bool is_beyond = false;
  bool has_value = false;
  bool has_baseline_error = false;
  for (const PivotRow& row : table.rows) {
    for (const PivotCell& cell : row.cells) {
      is_beyond = is_beyond || cell.status == kOverflow;
      has_value = has_value || cell.value.has_value();
      has_baseline_error = has_baseline_error || (!row.baseline.empty() && cell.se);
      if (!row.baseline.empty() || !cell.se) continue;
      (cell.se_is_over_seeds ? over_seeds : own) = true;
    }
  }
  if (has_value && !over_seeds && !own && !is_beyond) return "";  // as of a throughput
  std::string legend = "± standard error";
  if (over_seeds) legend += own ? " (over seeds where there are several)" : " over seeds";
  if (over_seeds && !own && has_baseline_error) legend += " (of a baseline: over the text)";
  const bool is_share = std::ranges::any_of(table.metrics, &ResultMetric::is_share);
  if (own && is_share && !table.relative) legend += " (of a share: Wilson's 95 % interval / 3.92)";
  if (own && table.relative) legend += " (at most: as if the two errors were independent)";
  if (is_beyond) legend += "; inf: too large for a number, the metric nll has it";
  return legend;
}

std::string CellLegend(const PivotTable& table) {
  const bool any_huge = std::ranges::any_of(table.rows, [&](const PivotRow& row) {
    return std::ranges::any_of(row.cells,
                               [&](const PivotCell& cell) { return IsHuge(table, cell); });
  });
  std::string legend = ErrorLegend(table);
  if (!any_huge) return legend;
  return Str(legend, legend.empty() ? "" : "; ", kHuge, ": the number is in -o wide");
}

std::vector<std::string> RowHead(const PivotTable& table, const PivotRow& row) {
  std::vector<std::string> head;
  for (const Json& value : row.key) head.push_back(value.is_null() ? "" : AxisText(value));
  if (row.baseline.empty() || head.empty()) return head;
  const bool is_dataset = table.row_axes.front() == "dataset";
  head.front() = is_dataset ? Str(row.baseline, " (", row.dataset, ")") : row.baseline;
  return head;
}

CellParts PartsOf(const PivotTable& table, const PivotCell& cell, int more_digits) {
  CellParts parts;
  if (cell.status == "not_asked") return parts;
  if (!cell.value) {
    parts.note = cell.status == "missing" ? "–" : cell.status;
    return parts;
  }
  if (cell.metric.is_bytes() && !table.relative) {
    parts.value = FormatBytes(std::llround(*cell.value));
    if (cell.se) parts.error = FormatBytes(std::llround(*cell.se));
  } else {
    parts = NumberParts(table, cell, more_digits);
  }
  if (cell.n_ok < cell.n_wanted) {
    parts.note = Str(cell.n_ok, "/", cell.n_wanted);
    if (cell.status != "missing") parts.note += " " + cell.status;
  }
  return parts;
}

}  // namespace longrun::client
