#include "model/param.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/files.h"
#include "base/leading_zero.h"
#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"

namespace longrun {
namespace {

// 2^53: integers up to here are exact in a double, where the bounds of a spec live.
constexpr double kExactMax = 9007199254740992.0;

std::string Shown(const Json& value) {
  constexpr std::size_t kShownMax = 60;
  // Not CanonicalJson: the shown value may be invalid (a NaN from YAML, bytes that are not UTF-8).
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kShownMax) text = Str(CutAt(text, kShownMax), "...");
  return text;
}

// JSON knows one kind of number: 1024 and 1024.0 are the same integer.
std::optional<std::int64_t> WholeNumber(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number == std::floor(number) && std::abs(number) <= kExactMax) {
      return static_cast<std::int64_t>(number);
    }
  }
  return std::nullopt;
}

std::string Range(const ParamSpec& spec) {
  return Str(ShowNumber(spec.min), " to ", ShowNumber(spec.max));
}

// "; write [64]" if the item of a list of one was given without brackets.
std::string ListOfOne(bool is_item, const Json& value) {
  return is_item
             ? Str("; write [", value.is_string() ? value.get<std::string>() : Shown(value), "]")
             : "";
}

bool InRange(const ParamSpec& spec, double number) {
  return number >= spec.min && number <= spec.max;
}

// "; write 100K" for "100k". A valid count is only wrong because it came in quotes.
std::string CountMeant(const ParamSpec& spec, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  const std::string meant = text.empty() ? "" : NearestCount(text);
  const Result<std::int64_t> count = ParseCount(meant);
  if (!count.ok() || !InRange(spec, static_cast<double>(*count))) return "";
  if (HasLeadingZero(text)) return LeadingZeroRemedy(text);
  return Str(ParseCount(text).ok() ? "; the quotes make it text: write " : "; write ", meant);
}

bool IsNumberOf(const ParamSpec& spec, const std::string& text) {
  double number = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return !text.empty() && error == std::errc() && end == text.data() + text.size() &&
         std::isfinite(number) && InRange(spec, number);
}

// What to write instead of a single value.
std::string Meant(const ParamSpec& spec, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  switch (spec.type) {
    case ParamSpec::Type::kInt:
    case ParamSpec::Type::kCount:
      return CountMeant(spec, value);
    case ParamSpec::Type::kNumber:
      if (!IsNumberOf(spec, text)) return "";
      if (HasLeadingZero(text)) return LeadingZeroRemedy(text);
      return Str("; the quotes make it text: write ", text);
    case ParamSpec::Type::kBool:
      if (text == "true" || text == "false") return Str("; the quotes make it text: write ", text);
      return NearestBool(text).empty() ? "" : Str("; write ", NearestBool(text));
    case ParamSpec::Type::kChoice:
    case ParamSpec::Type::kText:
    case ParamSpec::Type::kName:
    case ParamSpec::Type::kDuration:
    case ParamSpec::Type::kNumberPair:
    case ParamSpec::Type::kNumberList:
    case ParamSpec::Type::kCountList:
    case ParamSpec::Type::kChoiceList:
      return "";
  }
  return "";
}

bool IntInRange(const ParamSpec& spec, const Json& value) {
  const std::optional<std::int64_t> number = WholeNumber(value);
  return number && InRange(spec, static_cast<double>(*number));
}

bool IsPlainText(const Json& value, double bytes_max) {
  if (!value.is_string()) return false;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  const std::string& text = value.get_ref<const std::string&>();
  return static_cast<double>(text.size()) <= bytes_max && IsUtf8(text) &&
         std::ranges::none_of(text, is_control);
}

