#include "sweeps/published.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/str.h"
#include "base/utf8.h"
#include "model/param.h"
#include "sweeps/limits.h"
#include "sweeps/value.h"
#include "sweeps/yaml_tree.h"

namespace longrun {
namespace {

using Kind = YamlNode::Kind;
using Type = ParamSpec::Type;

constexpr std::string_view kRoot = "published";
constexpr std::string_view kContextLength = "context_length";
constexpr std::string_view kValue = "value";
constexpr double kContextLengthMax = 1 << 30;
constexpr double kTextMax = 4096;  // bytes
constexpr double kNumberMax = 1e300;
constexpr double kCountMax = 9e15;

// Names that an axis cannot have, because they are something else here.
constexpr std::string_view kNotAxes[] = {kContextLength, kValue, "metric", "seed"};
// What a line of the comparison has besides its axes.
constexpr std::string_view kOfLines[] = {"theirs", "ours", "status", "difference", "apart", "runs"};

struct Key {
  std::string_view name;
  std::string_view meaning;
  bool required = true;
};
constexpr Key kKeys[] = {
    {"title", "a short title of the table"},
    {"source", "authors, year, paper, table or figure"},
    {"metric", "the metric of the numbers, as in `longrun table --metric`"},
    {"axes", "a list of the axes that tell the numbers apart, such as [position, train_length]"},
    {"values", "a list of maps with a value for each axis, context_length and value"},
    {"settings", "settings of the published training and evaluation", false},
    {"notes", "remarks for readers of the comparison", false},
    {"reading_error", "largest error of the numbers, such as that of reading a figure", false},
};

std::vector<std::string> KeyNames() {
  std::vector<std::string> names;
  for (const Key& key : kKeys) names.emplace_back(key.name);
  return names;
}

// The sections of a setting's key; those with a dot need a name after it.
constexpr std::string_view kSections[] = {"dataset",   "tokenizer", "model.",
                                          "position.", "train.",    "evaluate."};

bool IsSettingKey(std::string_view key) {
  return std::ranges::any_of(kSections, [key](std::string_view section) {
    if (!section.ends_with('.')) return key == section;
    return key.starts_with(section) && key.size() > section.size() && !key.ends_with('.');
  });
}

ParamSpec Text() { return {.type = Type::kText, .max = kTextMax}; }

// A count without quotes, such as 64 or 1K.
std::optional<std::int64_t> CountIn(const YamlNode& node) {
  if (node.kind != Kind::kScalar || node.quoted) return std::nullopt;
  const Result<Json> count = TypeValue({.type = Type::kCount, .max = kCountMax}, node);
  return count.ok() ? std::optional(count->get<std::int64_t>()) : std::nullopt;
}

// A scalar as JSON: a whole number, a number, a count such as 1K, true or false, or else text.
Json ScalarOf(const YamlNode& node) {
  if (!node.quoted) {
    const ParamSpec forms[] = {{.type = Type::kInt, .min = -kCountMax, .max = kCountMax},
                               {.type = Type::kNumber, .min = -kNumberMax, .max = kNumberMax},
                               {.type = Type::kCount, .max = kCountMax},
                               {.type = Type::kBool}};
    for (const ParamSpec& form : forms) {
      if (const Result<Json> value = TypeValue(form, node); value.ok()) return *value;
    }
  }
  return node.text;
}

class PublishedReader {
 public:
  PublishedReader(PublishedTable& table, std::vector<Problem>& problems)
      : table_(table), problems_(problems) {}

  void Read(const YamlNode& root) {
    const YamlNode::Entry* const entry = root.Find(kRoot);
    if (root.kind != Kind::kMap || entry == nullptr) {
      return Report(root.place, Str("expected a map with the key published, found ",
                                    root.kind == Kind::kMap ? "a map without it" : ShowNode(root)));
    }
    for (const YamlNode::Entry& one : root.entries) {
      if (one.key != kRoot) {
        Report(one.place, Str(one.key, ": unknown key; everything is below published"));
      }
    }
    const YamlNode& map = entry->value;
    if (map.kind != Kind::kMap) {
      return Report(map.place, Str(kRoot, ": expected a map, found ", ShowNode(map)));
    }
    CheckKeys(map, entry->place);
    ReadText(map, "title", table_.title);
    ReadText(map, "source", table_.source);
    ReadText(map, "notes", table_.notes);
    Typed(map, "metric", {.type = Type::kName}, [&](const Json& json) { table_.metric = json; });
    Typed(map, "reading_error", {.type = Type::kNumber, .min = 0, .max = kNumberMax},
          [&](const Json& json) { table_.reading_error = json; });
    ReadAxes(map);
    ReadSettings(map);
    ReadValues(map);
  }

