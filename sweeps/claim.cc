#include "sweeps/claim.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/split_outside.h"
#include "base/str.h"

namespace longrun {
namespace {

using Type = ParamSpec::Type;

constexpr double kContextLengthMax = 1 << 30;
constexpr double kFactorMax = 1e6;
constexpr double kTextMax = 4096;  // bytes

ParamSpec Text(std::string_view name, Json default_value, std::string_view meaning) {
  return {.name = name,
          .type = Type::kText,
          .default_value = std::move(default_value),
          .max = kTextMax,
          .meaning = meaning};
}

ParamSpec Number(std::string_view name, Json default_value, double min, double max,
                 std::string_view meaning) {
  return {.name = name,
          .type = Type::kNumber,
          .default_value = std::move(default_value),
          .min = min,
          .max = max,
          .meaning = meaning};
}

ParamSpec Length(std::string_view name, std::string_view meaning) {
  return {.name = name, .type = Type::kInt, .min = 1, .max = kContextLengthMax, .meaning = meaning};
}

ParamSpec Lengths() {
  return {.name = "context_lengths",
          .type = Type::kCountList,
          .min = 1,
          .max = kContextLengthMax,
          .meaning = "the context lengths; the claim must hold at each of them"};
}

// Of the kinds that compare two values at each of several lengths.
std::vector<ParamSpec> WithPair(std::vector<ParamSpec> own) {
  ParamSpec lengths = Lengths();
  lengths.name = "than_context_lengths";
  lengths.is_optional = true;
  lengths.meaning =
      "the context lengths of `than`'s numbers, if they are others: one for each of "
      "context_lengths, in the same order, all different";
  ParamSpec where = Text("than_where", nullptr,
                         "the conditions on other axes for `than`, if they differ from `where`");
  where.is_optional = true;
  own.push_back(std::move(lengths));
  own.push_back(std::move(where));
  return own;
}

// What every kind has.
std::vector<ParamSpec> WithCommon(std::vector<ParamSpec> own) {
  std::vector<ParamSpec> common = {
      Text("axis", "position", "the axis whose values are compared"),
      Text("metric", "perplexity", "the metric to compare, as in `longrun table --metric`"),
      Text("where", "",
           "conditions on other axes, as in `longrun table --where`: train_length=64,seed=1"),
      Number("level", 0.95, 0.5, 0.9999, "level of the intervals that decide the verdict"),
  };
  own.insert(own.end(), common.begin(), common.end());
  return own;
}

std::string TextAt(const Json& params, const char* key) {
  return params.at(key).get<std::string>();
}

// Whether `of` and `than`, if they name the same value, name the same number at one of the lengths.
bool HasSameNumber(const Json& params) {
  if (params.contains("than_where") && params.at("than_where") != params.at("where")) return false;
  if (!params.contains("than_context_lengths")) return true;
  const Json& of = params.at("context_lengths");
  const Json& than = params.at("than_context_lengths");
  for (std::size_t i = 0; i < std::min(of.size(), than.size()); ++i) {
    if (of[i] == than[i]) return true;
  }
  return false;
}

// `of` and `than` must each name one value, and not the same.
std::string WhyNoPair(const Json& params) {
  for (const char* const key : {"of", "than"}) {
    const std::string text = TextAt(params, key);
    const std::size_t n_values = ValuesInList(text).size();
    if (n_values == 0) return Str("`", key, "` must name a value of the axis");
    if (n_values > 1) {
      return Str("`", key, "` names ", n_values, " values, \"", text,
                 "\"; expected one (only claims of kind \"ordered\" may name several)");
    }
  }
  const std::string of = TextAt(params, "of");
  if (ValuesInList(of) != ValuesInList(TextAt(params, "than"))) return "";
  if (!HasSameNumber(params)) return "";
  return Str("`of` and `than` are both \"", of, "\": compare two different values");
}

std::string WhyNoPairAtLengths(const Json& params) {
  const std::string why = WhyNoPair(params);
  if (!why.empty() || !params.contains("than_context_lengths")) return why;
  const std::size_t n = params.at("context_lengths").size();
  const std::size_t n_than = params.at("than_context_lengths").size();
  if (n == n_than) return "";
  return Str("`than_context_lengths` must have as many lengths as `context_lengths`: expected ", n,
             ", found ", n_than);
}

std::string WhyNoOrder(const Json& params) {
  const std::vector<std::string> values = ValuesInList(TextAt(params, "of"));
  if (values.size() < 2) {
    return Str("`of` is \"", TextAt(params, "of"),
               "\"; expected two or more values, such as \"cable, alibi\"");
  }
  for (std::size_t i = 1; i < values.size(); ++i) {
    const auto end = values.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find(values.begin(), end, values[i]) != end) {
      return Str("`of` names \"", values[i], "\" twice");
    }
  }
  return "";
}

std::string WhyNoRange(const Json& params) {
  const auto from = params.at("from").get<std::int64_t>(), to = params.at("to").get<std::int64_t>();
  return from < to ? "" : Str("`from` (", from, ") must be below `to` (", to, ")");
}

std::string WhyNotFlat(const Json& params) {
  const std::size_t n_values = ValuesInList(TextAt(params, "of")).size();
  return n_values == 1 ? WhyNoRange(params) : "`of` must name one value of the axis";
}

std::string WhyNoCrossing(const Json& params) {
  const std::string why = WhyNoPair(params);
  return why.empty() ? WhyNoRange(params) : why;
}

std::string WhyNoRatio(const Json& params) {
  const std::string why = WhyNoPairAtLengths(params);
  if (!why.empty()) return why;
  const double least = params.at("at_least"), most = params.at("at_most");
  if (least > most) return Str("`at_least` (", least, ") must not exceed `at_most` (", most, ")");
  if (most <= 0.0) return "`at_most` 0 can never hold: ratios are above 0";
  return least > 0.0 || most < kFactorMax ? "" : "give `at_least`, `at_most` or both";
}

// As `longrun table --where` reads it: axis=value, and further values or conditions after commas.
std::string WhyNoConditions(const Json& params) {
  for (const char* const key : {"where", "than_where"}) {
    if (!params.contains(key)) continue;
    const std::string where = TextAt(params, key);
    const std::size_t at = where.find('=');
    if (where.empty() || (at != std::string::npos && at > 0 && at + 1 < where.size())) continue;
    return Str(key, " \"", where, "\": expected axis=value, as in train_length=64");
  }
  return "";
}

const std::vector<ClaimKind>& Table() {
  static const auto& table = *new std::vector<ClaimKind>{
      {.name = "below",
       .meaning = "one value's number is below another's at each of the lengths",
       .params = WithCommon(
           WithPair({Text("of", nullptr, "the value of the axis that is claimed to be lower"),
                     Text("than", nullptr, "the value that it is compared with"), Lengths(),
                     Number("margin", 0.0, 0.0, 1.0,
                            "by how much the number must be lower, at least: as a fraction of "
                            "`than`'s number (for nll, bits and accuracies: as an absolute "
                            "difference)")})),
       .check = WhyNoPairAtLengths},
      {.name = "flat",
       .meaning = "the number at every measured length from `from` to `to` stays within a factor "
                  "of the number at `from`",
       .params = WithCommon(
           {Text("of", nullptr, "the value of the axis"),
            Length("from", "the first context length"), Length("to", "the last context length"),
            Number("factor", 1.05, 1.0, kFactorMax,
                   "largest factor by which the number may differ from the number at `from` (for "
                   "nll, bits and accuracies: the largest difference is factor - 1)")}),
       .check = WhyNotFlat},
      {.name = "crosses",
       .meaning = "one value's curve is below another's at `from` and above it at `to`",
       .params = WithCommon({Text("of", nullptr, "the value of the axis that begins below"),
                             Text("than", nullptr, "the value whose curve it crosses"),
                             Length("from", "the context length at which it is below"),
                             Length("to", "the context length at which it is above")}),
       .check = WhyNoCrossing},
      {.name = "ordered",
       .meaning = "the numbers of several values ascend in this order at each of the lengths",
       .params = WithCommon(
           {Text("of", nullptr,
                 "the values, the one with the lowest number first, such as cable, fox, alibi"),
            Lengths()}),
       .check = WhyNoOrder},
      {.name = "equal",
       .meaning = "two values' numbers are equal within a tolerance at each of the lengths",
       .params =
           WithCommon(WithPair({Text("of", nullptr, "a value of the axis"),
                                Text("than", nullptr, "the other value"), Lengths(),
                                Number("tolerance", nullptr, 0.0, 1.0,
                                       "largest difference that still counts as equal, as a "
                                       "fraction of `than`'s number (for nll, bits and accuracies: "
                                       "an absolute difference)")})),
       .check = WhyNoPairAtLengths},
      {.name = "ratio",
       .meaning = "the ratio of two values' numbers (such as speeds or memory) is within limits "
                  "at each of the lengths",
       .params = WithCommon(WithPair(
           {Text("of", nullptr, "a value of the axis"),
            Text("than", nullptr, "the value of the axis whose number is the divisor"), Lengths(),
            Number("at_least", 0.0, 0.0, kFactorMax, "the ratio is at least this"),
            Number("at_most", kFactorMax, 0.0, kFactorMax, "the ratio is at most this")})),
       .check = WhyNoRatio},
  };
  return table;
}

}  // namespace

std::span<const ClaimKind> ClaimKinds() { return Table(); }

const ClaimKind* FindClaimKind(std::string_view name) {
  const auto found = std::ranges::find(Table(), name, &ClaimKind::name);
  return found == Table().end() ? nullptr : &*found;
}

std::vector<std::string> ValuesInList(std::string_view text) {
  std::vector<std::string> parts = SplitOutside(text, ',');
  for (std::string& part : parts) part = std::string(Trim(part));
  std::erase(parts, "");
  return parts;
}

std::string WhyWrongTogether(const ClaimKind& kind, const Json& params) {
  const std::string why = WhyNoConditions(params);
  return why.empty() ? kind.check(params) : why;
}

std::vector<std::string> ClaimKindNames() {
  std::vector<std::string> names;
  for (const ClaimKind& kind : Table()) names.emplace_back(kind.name);
  return names;
}

}  // namespace longrun