void CheckChoice(const ParamSpec& spec, const Json& value, std::vector<ParamError>& errors) {
  const std::string key(spec.name);
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  if (value.is_string() && std::ranges::find(spec.choices, text) != spec.choices.end()) return;
  if (value.is_string() &&
      std::ranges::find(spec.choices_unbuilt, text) != spec.choices_unbuilt.end()) {
    errors.push_back({key, Str("\"", text, "\" is not built yet; expected ",
                               spec.choices.size() == 1 ? spec.choices[0] : ExpectedValue(spec))});
    return;
  }
  std::string message = Str("expected ", ExpectedValue(spec), ", found ", Shown(value));
  if (const std::string nearest = Nearest(text, spec.choices); !nearest.empty()) {
    message += Str("; did you mean \"", nearest, "\"?");
  }
  errors.push_back({key, std::move(message)});
}

// Whether the value is a word like "all" instead of a list of integers.
bool IsWordForList(const ParamSpec& spec, const Json& value) {
  return value.is_string() &&
         std::ranges::find(spec.choices, value.get_ref<const std::string&>()) != spec.choices.end();
}

void CheckCountList(const ParamSpec& spec, const Json& value, std::vector<ParamError>& errors) {
  const std::string key(spec.name);
  if (IsWordForList(spec, value)) return;
  if (!value.is_array() || value.empty()) {
    errors.push_back({key, Str("expected ", ExpectedValue(spec), ", found ", Shown(value),
                               ListOfOne(IntInRange(spec, value), value))});
    return;
  }
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!IntInRange(spec, value[i])) {
      errors.push_back(
          {Str(key, "[", i, "]"), Str("expected an integer from ", Range(spec), ", found ",
                                      Shown(value[i]), CountMeant(spec, value[i]))});
    } else if (!seen.insert(*WholeNumber(value[i])).second) {
      errors.push_back(
          {Str(key, "[", i, "]"), Str(*WholeNumber(value[i]), " is in the list twice")});
    }
  }
}