 private:
  void Report(Place place, std::string message) {
    problems_.push_back({.place = place, .message = std::move(message)});
  }

  // The node of a key that has a value.
  static const YamlNode* Find(const YamlNode& map, std::string_view key) {
    const YamlNode::Entry* const entry = map.Find(key);
    return entry == nullptr || entry->value.kind == Kind::kNothing ? nullptr : &entry->value;
  }

  void CheckKeys(const YamlNode& map, Place place) {
    const std::vector<std::string> names = KeyNames();
    for (const YamlNode::Entry& entry : map.entries) {
      if (std::ranges::find(names, entry.key) == names.end()) {
        Report(entry.place,
               Str(kRoot, ".", entry.key, ": unknown key", DidYouMean(entry.key, names)));
      }
    }
    for (const Key& key : kKeys) {
      if (key.required && Find(map, key.name) == nullptr) {
        Report(place, Str(kRoot, ".", key.name, ": must be given: ", key.meaning));
      }
    }
  }

  // Calls take(value) if there is one of this type.
  template <typename Take>
  void Typed(const YamlNode& map, std::string_view key, const ParamSpec& spec, const Take& take) {
    const YamlNode* const node = Find(map, key);
    if (node == nullptr) return;
    const Result<Json> value = TypeValue(spec, *node);
    if (value.ok()) {
      take(*value);
    } else {
      Report(node->place, Str(kRoot, ".", key, ": ", value.status().message()));
    }
  }

  void ReadText(const YamlNode& map, std::string_view key, std::string& out) {
    Typed(map, key, Text(), [&](const Json& json) {
      out = Trim(json.get_ref<const std::string&>());
      std::ranges::replace(out, '\n', ' ');
    });
  }

  void ReadAxes(const YamlNode& map) {
    const YamlNode* const node = Find(map, "axes");
    if (node == nullptr) return;
    if (node->kind != Kind::kList || node->items.empty()) {
      const std::string found = node->kind == Kind::kList ? "an empty one" : ShowNode(*node);
      return Report(
          node->place,
          Str(kRoot, ".axes: expected a list of axes, such as [position], found ", found));
    }
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      const YamlNode& item = node->items[i];
      const std::string path = Str(kRoot, ".axes[", i, "]: ");
      if (item.kind != Kind::kScalar || item.text.empty()) {
        Report(item.place, Str(path, "expected the name of an axis, found ", ShowNode(item)));
      } else if (std::ranges::find(kNotAxes, item.text) != std::end(kNotAxes)) {
        Report(item.place, Str(path, "\"", item.text, "\" cannot be listed here: ",
                               item.text == kContextLength ? "every table has it"
                               : item.text == "seed"       ? "seeds are averaged"
                               : item.text == "metric"     ? "published.metric says it"
                                                           : "it is the number itself"));
      } else if (std::ranges::find(kOfLines, item.text) != std::end(kOfLines)) {
        Report(item.place,
               Str(path, "\"", item.text,
                   "\" cannot be the name of an axis: comparisons have a column of that "
                   "name"));
      } else if (std::ranges::find(table_.axes, item.text) != table_.axes.end()) {
        Report(item.place, Str(path, "\"", item.text, "\" is listed twice: remove one"));
      } else {
        table_.axes.push_back(item.text);
      }
    }
  }

