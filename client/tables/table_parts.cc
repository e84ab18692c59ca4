#include "client/tables/table_parts.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <string_view>

#include "base/str.h"
#include "base/units.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/pivot_evaluations.h"
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
  if (IsRatio(table, cell)) return 3;
  if (cell.metric.is_nll() && cell.metric.is_log) return size < 100 ? 2 : size < 10'000 ? 1 : 0;
  if (cell.metric.is_nll()) return 4;
  if (IsShare(table, cell)) return 4;
  // Five digits in all.
  if (size == 0.0 || !std::isfinite(size)) return 0;
  return std::clamp(4 - static_cast<int>(std::floor(std::log10(size))), 0, 8);
}

bool IsHuge(const PivotTable& table, const PivotCell& cell) {
  return cell.value && std::isfinite(*cell.value) &&
         (IsRatio(table, cell) || cell.metric.is_nll()) && std::abs(*cell.value) >= kScientificFrom;
}

// The text of a number and of its errors.
using NumberText = std::function<std::string(double)>;

NumberText NumberTextOf(const PivotTable& table, const PivotCell& cell, int more_digits) {
  if (cell.metric.is_bytes() && !IsRatio(table, cell)) {
    return [](double value) { return FormatBytes(std::llround(value)); };
  }
  const int digits = DigitsOf(table, cell) + more_digits;
  const bool may_explode = IsRatio(table, cell) || cell.metric.is_nll();
  const bool is_huge = IsHuge(table, cell);
  return [=](double value) {
    const bool scientific =
        std::isfinite(value) && (is_huge || (may_explode && std::abs(value) >= kScientificFrom));
    return scientific ? Scientific(value, kScientificDigits + more_digits) : Fixed(value, digits);
  };
}

bool HasFewClusters(const PivotCell& cell) {
  return cell.n_clusters && *cell.n_clusters < kFewClusters;
}

// From this half of a logarithm's interval on, a table shows the interval's ends, here 0.78 x and
// 1.28 x. ± half of it would be clearly wrong, and could reach below 1, or below 0.
constexpr double kWideFrom = 0.25;

// A number that cannot be negative, averaged as it is: a speed or a size. Its interval is that of
// its logarithm, by the delta method, so that no end is negative.
bool IsPositive(const PivotTable& table, const PivotCell& cell) {
  const bool compares = table.relative || !table.against.empty();
  return !compares && (cell.metric.is_speed() || cell.metric.is_bytes()) && cell.estimate.x > 0.0;
}

// Whether the ends of the interval are shown instead of its half.
bool ShowsEnds(const PivotTable& table, const PivotCell& cell, const ErrorPart& part) {
  const std::optional<double> half = part.half95();
  if (IsShare(table, cell)) return true;
  if (!half) return false;
  if (IsPositive(table, cell)) return *half >= kWideFrom * cell.estimate.x;
  return IsLog(table, cell) && *half >= kWideFrom;
}

std::optional<std::pair<double, double>> IntervalOf(const PivotTable& table, const PivotCell& cell,
                                                    const ErrorPart& part) {
  const std::optional<double> half = part.half95();
  if (!half || !cell.value) return std::nullopt;
  if (IsPositive(table, cell)) {
    const double factor = std::exp(*half / cell.estimate.x);
    return std::pair(cell.estimate.x / factor, cell.estimate.x * factor);
  }
  const double low = cell.estimate.x - *half, high = cell.estimate.x + *half;
  if (IsShare(table, cell)) {
    return part.ends95 ? *part.ends95 : std::pair(std::max(0.0, low), std::min(1.0, high));
  }
  // A probability is at most 1, so no loss is negative and no perplexity less than 1: with few
  // seeds, the interval by Student's t can be too wide to know.
  const bool is_loss = cell.metric.is_nll() && !table.relative && table.against.empty();
  const double from = is_loss ? std::max(0.0, low) : low;
  if (!IsLog(table, cell)) return std::pair(from, high);
  return std::pair(std::exp(from), std::exp(high));
}

const char* MarkOf(ErrorSource source) {
  if (source == ErrorSource::kSeeds) return "s";
  return source == ErrorSource::kText ? "t" : "";
}