void CheckChoiceList(const ParamSpec& spec, const Json& value, std::vector<ParamError>& errors) {
  const std::string key(spec.name);
  if (!value.is_array() || value.empty()) {
    const bool is_item =
        value.is_string() &&
        std::ranges::find(spec.choices, value.get<std::string>()) != spec.choices.end();
    errors.push_back({key, Str("expected ", ExpectedValue(spec), ", found ", Shown(value),
                               ListOfOne(is_item, value))});
    return;
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string text = value[i].is_string() ? value[i].get<std::string>() : "";
    if (std::ranges::find(spec.choices, text) == spec.choices.end()) {
      const std::string nearest = Nearest(text, spec.choices);
      errors.push_back(
          {Str(key, "[", i, "]"),
           Str("expected one of ", Join(spec.choices, ", "), ", found ", Shown(value[i]),
               nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"))});
    } else if (!seen.insert(text).second) {
      errors.push_back({Str(key, "[", i, "]"), Str(text, " is in the list twice")});
    }
  }
}

bool AreNumbers(const ParamSpec& spec, const Json& value) {
  return value.is_array() && !value.empty() && std::ranges::all_of(value, [&](const Json& item) {
           return item.is_number() && InRange(spec, item.get<double>());
         });
}

void CheckValue(const ParamSpec& spec, const Json& value, std::vector<ParamError>& errors) {
  bool valid = false;
  switch (spec.type) {
    case ParamSpec::Type::kChoice:
      return CheckChoice(spec, value, errors);
    case ParamSpec::Type::kCountList:
      return CheckCountList(spec, value, errors);
    case ParamSpec::Type::kChoiceList:
      return CheckChoiceList(spec, value, errors);
    case ParamSpec::Type::kText:
      valid = IsPlainText(value, spec.max);
      break;
    case ParamSpec::Type::kName:
      valid = value.is_string() && IsSafeName(value.get_ref<const std::string&>());
      break;
    case ParamSpec::Type::kBool:
      valid = value.is_boolean();
      break;
    case ParamSpec::Type::kInt:
    case ParamSpec::Type::kCount:
    case ParamSpec::Type::kDuration:
      valid = IntInRange(spec, value);
      break;
    case ParamSpec::Type::kNumber:
      valid = value.is_number() && InRange(spec, value.get<double>());
      break;
    case ParamSpec::Type::kNumberPair:
      valid = AreNumbers(spec, value) && value.size() == 2;
      break;
    case ParamSpec::Type::kNumberList:
      valid = AreNumbers(spec, value);
      break;
  }
  if (!valid) {
    errors.push_back({std::string(spec.name), Str("expected ", ExpectedValue(spec), ", found ",
                                                  Shown(value), Meant(spec, value))});
  }
}

// The value of the parameter that `condition` names, given or by default; "" if the given value
// is not text, which is reported separately.
std::string ChosenFor(const ParamSpec::Condition& condition, std::span<const ParamSpec> specs,
                      const Json& given) {
  const auto other = std::ranges::find(specs, condition.name, &ParamSpec::name);
  LR_CHECK(other != specs.end() && other->default_value.is_string());
  const Json& value = given.contains(std::string(condition.name))
                          ? given.at(std::string(condition.name))
                          : other->default_value;
  return value.is_string() ? value.get<std::string>() : "";
}

bool Holds(const ParamSpec& spec, std::span<const ParamSpec> specs, const Json& given) {
  if (!spec.only_with) return true;
  const std::string chosen = ChosenFor(*spec.only_with, specs, given);
  return std::ranges::find(spec.only_with->values, chosen) != spec.only_with->values.end();
}

// Refuses the parameter only if the other one has a valid value: otherwise that one is the error.
void RefuseGiven(const ParamSpec& spec, std::span<const ParamSpec> specs, const Json& given,
                 std::vector<ParamError>& errors) {
  const ParamSpec::Condition& condition = *spec.only_with;
  const std::string chosen = ChosenFor(condition, specs, given);
  const auto other = std::ranges::find(specs, condition.name, &ParamSpec::name);
  if (std::ranges::find(other->choices, chosen) == other->choices.end()) return;
  errors.push_back(
      {std::string(spec.name),
       Str("belongs to ", condition.name, " ", Join(condition.values, " or "), ", but ",
           condition.name, " is ", chosen, ": remove it, or choose that ", condition.name)});
}

// Each value has only one spelling: integers are stored as integers.
Json Normalised(const ParamSpec& spec, const Json& value) {
  using Type = ParamSpec::Type;
  const bool is_integer =
      spec.type == Type::kInt || spec.type == Type::kCount || spec.type == Type::kDuration;
  if (is_integer) return *WholeNumber(value);
  if (spec.type == Type::kCountList && !IsWordForList(spec, value)) {
    Json list = Json::array();
    for (const Json& item : value) list.push_back(*WholeNumber(item));
    return list;
  }
  return value;
}

}  // namespace

std::string ShowNumber(double number) {
  const bool is_whole = number == std::floor(number) && std::abs(number) <= kExactMax;
  return is_whole ? Str(static_cast<std::int64_t>(number)) : Str(number);
}

std::string ExpectedValue(const ParamSpec& spec) {
  switch (spec.type) {
    case ParamSpec::Type::kInt:
    case ParamSpec::Type::kCount:
      return Str("an integer from ", Range(spec));
    case ParamSpec::Type::kNumber:
      return Str("a number from ", Range(spec));
    case ParamSpec::Type::kBool:
      return "true or false";
    case ParamSpec::Type::kChoice:
      return Str("one of ", Join(spec.choices, ", "));
    case ParamSpec::Type::kText:
      return Str("text of at most ", ShowNumber(spec.max), " bytes");
    case ParamSpec::Type::kName:
      return "a name of 1 to 128 letters, digits, '.', '_' or '-' that does not start with '.'";
    case ParamSpec::Type::kDuration:
      return Str("milliseconds from ", Range(spec));
    case ParamSpec::Type::kNumberPair:
      return Str("a list of two numbers from ", Range(spec));
    case ParamSpec::Type::kNumberList:
      return Str("a list of numbers from ", Range(spec));
    case ParamSpec::Type::kCountList:
      return Str(spec.choices.empty() ? "" : Str(Join(spec.choices, ", "), ", or "),
                 "a list of integers from ", Range(spec));
    case ParamSpec::Type::kChoiceList:
      return Str("a list of ", Join(spec.choices, ", "));
  }
  LR_CHECK(false);
}

std::vector<std::string> MarkedChoices(const ParamSpec& spec) {
  std::vector<std::string> marked = spec.choices;
  for (std::string& choice : marked) {
    const bool marked_so = std::ranges::find(spec.experimental, choice) != spec.experimental.end();
    if (marked_so) choice += " (experimental)";
  }
  return marked;
}

std::vector<std::string> ExperimentalValues(std::span<const ParamSpec> specs) {
  std::vector<std::string> values;
  for (const ParamSpec& spec : specs) {
    for (const std::string& value : spec.experimental) values.push_back(Str(spec.name, " ", value));
  }
  return values;
}

std::string ExperimentalNote(std::span<const std::string> values) {
  if (values.empty()) return "";
  return Str(" (", Join({values.begin(), values.end()}, ", "), values.size() == 1 ? " is" : " are",
             " experimental)");
}

std::string ShowErrors(std::string_view path, std::span<const ParamError> errors) {
  std::vector<std::string> lines;
  lines.reserve(errors.size());
  for (const ParamError& error : errors) {
    lines.push_back(
        Str(path, error.key.empty() || path.empty() ? "" : ".", error.key, ": ", error.message));
  }
  return Join(lines, "; ");
}

std::vector<ParamError> CheckParams(std::span<const ParamSpec> specs, const Json& given) {
  std::vector<ParamError> errors;
  if (!given.is_object()) {
    errors.push_back({"", Str("expected a mapping of parameters, found ", Shown(given))});
    return errors;
  }
  std::vector<std::string> names;
  for (const ParamSpec& spec : specs) names.emplace_back(spec.name);
  std::set<std::string> meant;  // the parameters that unknown keys seem to be meant for
  for (const auto& [key, value] : given.items()) {
    if (std::ranges::find(names, key) != names.end()) continue;
    const std::string nearest = Nearest(key, names);
    meant.insert(nearest);
    errors.push_back({key, nearest.empty() ? Str("unknown key; ",
                                                 names.empty() ? "there are none" : "the keys are ",
                                                 Join(names, ", "))
                                           : Str("unknown key; did you mean \"", nearest, "\"?")});
  }
  for (const ParamSpec& spec : specs) {
    // What an unknown key is meant for is neither missing nor known to have its default.
    const auto is_meant = [&](std::string_view name) {
      return meant.contains(std::string(name)) && !given.contains(std::string(name));
    };
    if (spec.only_with && is_meant(spec.only_with->name)) continue;
    const auto member = given.find(std::string(spec.name));
    if (!Holds(spec, specs, given)) {
      if (member != given.end()) RefuseGiven(spec, specs, given, errors);
    } else if (member != given.end()) {
      CheckValue(spec, *member, errors);
    } else if (spec.default_value.is_null() && !spec.is_optional && !is_meant(spec.name)) {
      errors.push_back({std::string(spec.name),
                        Str("must be given: ", ExpectedValue(spec), ", ", spec.meaning)});
    }
  }
  return errors;
}

Result<Json> ResolveParams(std::span<const ParamSpec> specs, const Json& given,
                           std::string_view path) {
  const std::vector<ParamError> errors = CheckParams(specs, given);
  if (!errors.empty()) return Status(Code::kInvalidArgument, ShowErrors(path, errors));
  Json resolved = Json::object();
  for (const ParamSpec& spec : specs) {
    if (!Holds(spec, specs, given)) continue;
    const auto member = given.find(std::string(spec.name));
    if (spec.is_optional && member == given.end()) continue;
    Json value = Normalised(spec, member != given.end() ? *member : spec.default_value);
    if (spec.is_optional && value == spec.default_value) continue;
    resolved[std::string(spec.name)] = std::move(value);
  }
  return resolved;
}

Json ConditionalParams(std::span<const ParamSpec> specs, const Json& resolved) {
  Json params = Json::object();
  for (const ParamSpec& spec : specs) {
    const std::string name(spec.name);
    if (spec.only_with && resolved.contains(name)) params[name] = resolved.at(name);
  }
  return params;
}

}  // namespace longrun