  void ReadSettings(const YamlNode& map) {
    const YamlNode* const node = Find(map, "settings");
    if (node == nullptr) return;
    if (node->kind != Kind::kMap) {
      return Report(node->place, Str(kRoot,
                                     ".settings: expected a map from keys of a run to "
                                     "values, as train.tokens: 1000, found ",
                                     ShowNode(*node)));
    }
    for (const YamlNode::Entry& entry : node->entries) {
      const std::string path = Str(kRoot, ".settings.", entry.key, ": ");
      if (!IsSettingKey(entry.key)) {
        Report(entry.place, Str(path,
                                "unknown setting; expected dataset, tokenizer, or a key that "
                                "begins with model., position., train. or evaluate."));
      } else if (std::ranges::find(table_.axes, entry.key) != table_.axes.end()) {
        Report(entry.place, Str(path, "is an axis, so each value has its own: remove it here"));
      } else if (const std::optional<Json> value = SettingOf(entry.key, entry.value)) {
        table_.settings.emplace_back(entry.key, *value);
      } else {
        Report(entry.value.place, Str(path,
                                      "expected a number, a text, true, false, or a list of "
                                      "these, found ",
                                      ShowNode(entry.value)));
      }
    }
  }

  static std::optional<Json> SettingOf(std::string_view key, const YamlNode& node) {
    const bool is_name = key == "dataset" || key == "tokenizer";
    if (is_name && node.kind == Kind::kScalar) return node.text;
    if (node.kind == Kind::kScalar) return ScalarOf(node);
    if (node.kind != Kind::kList || node.items.empty()) return std::nullopt;
    Json list = Json::array();
    for (const YamlNode& item : node.items) {
      if (item.kind != Kind::kScalar) return std::nullopt;
      list.push_back(ScalarOf(item));
    }
    return list;
  }

  void ReadValues(const YamlNode& map) {
    const YamlNode* const node = Find(map, "values");
    if (node == nullptr) return;
    if (node->kind != Kind::kList || node->items.empty()) {
      const std::string found = node->kind == Kind::kList ? "an empty one" : ShowNode(*node);
      return Report(node->place, Str(kRoot, ".values: expected a list of maps, found ", found));
    }
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      ReadValue(node->items[i], Str(kRoot, ".values[", i, "]"));
    }
  }