void AddErrors(const PivotTable& table, const PivotCell& cell, const NumberText& text,
               bool with_both, CellParts& parts) {
  const auto add = [&](const ErrorPart& part, ErrorSource source) {
    const std::optional<double> half = OnValueScale(table, cell, part.half95());
    if (!half || !std::isfinite(*half)) return;
    const bool has_text = source != ErrorSource::kSeeds;
    const std::string marks = Str(table.errors_are_mixed || with_both ? MarkOf(source) : "",
                                  has_text && HasFewClusters(cell) ? "°" : "");
    if (ShowsEnds(table, cell, part)) {
      const auto interval = IntervalOf(table, cell, part);
      parts.intervals.push_back(Str(text(interval->first), "–", text(interval->second), marks));
    } else {
      parts.errors.push_back(Str(text(*half), marks));
    }
  };
  if (!with_both) {
    add(cell.error.part, cell.error.source);
    return;
  }
  add(cell.estimate.seeds, ErrorSource::kSeeds);
  add(cell.estimate.text, ErrorSource::kText);
}

// What the errors of some cells are over.
struct ErrorSources {
  bool seeds = false, text = false, both = false;

  void Add(ErrorSource source) {
    seeds = seeds || source == ErrorSource::kSeeds;
    text = text || source == ErrorSource::kText;
    both = both || source == ErrorSource::kBoth;
  }
  // "± 95 % interval, s over seeds, t over the text"; "" without any error.
  std::string Legend(std::string_view sign, std::string_view text_words, bool has_marks) const {
    if (both) {
      std::string legend = Str(sign, " 95 % interval over seeds and ", text_words);
      if (!has_marks && (seeds || text)) return legend + ", where both errors are known";
      if (seeds) legend += ", s only over seeds";
      if (text) legend += Str(", t only over ", text_words);
      return legend;
    }
    if (seeds && text && has_marks) {
      return Str(sign, " 95 % interval, s over seeds, t over ", text_words);
    }
    if (seeds && text) {
      return Str(sign, " 95 % interval over seeds or over ", text_words, ", whichever is wider");
    }
    if (!seeds && !text) return "";
    return Str(sign, " 95 % interval over ", seeds ? "seeds" : text_words);
  }
};

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

// A value on an axis of the table.
std::string TextOn(const PivotTable& table, const std::string& axis, const Json& value) {
  if (axis == "depth" && value.is_number()) {
    const auto text = table.depth_texts.find(value.get<double>());
    if (text != table.depth_texts.end()) return text->second;
  }
  return AxisText(value);
}

}  // namespace

std::string ColumnHead(const PivotTable& table, std::size_t column) {
  std::vector<std::string> values;
  const std::vector<Json>& here = table.columns.at(column);
  for (std::size_t a = 0; a < here.size(); ++a) {
    const std::string text = here[a].is_null() ? "–" : TextOn(table, table.col_axes.at(a), here[a]);
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
    const bool speaks = axis == "split" || axis == "protocol" || axis == "dataset" ||
                        axis == "variant" || axis == kEvaluatedDatasetAxis;
    if (axis == "protocol" && !table.protocol.empty()) {
      fixed.push_back(table.protocol);
      continue;
    }
    if (axis == "evaluation") {
      const std::string rest = RestOfEvaluation(table.protocol, AxisText(value));
      if (!rest.empty()) fixed.push_back(rest);
      continue;
    }
    const std::string text = TextOn(table, axis, value);
    fixed.push_back(speaks ? text : Str(Words(ShortAxis(axis)), " ", text));
  }
  std::vector<std::string> metrics;
  for (const ResultMetric& metric : table.metrics) metrics.push_back(metric.words());
  std::string title = Join(metrics, ", ");
  if (table.relative) title += " relative to the train length,";
  if (!table.against.empty()) title += Str(" against ", table.against, ",");
  title += Str(" by ", Join(across, ", "));
  if (!fixed.empty()) title += Str(" (", Join(fixed, ", "), ")");
  return title;
}

