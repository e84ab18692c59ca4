#include "client/claims/judge.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/check.h"
#include "base/str.h"
#include "base/student_t.h"
#include "client/claims/bootstrap.h"
#include "client/tables/pivot_arguments.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/pivot_cell.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kSeedsMost = 1000;  // more are not named as a remedy
constexpr double kRatioMax = 1e6;         // the default of a ratio's at_most: no limit

Status Invalid(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

// One side of a comparison.
struct Side {
  std::string value;  // as the claim names it
  std::int64_t context_length = 0;
  std::string where = {};  // the conditions, if the two sides differ in nothing else

  std::string Text() const {
    return Str(value, " at ", context_length, where.empty() ? "" : Str(" (", where, ")"));
  }
};

// What is compared: `of` with `than`.
struct Question {
  Side of;
  Side than;
  Limits limits;  // of the value
};

// The values of the claim's axis by the context length, from one table.
class Board {
 public:
  // Where a side's number stands.
  struct Found {
    const PivotTable& table;
    const PivotRow& row;
    const PivotCell* cell = nullptr;  // null: there is none at that length
  };

  // `where_key`: the parameter with the conditions that leave this table.
  static Result<Board> Make(const Claim& claim, const char* where_key,
                            const std::vector<SweepResults>& results) {
    PivotArguments arguments;
    arguments.rows = {claim.params.at("axis").get<std::string>()};
    arguments.cols = {"context_length"};
    arguments.metrics = {claim.params.at("metric").get<std::string>()};
    const auto where = claim.params.at(where_key).get<std::string>();
    if (!where.empty()) arguments.where = {where};
    ASSIGN_OR_RETURN(const PivotRequest request, ReadPivotRequest(arguments));
    Result<std::vector<PivotTable>> built = BuildPivot(results, request);
    if (!built.ok()) {
      // A table's options are a claim's keys.
      const std::string why = built.status().message();
      return Invalid(why.starts_with("--") ? why.substr(2) : why);
    }
    std::vector<PivotTable>& tables = *built;
    if (tables.empty()) return Invalid("the sweep evaluates nothing: it has no `evaluate`");
    LeaveOutBaseline(tables);
    if (tables.size() > 1) return Invalid(WhySeveral(tables, where_key, where));
    return Board(std::move(tables.front()));
  }

  const ResultMetric& metric() const { return table_.metrics.front(); }

  Result<Found> Find(const Side& side) const {
    ASSIGN_OR_RETURN(const PivotRow* const row, FindRow(side));
    Found found = {.table = table_, .row = *row};
    for (std::size_t c = 0; c < table_.columns.size(); ++c) {
      if (table_.columns[c].front() == side.context_length) found.cell = &row->cells[c];
    }
    return found;
  }

  // The same row may be found under conditions that are written in different ways.
  static bool AreOneRow(const Found& of, const Found& than) {
    return of.table.fixed == than.table.fixed && of.row.key == than.row.key;
  }

  // The measured lengths, ascending.
  std::vector<std::int64_t> Lengths() const {
    std::vector<std::int64_t> lengths;
    for (const std::vector<Json>& column : table_.columns) {
      if (column.front().is_number_integer()) lengths.push_back(column.front().get<std::int64_t>());
    }
    std::ranges::sort(lengths);
    return lengths;
  }

 private:
  explicit Board(PivotTable table) : table_(std::move(table)) {}

  Result<const PivotRow*> FindRow(const Side& side) const {
    const PivotRow* found = nullptr;
    std::vector<std::string> names;
    const bool is_whole = std::ranges::any_of(table_.rows, [&](const PivotRow& row) {
      return row.baseline.empty() && IsWholeName(row.key.front(), side.value);
    });
    for (const PivotRow& row : table_.rows) {
      if (!row.baseline.empty()) continue;
      const Json& value = row.key.front();
      names.push_back(AxisText(value));
      if (!(is_whole ? IsWholeName(value, side.value) : IsWritten(value, side.value))) continue;
      if (found != nullptr) {
        return Invalid(
            Str("\"", side.value, "\" matches several values: write out one of them in full"));
      }
      found = &row;
    }
    if (found == nullptr) {
      return Invalid(Str("\"", side.value, "\" is not a value of ", table_.row_axes.front(),
                         "; its values are ", Join(names, ", ")));
    }
    return found;
  }

  // Retrieval is also measured under a plain window: a claim is about that only if it says so.
  static void LeaveOutBaseline(std::vector<PivotTable>& tables) {
    const auto is_baseline = [](const PivotTable& table) {
      return std::ranges::find(table.fixed, std::pair<std::string, Json>("extension", "window")) !=
             table.fixed.end();
    };
    if (!std::ranges::all_of(tables, is_baseline)) std::erase_if(tables, is_baseline);
  }

  // The tables by the axes on which they differ, as `where` takes them; `given`: what it has now.
  static std::string WhySeveral(const std::vector<PivotTable>& tables, const char* where_key,
                                const std::string& given) {
    constexpr std::size_t kNamed = 4;
    const auto& first = tables.front().fixed;
    const auto is_same = [&](std::size_t i) {
      return std::ranges::all_of(tables, [&](const PivotTable& table) {
        return table.fixed.size() == first.size() && table.fixed[i] == first[i];
      });
    };
    std::vector<std::string> names;
    for (const PivotTable& table : tables) {
      std::vector<std::string> parts;
      for (std::size_t i = 0; i < table.fixed.size(); ++i) {
        const auto& [axis, value] = table.fixed[i];
        const bool is_told = !value.is_null() && (i >= first.size() || !is_same(i));
        if (is_told) parts.push_back(Str(axis, "=", AxisText(value)));
      }
      names.push_back(Str("\"", given.empty() ? "" : given + ",", Join(parts, ","), "\""));
      if (names.size() == kNamed) break;
    }
    return Str("the claim fits ", tables.size(), " tables: choose one with `", where_key,
               "`: ", Join(names, " or "), tables.size() > kNamed ? " or another" : "");
  }

  PivotTable table_;
};

std::string TextOf(const Claim& claim, const char* key) {
  return claim.params.at(key).get<std::string>();
}

std::int64_t IntOf(const Claim& claim, const char* key) {
  return claim.params.at(key).get<std::int64_t>();
}

double NumberOf(const Claim& claim, const char* key) { return claim.params.at(key).get<double>(); }

std::vector<std::int64_t> LengthsOf(const Claim& claim) {
  return claim.params.at("context_lengths").get<std::vector<std::int64_t>>();
}

std::vector<std::int64_t> LengthsOfThan(const Claim& claim) {
  const auto given = claim.params.find("than_context_lengths");
  return given == claim.params.end() ? LengthsOf(claim) : given->get<std::vector<std::int64_t>>();
}

bool HasOtherWhere(const Claim& claim) { return claim.params.contains("than_where"); }

// Less than the other; with a margin, by at least that part of it, or that amount.
Limits Below(bool is_ratio, double margin) {
  return {.high = is_ratio ? 1.0 - margin : 0.0 - margin, .is_strict = margin == 0.0};
}

Limits Above(bool is_ratio) { return {.low = is_ratio ? 1.0 : 0.0, .is_strict = true}; }

using Questions = std::vector<Question>;

// `of` at each length, with `than` at the same length or at the one that stands for it.
Questions AtLengths(const Claim& claim, const Limits& limits) {
  const std::vector<std::int64_t> of = LengthsOf(claim), than = LengthsOfThan(claim);
  LR_CHECK(of.size() == than.size());
  Questions questions;
  for (std::size_t i = 0; i < of.size(); ++i) {
    Question question = {.of = {TextOf(claim, "of"), of[i]},
                         .than = {TextOf(claim, "than"), than[i]},
                         .limits = limits};
    if (question.of.value == question.than.value && of[i] == than[i] && HasOtherWhere(claim)) {
      question.of.where = TextOf(claim, "where");
      question.than.where = TextOf(claim, "than_where");
    }
    questions.push_back(std::move(question));
  }
  return questions;
}

Questions BelowQuestions(const Claim& claim, const Board&, bool is_ratio) {
  return AtLengths(claim, Below(is_ratio, NumberOf(claim, "margin")));
}

Questions FlatQuestions(const Claim& claim, const Board& board, bool is_ratio) {
  const double factor = NumberOf(claim, "factor");
  const Limits limits = is_ratio ? Limits{.low = 1.0 / factor, .high = factor}
                                 : Limits{.low = 1.0 - factor, .high = factor - 1.0};
  Questions questions;
  const std::string of = TextOf(claim, "of");
  const std::int64_t from = IntOf(claim, "from"), to = IntOf(claim, "to");
  for (const std::int64_t length : board.Lengths()) {
    if (length <= from || length >= to) continue;
    questions.push_back({.of = {of, length}, .than = {of, from}, .limits = limits});
  }
  // Also if it was not measured: a curve that ends before `to` proves nothing about it.
  questions.push_back({.of = {of, to}, .than = {of, from}, .limits = limits});
  return questions;
}

Questions CrossesQuestions(const Claim& claim, const Board&, bool is_ratio) {
  const std::string of = TextOf(claim, "of"), than = TextOf(claim, "than");
  const std::int64_t from = IntOf(claim, "from"), to = IntOf(claim, "to");
  return {{.of = {of, from}, .than = {than, from}, .limits = Below(is_ratio, 0.0)},
          {.of = {of, to}, .than = {than, to}, .limits = Above(is_ratio)}};
}

Questions OrderedQuestions(const Claim& claim, const Board&, bool is_ratio) {
  const std::vector<std::string> values = ValuesInList(TextOf(claim, "of"));
  Questions questions;
  for (const std::int64_t length : LengthsOf(claim)) {
    for (std::size_t i = 0; i + 1 < values.size(); ++i) {
      questions.push_back({.of = {values[i], length},
                           .than = {values[i + 1], length},
                           .limits = Below(is_ratio, 0.0)});
    }
  }
  return questions;
}

Questions EqualQuestions(const Claim& claim, const Board&, bool is_ratio) {
  const double tolerance = NumberOf(claim, "tolerance");
  const double middle = is_ratio ? 1.0 : 0.0;
  return AtLengths(claim, {.low = middle - tolerance, .high = middle + tolerance});
}

Questions RatioQuestions(const Claim& claim, const Board&, bool) {
  const double most = NumberOf(claim, "at_most");
  return AtLengths(
      claim, {.low = NumberOf(claim, "at_least"), .high = most < kRatioMax ? most : kInfinity});
}

std::string ListText(const std::vector<std::int64_t>& lengths) {
  std::vector<std::string> texts;
  for (const std::int64_t length : lengths) texts.push_back(Str(length));
  return Join(texts, ", ");
}

// "256, 1024"; "256, 1024, alibi at 512, 2048"
std::string LengthsText(const Claim& claim) {
  const std::vector<std::int64_t> of = LengthsOf(claim), than = LengthsOfThan(claim);
  return of == than ? ListText(of)
                    : Str(ListText(of), ", ", TextOf(claim, "than"), " at ", ListText(than));
}

std::string RangeText(const Claim& claim) {
  return Str("from ", IntOf(claim, "from"), " to ", IntOf(claim, "to"));
}

std::string BelowText(const Claim& claim) {
  const double margin = NumberOf(claim, "margin");
  return Str(TextOf(claim, "of"), " below ", TextOf(claim, "than"),
             margin > 0.0 ? Str(" by ", margin) : "", " at ", LengthsText(claim));
}

std::string FlatText(const Claim& claim) {
  return Str(TextOf(claim, "of"), " flat within ", NumberOf(claim, "factor"), " ",
             RangeText(claim));
}

std::string CrossesText(const Claim& claim) {
  return Str(TextOf(claim, "of"), " crosses ", TextOf(claim, "than"), " ", RangeText(claim));
}

std::string OrderedText(const Claim& claim) {
  return Str(Join(ValuesInList(TextOf(claim, "of")), " < "), " at ", LengthsText(claim));
}

std::string EqualText(const Claim& claim) {
  return Str(TextOf(claim, "of"), " equal to ", TextOf(claim, "than"), " within ",
             NumberOf(claim, "tolerance"), " at ", LengthsText(claim));
}

std::string RatioText(const Claim& claim) {
  const double least = NumberOf(claim, "at_least"), most = NumberOf(claim, "at_most");
  const bool has_most = most < kRatioMax;
  const std::string limits = !has_most      ? Str(" at least ", least)
                             : least <= 0.0 ? Str(" at most ", most)
                                            : Str(" from ", least, " to ", most);
  return Str(TextOf(claim, "of"), " / ", TextOf(claim, "than"), limits, " at ", LengthsText(claim));
}

struct KindRow {
  std::string_view name;
  Questions (*questions)(const Claim& claim, const Board& board, bool is_ratio);
  std::string (*text)(const Claim& claim);
};
constexpr KindRow kKinds[] = {
    {"below", &BelowQuestions, &BelowText},       {"flat", &FlatQuestions, &FlatText},
    {"crosses", &CrossesQuestions, &CrossesText}, {"ordered", &OrderedQuestions, &OrderedText},
    {"equal", &EqualQuestions, &EqualText},       {"ratio", &RatioQuestions, &RatioText},
};

const KindRow& RowOf(const Claim& claim) {
  const auto* const row = std::ranges::find(kKinds, claim.kind, &KindRow::name);
  LR_CHECK(row != std::end(kKinds));
  return *row;
}

// "cable below alibi at 256, 1024 (perplexity, train_length=64)"
// "alibi below rope at 128 (perplexity, train_length=64; rope: train_length=128)"
std::string StatementOf(const Claim& claim) {
  const std::string where = TextOf(claim, "where");
  const std::string other =
      HasOtherWhere(claim) ? Str("; ", TextOf(claim, "than"), ": ", TextOf(claim, "than_where"))
                           : "";
  return Str(RowOf(claim).text(claim), " (", TextOf(claim, "metric"),
             where.empty() ? "" : Str(", ", where), other, ")");
}

// On the scale of the comparison.
Limits OnScale(const Limits& limits, bool is_ratio) {
  if (!is_ratio) return limits;
  return {.low = limits.low > 0.0 ? std::log(limits.low) : -kInfinity,
          .high = std::log(limits.high),
          .is_strict = limits.is_strict};
}

bool IsUnasked(const PivotCell* cell) { return cell == nullptr || cell->status == "not_asked"; }

// Why a cell cannot be compared; "": it can. A value beyond every double is compared by its nll.
std::string WhyNot(const Side& side, const PivotCell* cell) {
  if (IsUnasked(cell)) return Str("no evaluation of the sweep asks for ", side.Text());
  if (!cell->value) return Str(side.Text(), " has no number: ", cell->status);
  if (cell->status != "ok" && cell->status != kOverflow) {
    return Str(side.Text(), " is not complete: ", cell->n_ok, " of ",
               Counted(static_cast<std::int64_t>(cell->n_wanted), "seed"));
  }
  return "";
}

// What would decide a comparison with this effect, from its measured variances: more seeds, or a
// longer text, so that half of the interval at `level` is shorter than the distance to the nearest
// limit.
std::string Needed(const PairedDifference& difference, const Limits& limits, double level) {
  const double effect = difference.estimate.x;
  const double distance = std::min(std::abs(effect - limits.low), std::abs(limits.high - effect));
  if (!(distance > 0.0)) return "";
  const std::size_t n_seeds = difference.of_seeds.size();
  const double over_seeds =  // of one seed
      *difference.estimate.seeds.se * std::sqrt(static_cast<double>(n_seeds));
  const ErrorPart& text = difference.estimate.text;
  const double over_text = text.se ? *text.se * StudentQuantile(level, text.df) : 0.0;
  const auto half_of = [&](std::size_t k) {
    const auto count = static_cast<double>(k);
    return StudentQuantile(level, count - 1.0) * over_seeds / std::sqrt(count);
  };
  const auto seeds_for = [&](double room) {
    std::size_t k = n_seeds + 1;  // those that are there did not decide it
    while (k <= kSeedsMost && half_of(k) >= room) ++k;
    return k > kSeedsMost ? Str("more than ", kSeedsMost, " seeds") : Str("about ", k, " seeds");
  };
  const auto text_for = [&](double room) {
    const double times = (over_text / room) * (over_text / room);
    return Str("about ", std::max(1.1, std::ceil(10.0 * times) / 10.0),
               difference.is_text_paired ? " times the text" : " times the questions");
  };
  const double over_seeds_now = half_of(n_seeds);
  if (over_text < distance && over_seeds > 0.0) {
    return seeds_for(std::sqrt(distance * distance - over_text * over_text));
  }
  if (over_seeds_now < distance) {
    return text_for(std::sqrt(distance * distance - over_seeds_now * over_seeds_now));
  }
  const double each = distance / std::sqrt(2.0);
  return Str(seeds_for(each), " and ", text_for(each));
}

// Why the two cells' rows do not suffice to judge their difference; "": they do.
std::string WhyUnjudged(const PairedDifference& difference, const PivotCell& of,
                        const PivotCell& than) {
  if (difference.of_seeds.size() < 2) {
    return std::min(of.n_ok, than.n_ok) < 2
               ? "one seed says nothing about other seeds: run at least 3 seeds"
               : Str("the two have ",
                     Counted(static_cast<std::int64_t>(difference.n_seeds_matched), "seed"),
                     " in common: run both with the same seeds, at least 3");
  }
  if (difference.is_text_paired) return "";
  const auto is_one_block = [](const PivotCell& cell) {
    return cell.clusters == TextClusters::kBlocks && cell.n_clusters && *cell.n_clusters < 2;
  };
  if (of.metric.is_nll()) {
    return is_one_block(of) || is_one_block(than)
               ? "the scored text is too short to be cut into blocks: score more tokens"
               : "the rows have no blocks of the text in common: measure both again";
  }
  return "";
}

// "cable / alibi at 256", "cable at 256 / at 64", "cable at 256 / alibi at 512",
// "cable at 256 (seed=1) / cable at 256 (seed=2)"
std::string WhatIsCompared(const Question& question, bool is_ratio) {
  const std::string sign = is_ratio ? " / " : " - ";
  const bool is_one_value = question.of.value == question.than.value;
  const bool is_one_length = question.of.context_length == question.than.context_length;
  if (is_one_value && is_one_length) return Str(question.of.Text(), sign, question.than.Text());
  if (is_one_length) return Str(question.of.value, sign, question.than.Text());
  return Str(question.of.Text(), sign,
             is_one_value ? Str("at ", question.than.context_length) : question.than.Text());
}

// The tables that the two sides of a comparison come from.
struct Boards {
  const Board& of;
  const Board& than;
};

Result<ClaimComparison> JudgeQuestion(const Question& question, const Boards& boards, bool is_ratio,
                                      double level, std::size_t n_questions) {
  ClaimComparison out{.what = WhatIsCompared(question, is_ratio),
                      .is_ratio = is_ratio,
                      .low = question.limits.low,
                      .high = question.limits.high,
                      .limits = OnScale(question.limits, is_ratio)};
  ASSIGN_OR_RETURN(const Board::Found of_found, boards.of.Find(question.of));
  ASSIGN_OR_RETURN(const Board::Found than_found, boards.than.Find(question.than));
  const PivotCell* const of = of_found.cell;
  const PivotCell* const than = than_found.cell;
  if (Board::AreOneRow(of_found, than_found) &&
      question.of.context_length == question.than.context_length) {
    return Invalid(Str("\"", question.of.value, "\" and \"", question.than.value,
                       "\" are the same value: compare two different values"));
  }
  out.is_unasked = IsUnasked(of) || IsUnasked(than);
  out.reason = WhyNot(question.of, of);
  if (out.reason.empty()) out.reason = WhyNot(question.than, than);
  if (!out.reason.empty()) return out;
  const std::optional<PairedDifference> difference = CompareCells(*than, *of);
  if (!difference) {
    out.reason = "the two numbers cannot be compared";
    return out;
  }
  const auto value = [is_ratio](double x) { return is_ratio ? std::exp(x) : x; };
  out.effect = value(difference->estimate.x);
  out.n_seeds = difference->of_seeds.size();
  out.n_blocks = difference->of_blocks.size();
  out.is_text_unpaired =
      !difference->is_text_paired && difference->estimate.text.se.value_or(0.0) > 0.0;
  out.reason = WhyUnjudged(*difference, *of, *than);
  if (!out.reason.empty()) return out;
  out.difference = difference;
  const BootstrapSample sample{.effect = difference->estimate.x,
                               .seeds = difference->of_seeds,
                               .blocks = difference->of_blocks,
                               .df_blocks = difference->estimate.text.df,
                               .unpaired_text = difference->is_text_paired
                                                    ? 0.0
                                                    : difference->estimate.text.se.value_or(0.0)};
  const auto interval = BootstrapInterval(sample, level);
  out.interval = {value(interval.first), value(interval.second)};
  const Limits& limits = out.limits;
  if (limits.Hold(interval)) {
    out.verdict = Verdict::kSupported;
    return out;
  }
  const double corrected = 1.0 - (1.0 - level) / static_cast<double>(n_questions);
  const bool is_missed = limits.AreMissedBy(interval);
  if (is_missed && (n_questions == 1 || limits.AreMissedBy(BootstrapInterval(sample, corrected)))) {
    out.verdict = Verdict::kRefuted;
    return out;
  }
  const bool is_within = limits.Hold({sample.effect, sample.effect});
  out.needed = Needed(*difference, limits, is_within ? level : corrected);
  return out;
}

Result<JudgedClaim> Judge(const Claim& claim, const std::vector<SweepResults>& results) {
  if (TextOf(claim, "axis") == "dataset") {
    return Invalid(
        "numbers of different datasets cannot be compared, since their texts differ; choose "
        "another axis, such as position");
  }
  ASSIGN_OR_RETURN(const Board board, Board::Make(claim, "where", results));
  std::optional<Board> other;
  if (HasOtherWhere(claim)) {
    ASSIGN_OR_RETURN(other, Board::Make(claim, "than_where", results));
  }
  const bool is_ratio = ComparesAsRatio(board.metric());
  if (claim.kind == "ratio" && !is_ratio) {
    return Invalid(
        Str("values of ", board.metric().name, " are compared by differences: use below or equal"));
  }
  if (is_ratio && claim.kind == "below" && NumberOf(claim, "margin") >= 1.0) {
    return Invalid(Str("margin 1 asks for a ", board.metric().name,
                       " of 0: give a fraction below 1, such as 0.05 for 5 %"));
  }
  const Questions questions = RowOf(claim).questions(claim, board, is_ratio);
  JudgedClaim out{.claim = claim, .statement = StatementOf(claim), .verdict = Verdict::kSupported};
  for (const Question& question : questions) {
    ASSIGN_OR_RETURN(ClaimComparison one,
                     JudgeQuestion(question, {.of = board, .than = other ? *other : board},
                                   is_ratio, NumberOf(claim, "level"), questions.size()));
    if (one.verdict == Verdict::kRefuted) out.verdict = Verdict::kRefuted;
    const bool is_open = one.verdict == Verdict::kUndecided;
    if (is_open && out.verdict == Verdict::kSupported) out.verdict = Verdict::kUndecided;
    out.comparisons.push_back(std::move(one));
  }
  return out;
}

}  // namespace

std::string_view VerdictWord(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSupported:
      return "supported";
    case Verdict::kRefuted:
      return "refuted";
    case Verdict::kUndecided:
      return "undecided";
  }
  LR_CHECK(false);
}

std::vector<JudgedClaim> JudgeClaims(const std::vector<Claim>& claims,
                                     const std::vector<SweepResults>& results) {
  std::vector<JudgedClaim> judged;
  judged.reserve(claims.size());
  for (std::size_t i = 0; i < claims.size(); ++i) {
    Result<JudgedClaim> one = Judge(claims[i], results);
    if (one.ok()) {
      judged.push_back(std::move(one).value());
      continue;
    }
    const std::string place = Str("spec.claims[", i, "].", claims[i].kind);
    judged.push_back({.claim = claims[i],
                      .statement = StatementOf(claims[i]),
                      .error = std::move(one).status().In(place).message()});
  }
  return judged;
}

}  // namespace longrun::client