  // One number, or those of several context lengths.
  void ReadValue(const YamlNode& node, const std::string& path) {
    if (node.kind != Kind::kMap) {
      return Report(node.place, Str(path, ": expected a map with ", Join(NamesOfValue(), ", "),
                                    ", found ", ShowNode(node)));
    }
    const std::size_t n_before = problems_.size();
    const std::vector<std::string> names = NamesOfValue();
    for (const YamlNode::Entry& entry : node.entries) {
      if (std::ranges::find(names, entry.key) == names.end()) {
        Report(entry.place,
               Str(path, ".", entry.key, ": unknown key; expected one of ", Join(names, ", ")));
      }
    }
    PublishedValue value;
    for (const std::string& axis : table_.axes) {
      const YamlNode* const at = Find(node, axis);
      if (at == nullptr) {
        Report(node.place, Str(path, ".", axis, ": must be given: it is one of published.axes"));
      } else if (at->kind != Kind::kScalar) {
        Report(at->place, Str(path, ".", axis, ": expected one value, found ", ShowNode(*at)));
      } else {
        value.at.push_back(at->text);
        value.counts.push_back(CountIn(*at));
      }
    }
    const std::vector<Json> lengths = Numbers(
        node, path, kContextLength, {.type = Type::kCount, .min = 1, .max = kContextLengthMax});
    const std::vector<Json> numbers =
        Numbers(node, path, kValue, {.type = Type::kNumber, .min = -kNumberMax, .max = kNumberMax});
    if (problems_.size() != n_before) return;
    if (lengths.size() != numbers.size()) {
      return Report(
          Find(node, kValue)->place,
          Str(path, ".value: ", numbers.size(), numbers.size() == 1 ? " number" : " numbers",
              " for ", lengths.size(), lengths.size() == 1 ? " context length" : " context lengths",
              ": give one for each"));
    }
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      value.context_length = lengths[i].get<std::int64_t>();
      value.value = numbers[i].get<double>();
      Add(value, path, node.place);
    }
  }

  std::vector<std::string> NamesOfValue() const {
    std::vector<std::string> names = table_.axes;
    names.emplace_back(kContextLength);
    names.emplace_back(kValue);
    return names;
  }

  // One number or a list of them; empty after a problem.
  std::vector<Json> Numbers(const YamlNode& map, const std::string& path, std::string_view key,
                            const ParamSpec& spec) {
    const YamlNode* const node = Find(map, key);
    if (node == nullptr) {
      Report(map.place, Str(path, ".", key, ": must be given"));
      return {};
    }
    const bool is_list = node->kind == Kind::kList;
    if (is_list && node->items.empty()) {
      Report(node->place, Str(path, ".", key,
                              ": expected a number or a list of numbers, found "
                              "an empty list"));
    }
    std::vector<Json> numbers;
    for (const YamlNode& item : is_list ? node->items : std::vector<YamlNode>{*node}) {
      const Result<Json> number = TypeValue(spec, item);
      if (number.ok()) {
        numbers.push_back(*number);
      } else {
        Report(item.place, Str(path, ".", key, ": ", number.status().message()));
      }
    }
    return numbers;
  }

  void Add(const PublishedValue& value, const std::string& path, Place place) {
    std::vector<std::string> at = value.at;
    for (std::size_t a = 0; a < at.size(); ++a) {
      if (const auto count = value.CountAt(a)) at[a] = Str(*count);
    }
    const auto [first, is_new] =
        first_at_.try_emplace({at, value.context_length}, std::pair(path, place.line));
    if (is_new) {
      table_.values.push_back(value);
      return;
    }
    std::vector<std::string> parts;
    for (std::size_t a = 0; a < table_.axes.size(); ++a) {
      parts.push_back(Str(table_.axes[a], " ", value.at[a]));
    }
    const auto& [path_first, line] = first->second;
    Report(place, Str(path, ": ", Join(parts, ", "), " at context length ", value.context_length,
                      " is given already, by ", path_first, " in line ", line, ": remove one"));
  }

  PublishedTable& table_;
  std::vector<Problem>& problems_;
  std::map<std::pair<std::vector<std::string>, std::int64_t>, std::pair<std::string, int>>
      first_at_;
};

// "a/b/alibi.yaml" -> "alibi"
std::string NameOfFile(std::string_view file_name) {
  constexpr std::string_view kYaml = ".yaml";
  std::string_view name = file_name.substr(file_name.rfind('/') + 1);
  if (name.ends_with(kYaml)) name.remove_suffix(kYaml.size());
  return std::string(name);
}

}  // namespace

Result<PublishedTable> ParsePublishedTable(std::string_view yaml, std::string_view file_name) {
  PublishedTable table{.name = NameOfFile(file_name)};
  std::vector<Problem> problems;
  if (const std::optional<YamlNode> root = ParseYaml(yaml, /*source=*/0, problems)) {
    PublishedReader(table, problems).Read(*root);
  }
  if (problems.empty()) return table;
  std::ranges::sort(problems);
  problems.erase(std::unique(problems.begin(), problems.end()), problems.end());
  std::vector<std::string> lines;
  for (const Problem& problem : problems) {
    if (lines.size() == kErrorsMax) break;
    lines.push_back(OneLine(
        Str(file_name, ":", problem.place.line, ":", problem.place.column, ": ", problem.message)));
  }
  return Status(Code::kInvalidArgument, Join(lines, "\n"));
}

std::vector<std::string> PublishedNames() {
  std::vector<std::string> names;
  for (const PublishedFile& file : PublishedFiles()) names.emplace_back(file.name);
  return names;
}

Result<PublishedTable> FindPublishedTable(std::string_view name) {
  const auto found = std::ranges::find(PublishedFiles(), name, &PublishedFile::name);
  if (found == PublishedFiles().end()) {
    return Status(
        Code::kNotFound,
        Str("there is no published table ", Quoted(name), DidYouMean(name, PublishedNames()),
            "; a path with a slash or ending in .yaml is read as a file"));
  }
  return ParsePublishedTable(found->yaml, Str(found->name, ".yaml"));
}

}  // namespace longrun