std::vector<std::string> ReasonNotes(const PivotTable& table) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> notes;
  for (const PivotRow& row : table.rows) {
    for (const PivotCell& cell : row.cells) {
      if (cell.reason.empty()) continue;
      std::string note = Str(cell.status, ": ", cell.reason);
      if (std::ranges::find(notes, note) == notes.end()) notes.push_back(std::move(note));
    }
  }
  if (notes.size() <= kShown) return notes;
  const std::size_t n_more = notes.size() - kShown;
  notes.resize(kShown);
  notes.push_back(Str("and ", n_more, n_more == 1 ? " more reason" : " more reasons",
                      ": `longrun query \"SELECT DISTINCT json_extract(extra, '$.reason') FROM "
                      "results\"` lists them"));
  return notes;
}

std::string PromptsNote(const PivotTable& table) {
  constexpr double kDifference = 0.1;  // of the context length
  std::map<std::int64_t, std::int64_t> longest;
  bool differs = false;
  for (const PivotRow& row : table.rows) {
    for (const PivotCell& cell : row.cells) {
      if (cell.longest_prompt == 0 || cell.context_length == 0) continue;
      std::int64_t& tokens = longest[cell.context_length];
      tokens = std::max(tokens, cell.longest_prompt);
      const auto length = static_cast<double>(cell.context_length);
      const double difference = static_cast<double>(cell.longest_prompt) - length;
      differs = differs || std::abs(difference) > kDifference * length;
    }
  }
  if (!differs) return "";
  std::vector<std::string> parts;
  for (const auto& [length, tokens] : longest) {
    parts.push_back(Str(tokens, " at context length ", length));
  }
  return Str("tokens of the longest prompt: ", Join(parts, ", "));
}

std::vector<std::string> RowName(const PivotTable& table, const PivotRow& row) {
  if (!row.baseline.empty()) return {row.baseline};
  std::vector<std::string> parts;
  for (std::size_t a = 0; a < table.row_axes.size(); ++a) {
    const bool varies = std::ranges::any_of(table.rows, [&](const PivotRow& other) {
      return other.baseline.empty() && other.key[a] != row.key[a];
    });
    if (!varies || row.key[a].is_null()) continue;
    const std::string text = TextOn(table, table.row_axes[a], row.key[a]);
    parts.push_back(row.key[a].is_number() ? Str(Words(ShortAxis(table.row_axes[a])), " ", text)
                                           : text);
  }
  const auto first =
      std::ranges::find_if(row.key, [](const Json& value) { return !value.is_null(); });
  if (parts.empty() && first != row.key.end()) {
    const auto a = static_cast<std::size_t>(first - row.key.begin());
    parts.push_back(TextOn(table, table.row_axes[a], *first));
  }
  return parts;
}

