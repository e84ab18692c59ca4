#include "model/evaluation/choice_items.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/json.h"
#include "base/str.h"
#include "model/evaluation/choice_text.h"

namespace longrun {
namespace {

constexpr std::size_t kChoicesMin = 2, kChoicesMax = 256;
constexpr std::size_t kLineBytesMax = std::size_t{16} << 20;

Status Invalid(std::string_view message) { return Status(Code::kInvalidArgument, message); }

// A found value for a message: it may be long, or be cut inside a character.
std::string Shown(const Json& value) { return ToUtf8(CanonicalJson(value).substr(0, 60)); }

Result<std::string> TextOf(const Json& item, const char* key, std::string_view expected) {
  if (item.contains(key)) return GetString(item, key);
  return Invalid(Str(key, " is missing: expected ", expected));
}

// Reads "label" or "answer": an index, possibly written as text.
Result<std::size_t> LabelOf(const Json& item, const char* key, std::size_t n_choices) {
  if (!item.contains(key)) {
    return Invalid(Str(key, " is missing: expected the index of the right choice"));
  }
  const Json& value = item.at(key);
  std::int64_t label = -1;
  if (value.is_number_integer()) {
    label = value.is_number_unsigned() && value.get<std::uint64_t>() > n_choices
                ? -1
                : value.get<std::int64_t>();
  } else if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, label);
    if (parsed.ec != std::errc() || parsed.ptr != end) label = -1;
  }
  if (label >= 0 && static_cast<std::size_t>(label) < n_choices) {
    return static_cast<std::size_t>(label);
  }
  return Invalid(
      Str(key, ": expected the index of a choice, 0 to ", n_choices - 1, ", found ", Shown(value)));
}

Result<std::vector<std::string>> ChoicesOf(const Json& item, const char* key) {
  const Json& list = item.at(key);
  if (!list.is_array() || list.size() < kChoicesMin || list.size() > kChoicesMax) {
    return Invalid(Str(key, ": expected a list of ", kChoicesMin, " to ", kChoicesMax,
                       " texts, found ",
                       list.is_array() ? Str("a list of ", list.size()) : Shown(list)));
  }
  std::vector<std::string> choices;
  choices.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string()) {
      return Invalid(Str(key, "[", i, "]: expected text, found ", Shown(list[i])));
    }
    choices.push_back(list[i].get<std::string>());
  }
  return choices;
}

// A choice without text has no likelihood.
Status CheckNoneEmpty(const std::vector<std::string>& choices, const char* key) {
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (StripPython(choices[i]).empty()) return Invalid(Str(key, "[", i, "]: holds no text"));
  }
  return Status();
}

// ctx unchanged; for lm_eval, "activity_label: ctx_a Ctx_b", preprocessed.
Result<std::string> HellaSwagContext(const Json& item, ChoiceProtocol protocol) {
  if (protocol == ChoiceProtocol::kNanoGpt) {
    return TextOf(item, "ctx", "the text before the endings, which protocol nanogpt reads");
  }
  constexpr std::string_view kParts =
      "a text, since protocol lm_eval makes the context of a line with endings from "
      "activity_label, ctx_a and ctx_b";
  ASSIGN_OR_RETURN(const std::string activity, TextOf(item, "activity_label", kParts));
  ASSIGN_OR_RETURN(const std::string before, TextOf(item, "ctx_a", kParts));
  ASSIGN_OR_RETURN(const std::string after, TextOf(item, "ctx_b", kParts));
  return PreprocessHellaSwag(Str(activity, ": ", before, " ", CapitalizePython(after)));
}

Result<ChoiceItem> ParseItem(std::string_view line, ChoiceProtocol protocol) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(line, {.bytes_max = kLineBytesMax}));
  if (!json.is_object()) return Invalid("expected a JSON object");
  const bool hellaswag = json.contains("endings"), general = json.contains("choices");
  if (hellaswag == general) {
    return Invalid(general ? "has both endings and choices: expected one of them"
                           : "has neither endings (HellaSwag) nor choices: expected {\"context\": "
                             "\"..\", \"choices\": [\"..\", \"..\"], \"answer\": 0}");
  }
  const char* const key = hellaswag ? "endings" : "choices";
  ChoiceItem item;
  ASSIGN_OR_RETURN(item.choices, ChoicesOf(json, key));
  ASSIGN_OR_RETURN(item.label, LabelOf(json, hellaswag ? "label" : "answer", item.choices.size()));
  if (hellaswag) {
    ASSIGN_OR_RETURN(item.context, HellaSwagContext(json, protocol));
  } else {
    ASSIGN_OR_RETURN(
        item.context,
        TextOf(json, "context", "the text before the choices; write \"\" if there is none"));
  }
  if (hellaswag && protocol == ChoiceProtocol::kLmEval) {
    for (std::string& choice : item.choices) choice = PreprocessHellaSwag(choice);
  }
  RETURN_IF_ERROR(CheckNoneEmpty(item.choices, key));
  item.is_train = json.contains("split") && json.at("split") == "train";
  return item;
}

}  // namespace

Result<std::vector<ChoiceItem>> ParseChoiceItems(std::string_view name, std::string_view jsonl,
                                                 ChoiceProtocol protocol) {
  std::vector<ChoiceItem> items;
  std::int64_t n_lines = 0;
  for (std::size_t begin = 0; begin < jsonl.size();) {
    const std::size_t end = std::min(jsonl.find('\n', begin), jsonl.size());
    const std::string_view line = jsonl.substr(begin, end - begin);
    begin = end + 1;
    n_lines += 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Result<ChoiceItem> item = ParseItem(line, protocol);
    if (!item.ok()) {
      return Status(item.status().code() == Code::kUnimplemented ? Code::kUnimplemented
                                                                 : Code::kInvalidArgument,
                    Str(name, ":", n_lines, ": ", item.status().message()));
    }
    item->line = n_lines;
    items.push_back(std::move(item).value());
  }
  if (items.empty()) return Invalid(Str(name, ": has no items: expected one JSON object per line"));
  return items;
}

}  // namespace longrun
