// `--set PATH=VALUE`, written into the tree of the file before it is read.
#include <algorithm>
#include <utility>

#include "base/str.h"
#include "sweeps/schema.h"
#include "sweeps/spec.h"
#include "sweeps/value.h"

namespace longrun {
namespace {

using Kind = YamlNode::Kind;

// The path of an override as steps from the root: "train.tokens" -> spec, train, tokens; an axis
// that the matrix has or every matrix has, or "matrix.AXIS" -> spec, matrix, AXIS.
std::vector<std::string> StepsOf(std::string_view path, const YamlNode& root) {
  if (path.starts_with("spec.")) path.remove_prefix(5);
  if (path.starts_with("metadata.")) return Split(path, '.');
  if (path.starts_with("matrix.")) return {"spec", "matrix", std::string(path.substr(7))};
  const YamlNode::Entry* const spec = root.Find("spec");
  const YamlNode::Entry* const matrix = spec != nullptr ? spec->value.Find("matrix") : nullptr;
  const bool in_matrix = matrix != nullptr && matrix->value.Find(path) != nullptr;
  if (in_matrix || FindKey(Str("spec.matrix.", path)) != nullptr) {
    return {"spec", "matrix", std::string(path)};
  }
  std::vector<std::string> steps = Split(path, '.');
  steps.insert(steps.begin(), "spec");
  return steps;
}

// A hint how to write the items of a list below the key `name`: if an item has the key `wanted`,
// that item, else the range of items.
std::string ItemsOf(const YamlNode& list, const std::string& name, std::string_view wanted) {
  if (list.kind != Kind::kList || list.items.empty()) return "";
  const std::size_t n_items = list.items.size();
  const auto holds = [&](const YamlNode& item) { return item.Find(wanted) != nullptr; };
  const auto item = std::ranges::find_if(list.items, holds);
  if (item != list.items.end()) {
    return Str("; it is a key of the list's items: write ", name, "[", item - list.items.begin(),
               "].", wanted);
  }
  return Str("; the list's items are ", name, "[0]",
             n_items == 1 ? "" : Str(" to ", name, "[", n_items - 1, "]"));
}

// Goes one step down from the key `parent` and creates what is missing; "evaluate[0]" is a key and
// an index. Returns null and sets `why` if it cannot.
YamlNode* StepDown(YamlNode* node, const std::string& parent, const std::string& step, Place place,
                   std::string& why) {
  const std::size_t bracket = step.find('[');
  const std::string key = step.substr(0, bracket);
  if (node->kind == Kind::kNothing) node->kind = Kind::kMap;
  if (node->kind != Kind::kMap || key.empty()) {
    why = Str("\"", step, "\" is not a key of ", ShowNode(*node));
    if (node->kind == Kind::kList) why += ItemsOf(*node, parent, key);
    return nullptr;
  }
  auto entry = std::ranges::find(node->entries, key, &YamlNode::Entry::key);
  if (entry == node->entries.end()) {
    YamlNode value;
    value.place = place;
    node->entries.push_back({.key = key, .place = place, .value = std::move(value)});
    entry = node->entries.end() - 1;
  }
  if (bracket == std::string::npos) return &entry->value;
  const std::string digits = step.substr(bracket + 1, step.size() - bracket - 2);
  const bool is_index = step.back() == ']' && !digits.empty() && digits.size() < 7 &&
                        digits.find_first_not_of("0123456789") == std::string::npos;
  if (!is_index || entry->value.kind != Kind::kList ||
      std::stoul(digits) >= entry->value.items.size()) {
    why = Str("there is no ", step, " in the file", ItemsOf(entry->value, key, ""));
    if (entry->value.kind == Kind::kNothing) entry->value.refused = true;
    return nullptr;
  }
  return &entry->value.items[std::stoul(digits)];
}

// Whether this is one value of an axis, not a list of values; a pair of numbers is one value.
bool IsOneValue(const KeyRow* axis, const YamlNode& node) {
  if (node.kind != Kind::kList) return true;
  const bool is_pair = axis != nullptr && axis->is(ParamSpec::Type::kNumberPair);
  return is_pair && !node.items.empty() && node.items[0].kind != Kind::kList;
}

// The axis that a list of values is for, as in train.optimizer.lr=[1e-3, 5e-4]; "" for one value,
// or if the key cannot be an axis.
std::string AxisOfList(std::string_view path, const YamlNode& value) {
  if (path.starts_with("spec.")) path.remove_prefix(5);
  const KeyRow* const axis = FindAxis(path);
  return axis == nullptr || IsOneValue(axis, value) ? "" : std::string(path);
}

// Removes a key's single value from spec: an axis on the command line takes precedence over the
// file.
void Remove(YamlNode& root, std::string_view path) {
  YamlNode* node = &root;
  const std::vector<std::string> steps = Split(Str("spec.", path), '.');
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto entry = std::ranges::find(node->entries, steps[i], &YamlNode::Entry::key);
    if (entry == node->entries.end()) return;
    if (i + 1 == steps.size()) {
      node->entries.erase(entry);
      return;
    }
    node = &entry->value;
  }
}

}  // namespace

void ApplyOverrides(const Overrides& overrides, YamlNode& root, std::vector<Problem>& problems) {
  for (std::size_t i = 0; i < overrides.size(); ++i) {
    const auto& [path, text] = overrides[i];
    const int source = static_cast<int>(i) + 1;
    const Place place = {.source = source, .line = 1, .column = 1};
    std::optional<YamlNode> value = ParseYaml(text, source, problems);
    if (!value) {  // its key is given nevertheless
      if (problems.back().message == kEmptyText) {
        problems.back().message = "there is no value: write one after the =, or leave this out";
      }
      value.emplace();
      value->refused = true;
    }
    std::vector<std::string> steps = StepsOf(path, root);
    const bool in_matrix = steps.size() == 3 && steps[1] == "matrix";
    const std::string axis = in_matrix ? steps[2] : AxisOfList(path, *value);
    if (!axis.empty()) {
      steps = {"spec", "matrix", axis};
      Remove(root, axis);
    }
    YamlNode* node = &root;
    std::string why;
    std::string parent;
    for (const std::string& step : steps) {
      if (node != nullptr) node = StepDown(node, std::exchange(parent, step), step, place, why);
    }
    if (node == nullptr) {
      problems.push_back({.place = place, .message = Str(path, ": ", why)});
      continue;
    }
    if (!axis.empty() && !value->refused && IsOneValue(FindAxis(axis), *value)) {
      YamlNode list;
      list.kind = Kind::kList;
      list.place = place;
      list.items.push_back(std::move(*value));
      value = std::move(list);
    }
    *node = std::move(*value);
    node->place = place;
  }
}

}  // namespace longrun