namespace {

std::string SomeKeys(std::vector<std::string> names) {
  constexpr std::ptrdiff_t kShown = 6;
  if (std::ssize(names) <= kShown) return Join(names, ", ");
  const std::ptrdiff_t n_more = std::ssize(names) - kShown;
  names.resize(kShown);
  return Str(Join(names, ", "), " and ", n_more, n_more == 1 ? " more key" : " more keys");
}

// Why no run with the value of `against` is the same as that of a cell, and what to do about it.
// `differing`: the keys in which runs differ, for each kind of cell.
std::string NoReferenceText(const PivotTable& table,
                            const std::set<std::vector<std::string>>& differing) {
  if (differing.empty()) return "";
  constexpr std::size_t kShown = 3;
  std::vector<std::string> kinds;
  for (const std::vector<std::string>& keys : differing) {
    if (kinds.size() == kShown) break;
    kinds.push_back(Str(SomeKeys(keys), keys.size() == 1 ? " differs" : " differ"));
  }
  const std::size_t n_more = differing.size() - kinds.size();
  std::string text =
      Str(" from a run that is otherwise the same: ", Join(kinds, "; for other cells, "),
          n_more > 0 ? "; and for others, other keys" : "");
  const std::vector<std::string>& first = *differing.begin();
  if (table.against.starts_with("sweep=") && differing.size() == 1 && first.size() == 1 &&
      first.front() != "dataset") {
    text += Str(" (`--against ", first.front(), "=VALUE` compares its values)");
  }
  return text;
}

// `is_band`: of a plot, which has no room for marks.
std::string LegendOf(const PivotTable& table, bool with_both, bool is_band) {
  ErrorSources of_shares, of_others;
  bool is_unpaired = false, has_few = false, has_windows = false, is_beyond = false;
  bool has_ends = false, joins_errors = false;
  std::set<std::vector<std::string>> differing;
  bool is_of_none = false, is_of_zero = false, hid_one_at_a_time = false, has_other_seeds = false;
  for (const PivotRow& row : table.rows) {
    for (const PivotCell& cell : row.cells) {
      is_beyond = is_beyond || cell.status == kOverflow;
      hid_one_at_a_time = hid_one_at_a_time || cell.hid_one_at_a_time;
      is_of_none = is_of_none || cell.status == kNoReference;
      // `p`: it is not the reference itself.
      has_other_seeds = has_other_seeds || (cell.p && cell.n_seeds_matched == 0);
      if (!cell.keys_that_differ.empty()) differing.insert(cell.keys_that_differ);
      is_of_zero = is_of_zero || cell.status == kZeroReference;
      if (!cell.se) continue;
      const Estimate& estimate = cell.estimate;
      ErrorSources& sources = IsShare(table, cell) ? of_shares : of_others;
      const auto ends = Interval95(table, cell);
      is_beyond = is_beyond || (ends && !std::isfinite(ends->second));
      has_ends = has_ends || (!IsShare(table, cell) && ShowsEnds(table, cell, cell.error.part));
      const bool shows_text = with_both || cell.error.source != ErrorSource::kSeeds;
      if (!with_both) {
        sources.Add(cell.error.source);
      } else {
        if (estimate.seeds.se) sources.Add(ErrorSource::kSeeds);
        if (estimate.text.se) sources.Add(ErrorSource::kText);
      }
      if (!estimate.text.se) continue;
      joins_errors = joins_errors || (with_both && cell.error.source == ErrorSource::kBoth);
      is_unpaired = is_unpaired || (!cell.is_text_paired && *estimate.text.se > 0.0);
      has_few = has_few || (shows_text && HasFewClusters(cell));
      has_windows = has_windows || cell.clusters == TextClusters::kWindows;
    }
  }
  std::vector<std::string> parts;
  const bool compares_shares = std::ranges::any_of(table.metrics, &ResultMetric::is_share) &&
                               (table.relative || !table.against.empty());
  constexpr std::string_view kQuestions = "the questions (Wilson)";
  for (const std::string& legend :
       {of_others.Legend(has_ends && !is_band ? "± or ( )" : "±",
                         compares_shares ? kQuestions : "the text", !is_band),
        of_shares.Legend(is_band ? "±" : "( )", kQuestions, !is_band)}) {
    if (!legend.empty()) parts.push_back(legend);
  }
  const bool compares = table.relative || !table.against.empty();
  if (compares && (of_others.text || of_others.both) && is_unpaired) {
    parts.back() += " (an upper bound: the two errors are treated as independent)";
  }
  if (!table.against.empty() && joins_errors && !is_band) {
    parts.emplace_back("the test of * joins both errors");
  }
  if (has_few) {
    parts.push_back(Str(is_band ? "of some points " : "° ", "fewer than ", kFewClusters,
                        " blocks of text: uncertain"));
  }
  if (has_windows) {
    parts.emplace_back(
        "the error over the text of rows from older versions is too small: it counts windows as "
        "independent");
  }
  if (hid_one_at_a_time) {
    parts.emplace_back(
        "no window had two scored tokens, so pll_approximate hid one token at a time, as pll does; "
        "to hide several, raise score_tokens");
  }
  if (has_other_seeds && !table.against.empty() && !table.against.starts_with("seed=")) {
    parts.emplace_back(
        "some cells share no seed with their reference: the difference may come from the seeds");
  }
  if (is_of_none) {
    parts.push_back(Str(kNoReference, ": there is no number ",
                        table.relative ? "at the train length" : Str("of ", table.against),
                        NoReferenceText(table, differing)));
  }
  if (is_of_zero) {
    parts.push_back(Str(kZeroReference, ": the value at the train length is 0, and nothing can be ",
                        "divided by 0; without --relative the table shows the values"));
  }
  std::set<std::string> hidden(table.hidden_keys.begin(), table.hidden_keys.end());
  for (const std::vector<std::string>& keys : differing) {
    for (const std::string& key : keys) hidden.erase(key);  // it is named above
  }
  if (!hidden.empty() && !is_band) {
    parts.push_back(Str("the runs also differ in ", SomeKeys({hidden.begin(), hidden.end()}),
                        ": `--rows` and `--cols` take any key as an axis"));
  }
  if (!table.unknown_ancestors.empty() && !is_band) {
    parts.push_back(Str("the coordinator does not know the runs ",
                        SomeKeys({table.unknown_ancestors.begin(), table.unknown_ancestors.end()}),
                        ", so runs that start from them are not combined as seeds"));
  }
  if (is_beyond) parts.emplace_back("inf: too large to represent; `--metric nll` shows it");
  return Join(parts, "; ");
}

}  // namespace

