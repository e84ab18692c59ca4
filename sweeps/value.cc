// Values of a sweep file, checked against their rows: what they must be,
// and what the user may have meant.
#include "sweeps/value.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/check.h"
#include "base/files.h"
#include "base/leading_zero.h"
#include "base/str.h"
#include "base/units.h"
#include "sweeps/yaml_slip.h"

namespace longrun {
namespace {

using Type = ParamSpec::Type;

Result<Json> TypePlain(const ParamSpec& spec, const YamlNode& node);
std::optional<std::int64_t> ParseInteger(std::string_view text);

// The whole number that the text was meant to be: 1 for 0x1, 0b1 and 1.0; "" if there is none.
std::string NearestInteger(std::string_view text) {
  const std::string_view prefix = text.substr(0, std::min<std::size_t>(text.size(), 2));
  const int base = prefix == "0x" || prefix == "0X" ? 16 : prefix == "0o" ? 8 : 2;
  if (base != 2 || prefix == "0b") {
    std::int64_t number = 0;
    text.remove_prefix(2);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    return error == std::errc() && end == text.data() + text.size() ? Str(number) : "";
  }
  const Result<std::int64_t> count = ParseCount(NearestCount(text));
  return count.ok() ? Str(*count) : "";
}

// "204800" for "204,800"; "" for what has no commas between thousands.
std::string WithoutThousands(const std::string& text) {
  const std::vector<std::string> groups = Split(text, ',');
  const bool is_number = text.find_first_not_of("0123456789,") == std::string::npos;
  if (!is_number || groups.size() < 2 || groups[0].empty() || groups[0].size() > 3) return "";
  const auto has_three = [](const std::string& group) { return group.size() == 3; };
  if (!std::all_of(groups.begin() + 1, groups.end(), has_three)) return "";
  return Join(groups, "");
}

// "0.002" for "0,002", and "2.0e-3" for "2.0 e-3"; "" for "1, 2" and for what has neither.
std::string NearestNumber(std::string number) {
  const bool has_comma = std::ranges::count(number, ',') == 1;
  const bool has_space = number.find(' ') != std::string::npos;
  if (has_comma == has_space) return "";
  std::erase(number, ' ');
  std::ranges::replace(number, ',', '.');
  return number;
}

// The remedy if only some characters around a valid value are wrong: a comment without its space, a
// comma or semicolon at the end, typographic quotation marks.
std::string WithoutMarks(const ParamSpec& spec, const YamlNode& node) {
  if (node.quoted) return "";
  if (const std::string space = OddSpaceAround(node.text); !space.empty()) return Str("; ", space);
  const auto is_valid = [&](std::string_view text) {
    YamlNode meant = node;
    meant.text = text;
    return TypeValue(spec, meant).ok();
  };
  std::string_view text = node.text;
  const std::size_t comment = text.find('#');
  if (comment != std::string_view::npos && is_valid(Trim(text.substr(0, comment)))) {
    return "; write a space before the # of a comment";
  }
  if (text.ends_with(',') || text.ends_with(';')) {
    const std::string_view before = text.substr(0, text.size() - 1);
    return is_valid(before) ? Str("; remove the \"", text.back(), '"') : "";
  }
  constexpr std::string_view kQuotes[] = {"\u201c", "\u201d", "\u201e", "\u2018", "\u2019"};
  const auto is_around = [&](std::string_view quote) { return text.starts_with(quote); };
  if (text.size() >= 6 && std::ranges::any_of(kQuotes, is_around)) {
    const std::string_view inside = text.substr(3, text.size() - 6);
    return is_valid(inside) ? Str("; remove the typographic quotation marks: write ", inside) : "";
  }
  return "";
}

// "; write 1000" and the like, for text that is not a valid value.
std::string Remedy(const ParamSpec& spec, const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar) return "";
  if (std::string marks = WithoutMarks(spec, node); !marks.empty()) return marks;
  const bool is_plain = spec.type == Type::kInt || spec.type == Type::kCount ||
                        spec.type == Type::kNumber || spec.type == Type::kDuration ||
                        spec.type == Type::kBool;
  if (is_plain && node.quoted) {
    YamlNode bare = node;
    bare.quoted = false;
    if (TypePlain(spec, bare).ok()) return "; the quotes make it text: remove them";
  }
  YamlNode meant;
  meant.kind = YamlNode::Kind::kScalar;
  if (spec.type == Type::kNumber) {
    meant.text = NearestNumber(node.text);
    if (!meant.text.empty() && TypePlain(spec, meant).ok()) return Str("; write ", meant.text);
    meant.text.clear();
  }
  const bool is_no_count = spec.type == Type::kCount && !ParseCount(node.text).ok();
  if (is_no_count) meant.text = NearestCount(node.text);
  const bool is_no_int = spec.type == Type::kInt && !ParseInteger(node.text);
  if (is_no_int || (is_no_count && meant.text.empty())) meant.text = NearestInteger(node.text);
  if (is_no_int || is_no_count) {
    if (std::string number = WithoutThousands(node.text); !number.empty()) meant.text = number;
  }
  if (is_plain && HasLeadingZero(node.text)) {
    meant.text = WithoutLeadingZeros(node.text);
    if (!TypePlain(spec, meant).ok()) return "";
    return LeadingZeroRemedy(node.text);
  }
  if (spec.type == Type::kBool && node.text != "true" && node.text != "false") {
    meant.text = NearestBool(node.text);
  }
  return !meant.text.empty() && TypePlain(spec, meant).ok() ? Str("; write ", meant.text) : "";
}

// The expected value for messages about a file, with the spellings that YAML allows beyond JSON.
std::string ExpectedInFile(const ParamSpec& spec) {
  switch (spec.type) {
    case Type::kChoice:
      return spec.choices.size() == 1 ? spec.choices[0] : ExpectedValue(spec);
    case Type::kCount:
      return Str("a count from ", ShowNumber(spec.min), " to ", ShowNumber(spec.max),
                 " (4096, 64K, 200M, 8Ki)");
    case Type::kDuration:
      return Str("a duration from ", FormatDurationMs(static_cast<std::int64_t>(spec.min)), " to ",
                 FormatDurationMs(static_cast<std::int64_t>(spec.max)), " (30s, 10min, 1h)");
    case Type::kInt:
    case Type::kNumber:
    case Type::kBool:
    case Type::kText:
    case Type::kName:
    case Type::kNumberPair:
    case Type::kNumberList:
    case Type::kCountList:
    case Type::kChoiceList:
      return ExpectedValue(spec);
  }
  LR_CHECK(false);
}

Status Mismatch(const ParamSpec& spec, const YamlNode& node) {
  std::string message = Str("expected ", ExpectedInFile(spec), ", found ", ShowNode(node));
  // Only its length tells a wrong list from the expected one.
  const bool is_list = node.kind == YamlNode::Kind::kList;
  if (is_list && spec.type == Type::kNumberPair) StrAppend(message, Str(" of ", node.items.size()));
  message += Remedy(spec, node);
  if (spec.choices.size() > 1 && node.kind == YamlNode::Kind::kScalar) {
    const bool is_of_training = std::ranges::find(spec.choices, "bf16") != spec.choices.end();
    if (node.text == "fp16" && is_of_training) {
      message += "; models are not trained in fp16: use bf16";
    } else if (const std::string nearest = Nearest(node.text, spec.choices); !nearest.empty()) {
      message += Str("; did you mean \"", nearest, "\"?");
    }
  }
  return Status(Code::kInvalidArgument, std::move(message));
}

template <typename Number>
bool IsInRange(const ParamSpec& spec, Number number) {
  return static_cast<double>(number) >= spec.min && static_cast<double>(number) <= spec.max;
}

// Decimal digits with an optional minus, such as 12; 012, 0x10 and 1e3 are not integers.
std::optional<std::int64_t> ParseInteger(std::string_view text) {
  if (HasLeadingZero(text)) return std::nullopt;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// 4096, 64K; not 017.
Result<std::int64_t> ParseFileCount(std::string_view text) {
  if (!HasLeadingZero(text)) return ParseCount(text);
  return Status(Code::kInvalidArgument, "a count has no leading zero");
}

// 0.5, 1e-3, -2; not inf or nan, or a number that overflows a double.
std::optional<double> ParseNumber(std::string_view text) {
  if (HasLeadingZero(text)) return std::nullopt;
  if (text.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<Json> TypeNumberPair(const ParamSpec& spec, const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kList || node.items.size() != 2) return Mismatch(spec, node);
  Json pair = Json::array();
  for (const YamlNode& item : node.items) {
    const bool plain = item.kind == YamlNode::Kind::kScalar && !item.quoted;
    const std::optional<double> number = plain ? ParseNumber(item.text) : std::nullopt;
    if (!plain && ParseNumber(item.text)) {
      return Status(Code::kInvalidArgument,
                    Str(Mismatch(spec, item).message(), "; the quotes make it text: remove them"));
    }
    if (!number || !IsInRange(spec, *number)) return Mismatch(spec, item);
    pair.push_back(*number);
  }
  return pair;
}

Result<Json> TypePlain(const ParamSpec& spec, const YamlNode& node) {
  switch (spec.type) {
    case Type::kInt: {
      const std::optional<std::int64_t> number = ParseInteger(node.text);
      if (!number || !IsInRange(spec, *number)) return Mismatch(spec, node);
      return Json(*number);
    }
    case Type::kCount: {
      const Result<std::int64_t> count = ParseFileCount(node.text);
      if (!count.ok() || !IsInRange(spec, *count)) return Mismatch(spec, node);
      return Json(*count);
    }
    case Type::kNumber: {
      const std::optional<double> number = ParseNumber(node.text);
      if (!number || !IsInRange(spec, *number)) return Mismatch(spec, node);
      return Json(*number);
    }
    case Type::kBool:
      if (node.text != "true" && node.text != "false") return Mismatch(spec, node);
      return Json(node.text == "true");
    case Type::kDuration: {
      const Result<std::int64_t> duration_ms = ParseDurationMs(node.text);
      if (!duration_ms.ok() || !IsInRange(spec, *duration_ms)) return Mismatch(spec, node);
      return Json(*duration_ms);
    }
    default:
      return Mismatch(spec, node);
  }
}

}  // namespace

std::string ExpectedValue(const KeyRow& row) {
  switch (row.kind) {
    case KeyRow::Kind::kValue:
      return ExpectedInFile(row.spec);
    case KeyRow::Kind::kInit:
      return "the name of an imported model, or {run: RUN}, where RUN is a finished run (8 digits "
             "or more of its id)";
    case KeyRow::Kind::kMap:
      return "a map";
    case KeyRow::Kind::kLabels:
      return "a map from keys to texts";
    case KeyRow::Kind::kPosition:
      return "a position method: its name, or {method: NAME, its parameters}";
    case KeyRow::Kind::kSchedule:
      return "plain, or a position schedule: {method: NAME, its parameters}";
    case KeyRow::Kind::kPoints:
      return "a list of maps from axis to value";
    case KeyRow::Kind::kEvaluations:
      return "a list of maps with one key, the name of an evaluation";
    case KeyRow::Kind::kExtension:
      return "none, or an extension: its name, or {method: NAME, its parameters}";
    case KeyRow::Kind::kExtensions:
      return "a list of extensions: none, a name, or {method: NAME, its parameters}";
    case KeyRow::Kind::kClaims:
      return "a list of maps with one key, the kind of a claim";
    case KeyRow::Kind::kStages:
      return "a list of stages: {name: NAME, the settings that differ from the base's}";
    case KeyRow::Kind::kUnbuilt:
      return "nothing";
  }
  LR_CHECK(false);
}

std::string ParamMeaning(const ParamSpec& spec) {
  const std::string experimental = ExperimentalNote(spec.experimental);
  if (!spec.only_with) return Str(spec.meaning, experimental);
  return Str("(", spec.only_with->name, " ", Join(spec.only_with->values, ", "), ") ", spec.meaning,
             experimental);
}

Result<Json> TypeValue(const ParamSpec& spec, const YamlNode& node) {
  if (spec.type == Type::kNumberPair) return TypeNumberPair(spec, node);
  if (node.kind != YamlNode::Kind::kScalar) return Mismatch(spec, node);
  switch (spec.type) {
    case Type::kText:
      if (static_cast<double>(node.text.size()) > spec.max) return Mismatch(spec, node);
      return Json(node.text);
    case Type::kName:
      if (!IsSafeName(node.text)) return Mismatch(spec, node);
      return Json(node.text);
    case Type::kChoice:
      if (std::ranges::find(spec.choices, node.text) == spec.choices.end()) {
        return Mismatch(spec, node);
      }
      return Json(node.text);
    default:
      return node.quoted ? Mismatch(spec, node) : TypePlain(spec, node);
  }
}

Result<Json> TypeValue(const KeyRow& row, const YamlNode& node) {
  constexpr std::string_view kSpec = "spec.";
  if (row.kind != KeyRow::Kind::kValue) {
    return Status(Code::kInvalidArgument,
                  Str("expected ", ExpectedValue(row), ", found ", ShowNode(node)));
  }
  Result<Json> value = TypeValue(row.spec, node);
  const bool is_list = node.kind == YamlNode::Kind::kList;
  const bool is_single = row.spec.type != Type::kNumberPair;
  if (value.ok() || !is_list || !is_single || !row.axis || !row.path.starts_with("spec.train.")) {
    return value;
  }
  return Status(
      Code::kInvalidArgument,
      Str(value.status().message(), "; to try several values, list them in spec.matrix, as `",
          row.path.substr(kSpec.size()), ": [...]`"));
}

Json TypeParam(const ParamSpec& spec, const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kNothing) return nullptr;
  if (node.kind == YamlNode::Kind::kList) {
    Json list = Json::array();
    for (const YamlNode& item : node.items) list.push_back(TypeParam(spec, item));
    return list;
  }
  if (node.kind == YamlNode::Kind::kMap) return Json::object();
  if (node.quoted) return node.text;
  switch (spec.type) {
    case Type::kChoice:
    case Type::kChoiceList:
    case Type::kText:
    case Type::kName:
      return node.text;
    case Type::kBool:
      return node.text == "true" || node.text == "false" ? Json(node.text == "true")
                                                         : Json(node.text);
    case Type::kNumber:
    case Type::kNumberPair:
    case Type::kNumberList: {
      const std::optional<double> number = ParseNumber(node.text);
      return number ? Json(*number) : Json(node.text);
    }
    case Type::kInt: {
      const std::optional<std::int64_t> number = ParseInteger(node.text);
      return number ? Json(*number) : Json(node.text);
    }
    case Type::kDuration: {
      const Result<std::int64_t> duration_ms = ParseDurationMs(node.text);
      return duration_ms.ok() ? Json(*duration_ms) : Json(node.text);
    }
    case Type::kCount:
    case Type::kCountList: {
      const Result<std::int64_t> count = ParseFileCount(node.text);
      return count.ok() ? Json(*count) : Json(node.text);
    }
  }
  LR_CHECK(false);
}

std::string ShowNode(const YamlNode& node) {
  constexpr std::size_t kShownMax = 60;
  switch (node.kind) {
    case YamlNode::Kind::kNothing:
      return "nothing";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  const bool is_long = node.text.size() > kShownMax;
  std::string shown = ToUtf8(node.text.substr(0, kShownMax));
  std::ranges::replace_if(
      shown, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return Str('"', shown, is_long ? "..." : "", '"');
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& names) {
  // A number is near others by its value, not by its digits: nobody means 32 by 33.
  const bool is_number = word.find_first_not_of("0123456789.+-eE") == std::string_view::npos;
  const std::string nearest = is_number ? "" : Nearest(word, names);
  if (!nearest.empty()) return Str("; did you mean \"", nearest, "\"?");
  return names.empty() ? "" : Str("; expected one of ", Join(names, ", "));
}

}  // namespace longrun
