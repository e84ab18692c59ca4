// Values of a sweep file by their rows: what they must be, and what a person may have meant.
#include "sweeps/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "sweeps/limits.h"

namespace longrun {
namespace {

using Type = KeyRow::Type;

Result<Json> TypePlain(const KeyRow& row, const YamlNode& node);

// "; write 1000" and its like, for what stands in the place of a row's value.
std::string Remedy(const KeyRow& row, const YamlNode& node) {
  constexpr std::string_view kSpec = "spec.";
  const bool is_list = node.kind == YamlNode::Kind::kList;
  const bool is_single = row.type != Type::kNumberPair;
  if (is_list && is_single && row.axis && row.path.starts_with("spec.train.")) {
    return Str("; several values stand in spec.matrix, as ", row.path.substr(kSpec.size()),
               ": [...]");
  }
  if (node.kind != YamlNode::Kind::kScalar) return "";
  const bool is_plain = row.type == Type::kInt || row.type == Type::kCount ||
                        row.type == Type::kNumber || row.type == Type::kDuration ||
                        row.type == Type::kBool;
  if (is_plain && node.quoted) {
    YamlNode bare = node;
    bare.quoted = false;
    if (TypePlain(row, bare).ok()) return "; in quotes it is text: remove them";
  }
  YamlNode meant;
  meant.kind = YamlNode::Kind::kScalar;
  if (row.type == Type::kCount && !ParseCount(node.text).ok()) meant.text = NearestCount(node.text);
  if (row.type == Type::kBool && node.text != "true" && node.text != "false") {
    meant.text = NearestBool(node.text);
  }
  return !meant.text.empty() && TypePlain(row, meant).ok() ? Str("; write ", meant.text) : "";
}

Status Mismatch(const KeyRow& row, const YamlNode& node, std::string_view why = "") {
  std::string message = Str("expected ", ExpectedValue(row), ", found ", ShowNode(node));
  if (!why.empty()) message += Str(" (", why, ")");
  message += Remedy(row, node);
  if (row.choices.size() > 1 && node.kind == YamlNode::Kind::kScalar) {
    if (const std::string nearest = Nearest(node.text, row.choices); !nearest.empty()) {
      message += Str("; did you mean \"", nearest, "\"?");
    }
  }
  return Status(Code::kInvalidArgument, std::move(message));
}

template <typename Number>
bool IsInRange(const KeyRow& row, Number number) {
  return static_cast<double>(number) >= row.min && static_cast<double>(number) <= row.max;
}

// Decimal digits with an optional minus: 012 is twelve, 0x10 and 1e3 are no integers.
std::optional<std::int64_t> ParseInteger(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// 0.5, 1e-3, -2; neither inf nor nan, and nothing that a double cannot hold.
std::optional<double> ParseNumber(std::string_view text) {
  if (text.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<Json> TypeNumberPair(const KeyRow& row, const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kList || node.items.size() != 2) return Mismatch(row, node);
  Json pair = Json::array();
  for (const YamlNode& item : node.items) {
    const bool plain = item.kind == YamlNode::Kind::kScalar && !item.quoted;
    const std::optional<double> number = plain ? ParseNumber(item.text) : std::nullopt;
    if (!plain && ParseNumber(item.text)) {
      return Status(Code::kInvalidArgument,
                    Str(Mismatch(row, item).message(), "; in quotes it is text: remove them"));
    }
    if (!number || !IsInRange(row, *number)) return Mismatch(row, item);
    pair.push_back(*number);
  }
  return pair;
}

Result<Json> TypePlain(const KeyRow& row, const YamlNode& node) {
  switch (row.type) {
    case Type::kInt: {
      const std::optional<std::int64_t> number = ParseInteger(node.text);
      if (!number || !IsInRange(row, *number)) return Mismatch(row, node);
      return Json(*number);
    }
    case Type::kCount: {
      const Result<std::int64_t> count = ParseCount(node.text);
      if (!count.ok() || !IsInRange(row, *count)) return Mismatch(row, node);
      return Json(*count);
    }
    case Type::kNumber: {
      const std::optional<double> number = ParseNumber(node.text);
      if (!number || !IsInRange(row, *number)) return Mismatch(row, node);
      return Json(*number);
    }
    case Type::kBool:
      if (node.text != "true" && node.text != "false") return Mismatch(row, node);
      return Json(node.text == "true");
    case Type::kDuration: {
      const Result<std::int64_t> duration_ms = ParseDurationMs(node.text);
      if (!duration_ms.ok() || !IsInRange(row, *duration_ms)) return Mismatch(row, node);
      return Json(*duration_ms);
    }
    default:
      return Mismatch(row, node);
  }
}

}  // namespace

std::string ShowNumber(double number) {
  const bool is_whole = number == std::floor(number) && std::abs(number) < 1e16;
  return is_whole ? Str(static_cast<std::int64_t>(number)) : Str(number);
}

std::string ExpectedValue(const KeyRow& row) {
  const std::string range = Str(" from ", ShowNumber(row.min), " to ", ShowNumber(row.max));
  switch (row.type) {
    case Type::kMap:
      return "a map";
    case Type::kText:
      return Str("text of at most ", kTextBytesMax, " bytes");
    case Type::kName:
      return "a name of 1 to 128 letters, digits, '.', '_' or '-' that does not start with '.'";
    case Type::kChoice:
      return row.choices.size() == 1 ? row.choices[0] : Str("one of ", Join(row.choices, ", "));
    case Type::kInt:
      return Str("an integer", range);
    case Type::kCount:
      return Str("a count", range, " (4096, 64K, 200M, 8Ki)");
    case Type::kNumber:
      return Str("a number", range);
    case Type::kBool:
      return "true or false";
    case Type::kDuration:
      return Str("a duration from ", FormatDurationMs(static_cast<std::int64_t>(row.min)), " to ",
                 FormatDurationMs(static_cast<std::int64_t>(row.max)), " (30s, 10min, 1h)");
    case Type::kNumberPair:
      return Str("a list of two numbers", range);
    case Type::kLabels:
      return "a map of text";
    case Type::kPosition:
      return "a position method: its name, or {method: NAME, its parameters}";
    case Type::kPoints:
      return "a list of maps from axis to value";
    case Type::kEvaluations:
      return "a list of maps with one key, the name of an evaluation";
    case Type::kUnbuilt:
      return "nothing";
  }
  LR_CHECK(false);
}

std::string ParamMeaning(const ParamSpec& spec) {
  const std::string experimental =
      spec.experimental.empty() ? "" : Str("; experimental: ", Join(spec.experimental, ", "));
  if (!spec.only_with) return Str(spec.meaning, experimental);
  return Str("(", spec.only_with->name, " ", Join(spec.only_with->values, ", "), ") ", spec.meaning,
             experimental);
}

Result<Json> TypeValue(const KeyRow& row, const YamlNode& node) {
  if (row.type == Type::kNumberPair) return TypeNumberPair(row, node);
  if (node.kind != YamlNode::Kind::kScalar) return Mismatch(row, node);
  switch (row.type) {
    case Type::kText:
      if (node.text.size() > kTextBytesMax) return Mismatch(row, node);
      return Json(node.text);
    case Type::kName:
      if (!IsSafeName(node.text)) return Mismatch(row, node);
      return Json(node.text);
    case Type::kChoice:
      if (std::ranges::find(row.choices, node.text) == row.choices.end()) {
        return Mismatch(row, node);
      }
      return Json(node.text);
    default:
      return node.quoted ? Mismatch(row, node) : TypePlain(row, node);
  }
}

Json TypeParam(const ParamSpec& spec, const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kNothing) return nullptr;
  if (node.kind == YamlNode::Kind::kList) {
    Json list = Json::array();
    for (const YamlNode& item : node.items) list.push_back(TypeParam(spec, item));
    return list;
  }
  if (node.kind == YamlNode::Kind::kMap) return Json::object();
  const bool is_choice =
      spec.type == ParamSpec::Type::kChoice || spec.type == ParamSpec::Type::kChoiceList;
  if (node.quoted || is_choice) return node.text;
  if (spec.type == ParamSpec::Type::kBool) {
    return node.text == "true" || node.text == "false" ? Json(node.text == "true")
                                                       : Json(node.text);
  }
  if (spec.type == ParamSpec::Type::kDouble) {
    const std::optional<double> number = ParseNumber(node.text);
    return number ? Json(*number) : Json(node.text);
  }
  const Result<std::int64_t> count = ParseCount(node.text);
  return count.ok() ? Json(*count) : Json(node.text);
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
  const std::string nearest = Nearest(word, names);
  if (!nearest.empty()) return Str("; did you mean \"", nearest, "\"?");
  return names.empty() ? "" : Str("; expected one of ", Join(names, ", "));
}

}  // namespace longrun