std::string ErrorLegend(const PivotTable& table, bool with_both) {
  return LegendOf(table, with_both, /*is_band=*/false);
}

std::string BandLegend(const PivotTable& table) {
  return LegendOf(table, /*with_both=*/false, /*is_band=*/true);
}

bool HasMarks(const PivotTable& table) {
  return std::ranges::any_of(table.rows, [&](const PivotRow& row) {
    return std::ranges::any_of(row.cells,
                               [&](const PivotCell& cell) { return IsMarked(table, cell); });
  });
}

std::vector<std::string> MarksLegend(const PivotTable& table, const LegendMarks& marks,
                                     const std::string& errors) {
  const auto is_in_brackets = [&](const PivotCell& cell) {
    if (!cell.at_train_length) return false;
    const CellParts parts = PartsOf(table, cell);
    return !parts.value.empty() || !parts.note.empty();
  };
  const bool has_brackets = std::ranges::any_of(table.rows, [&](const PivotRow& row) {
    return std::ranges::any_of(row.cells, is_in_brackets);
  });
  const std::string window = WindowLegend(table), no_window = NoWindowLegend(table);
  std::vector<std::string> legend;
  if (has_brackets) legend.push_back(Str(marks.train_length, "train length"));
  if (HasMarks(table)) legend.push_back(Str(marks.marked, MarkLegend(table)));
  if (!window.empty()) legend.push_back(Str(marks.window, window));
  if (!no_window.empty()) legend.push_back(Str("? ", no_window));
  if (!errors.empty()) legend.push_back(errors);
  return legend;
}

std::string MarkLegend(const PivotTable& table) {
  if (!table.against.empty()) {
    return Str("differs from ", table.against, " (paired, 5 %, corrected for the number of tests)");
  }
  const bool has_tests = std::ranges::any_of(table.rows, [](const PivotRow& row) {
    return std::ranges::any_of(row.cells,
                               [](const PivotCell& cell) { return cell.p_best.has_value(); });
  });
  return Str("best ", table.best_of, has_tests ? ", or not separable from it" : "");
}

std::string FewSeedsNote(const PivotTable& table) {
  std::optional<FewSeeds> few;
  for (const PivotRow& row : table.rows) {
    for (const PivotCell& cell : row.cells) {
      const bool is_fewer =
          cell.few_seeds && (!few || cell.few_seeds->errors_needed() > few->errors_needed());
      if (is_fewer) few = cell.few_seeds;
    }
  }
  if (!few) return "";
  const FewSeeds enough = few->Enough();
  std::string df = Fixed(few->df(), 1);
  if (df.ends_with(".0")) df.resize(df.size() - 2);
  std::string correction;
  if (few->n_tests > 1) {
    const char* const tests = table.against.empty() ? " pairs" : " tests";
    correction = few->n_differ == 0
                     ? Str(", corrected for ", few->n_tests, tests)
                     : Str(", corrected for ", few->n_tests, " of ", few->n_tests + few->n_differ,
                           tests, ", since ", few->n_differ, few->n_differ == 1 ? " was" : " were",
                           " found to differ");
  }
  return Str("with ", few->n_seeds,
             " seeds, almost no difference can be detected: it would have to exceed ",
             Fixed(few->errors_needed(), 1), " standard errors over seeds (Student's t with ", df,
             df == "1" ? " degree" : " degrees", " of freedom", correction, "). With ",
             enough.n_seeds, " seeds, ", Fixed(enough.errors_needed(), 1), " are needed");
}

std::string Notes(const PivotTable& table) {
  const std::string prompts = PromptsNote(table), few_seeds = FewSeedsNote(table);
  return Str(prompts, prompts.empty() || few_seeds.empty() ? "" : "; ", few_seeds);
}

namespace {

std::string PlainWindow(const std::set<std::int64_t>& tokens) {
  return Str("a plain window of ", tokens.size() == 1
                                       ? Str(*tokens.begin(), " tokens")
                                       : std::string("as many tokens as the train length"));
}

}  // namespace

std::string WindowLegend(const PivotTable& table) {
  std::set<std::int64_t> tokens;
  bool has_bases = false;
  for (const PivotRow& row : table.rows) {
    for (const PivotCell& cell : row.cells) {
      if (cell.is_like_window) tokens.insert(cell.window_tokens);
      has_bases = has_bases || cell.is_window_of_base;
    }
  }
  if (tokens.empty()) return "";
  return Str(
      "not separable from ", PlainWindow(tokens), " (5 %, corrected for the number of tests)",
      has_bases ? "; the window of a run that was trained under an extension is its base's" : "");
}

std::string NoWindowLegend(const PivotTable& table) {
  std::set<std::int64_t> tokens;
  for (const PivotRow& row : table.rows) {
    for (const PivotCell& cell : row.cells) {
      if (cell.lacks_window) tokens.insert(cell.train_length);
    }
  }
  if (tokens.empty()) return "";
  return Str("not compared with ", PlainWindow(tokens), ", which was not measured");
}

bool IsMarked(const PivotTable& table, const PivotCell& cell) {
  return table.against.empty() ? cell.is_best : cell.p_holm && *cell.p_holm <= kTestLevel;
}

std::optional<double> OnValueScale(const PivotTable& table, const PivotCell& cell,
                                   const std::optional<double>& error) {
  if (!error || !cell.value) return std::nullopt;
  return IsLog(table, cell) ? *error * *cell.value : *error;
}

std::optional<std::pair<double, double>> Interval95(const PivotTable& table,
                                                    const PivotCell& cell) {
  return IntervalOf(table, cell, cell.error.part);
}

bool IsShare(const PivotTable& table, const PivotCell& cell) {
  return cell.metric.is_share() && !table.relative && table.against.empty();
}

bool IsLog(const PivotTable& table, const PivotCell& cell) {
  return table.against.empty() ? cell.metric.is_log : ComparesAsRatio(cell.metric);
}

bool IsRatio(const PivotTable& table, const PivotCell& cell) {
  return table.relative || (!table.against.empty() && ComparesAsRatio(cell.metric));
}

std::string ValueText(const CellParts& parts, std::string_view plus_minus) {
  std::string text = parts.value;
  for (const std::string& error : parts.errors) text += Str(plus_minus, error);
  if (!parts.intervals.empty()) text += Str(" (", Join(parts.intervals, ", "), ")");
  return text;
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
  for (std::size_t a = 0; a < row.key.size(); ++a) {
    const Json& value = row.key[a];
    head.push_back(value.is_null() ? "" : TextOn(table, table.row_axes.at(a), value));
  }
  if (row.baseline.empty() || head.empty()) return head;
  const bool is_dataset = table.row_axes.front() == "dataset";
  head.front() = is_dataset ? Str(row.baseline, " (", row.dataset, ")") : row.baseline;
  return head;
}

CellParts PartsOf(const PivotTable& table, const PivotCell& cell, int more_digits, bool with_both) {
  CellParts parts;
  if (cell.status == "not_asked") return parts;
  if (!cell.value) {
    parts.note = cell.status == "missing" ? "–" : cell.status;
    return parts;
  }
  if (IsHuge(table, cell) && more_digits == 0) {
    parts.value = kHuge;
  } else {
    const NumberText text = NumberTextOf(table, cell, more_digits);
    const bool is_difference = !table.against.empty() && !IsRatio(table, cell);
    parts.value = Str(is_difference && *cell.value > 0.0 ? "+" : "", text(*cell.value));
    AddErrors(table, cell, text, with_both, parts);
  }
  if (cell.n_ok < cell.n_wanted) {
    parts.note = Str(cell.n_ok, "/", cell.n_wanted);
    if (cell.status != "missing") parts.note += " " + cell.status;
  }
  return parts;
}

}  // namespace longrun::client
