#include "sweeps/dataset_file.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "model/limits.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/value.h"
#include "sweeps/yaml_tree.h"

namespace longrun {
namespace {

using Kind = YamlNode::Kind;
using Type = ParamSpec::Type;

// Maps and the keys below them; lists of files and free text are read by code of their own.
const std::vector<KeyRow>& Keys() {
  static const std::vector<KeyRow> keys = {
      {.path = "name",
       .spec = {.type = Type::kName, .meaning = "name of the dataset"},
       .required = true},
      {.path = "source",
       .kind = KeyRow::Kind::kMap,
       .spec = {.meaning = "the files to read, and their format"},
       .required = true},
      {.path = "source.format",
       .spec = {.type = Type::kChoice,
                .choices = SourceFormatNames(),
                .meaning = "format of the files"},
       .required = true},
      {.path = "source.files",
       .spec = {.type = Type::kText, .max = kTextBytesMax, .meaning = "paths and patterns"}},
      {.path = "source.separator",
       .spec = {.type = Type::kText,
                .max = kTextBytesMax,
                .meaning = "text between two documents"}},
      {.path = "source.field",
       .spec = {.type = Type::kText,
                .max = kTextBytesMax,
                .meaning = "path of the field with the text"}},
      {.path = "source.filter",
       .spec = {.type = Type::kText, .max = kTextBytesMax, .meaning = "PATH==VALUE"}},
      {.path = "source.dtype",
       .spec = {.type = Type::kChoice, .choices = {"u16", "u32"}, .meaning = "type of raw ids"}},
      {.path = "source.any_bytes",
       .spec = {.type = Type::kBool, .meaning = "text: also accept files that are not text"}},
      {.path = "tokenizer",
       .spec = {.type = Type::kText,
                .max = kTextBytesMax,
                .meaning = "a name, a file, or {kind, file}"}},
      {.path = "tokenizer.kind",
       .spec = {.type = Type::kText, .max = kTextBytesMax, .meaning = "name of the tokenizer"}},
      {.path = "tokenizer.file",
       .spec = {.type = Type::kText,
                .max = kTextBytesMax,
                .meaning = "file with the tokenizer's vocabulary"}},
      {.path = "packing",
       .kind = KeyRow::Kind::kMap,
       .spec = {.meaning = "how documents become one row of tokens"}},
      {.path = "packing.eot", .spec = {.type = Type::kChoice, .choices = Packing::EotNames()}},
      {.path = "packing.newline",
       .spec = {.type = Type::kChoice, .choices = {"keep", "universal"}}},
      {.path = "packing.order", .spec = {.type = Type::kChoice, .choices = Packing::OrderNames()}},
      {.path = "packing.join", .spec = {.type = Type::kText, .max = kTextBytesMax}},
      {.path = "packing.empty", .spec = {.type = Type::kChoice, .choices = {"drop", "keep"}}},
      {.path = "packing.min_doc_tokens",
       .spec = {.type = Type::kCount, .min = 0, .max = kTokensMax}},
      {.path = "packing.max_doc_tokens",
       .spec = {.type = Type::kCount, .min = 1, .max = kTokensMax}},
      {.path = "mix",
       .kind = KeyRow::Kind::kMap,
       .spec = {.meaning = "documents by rule that are mixed into the split `train`"}},
      {.path = "mix.rules",
       .spec = {.type = Type::kText,
                .max = kTextBytesMax,
                .meaning = "the rules, each with its share"},
       .required = true},
      {.path = "mix.seed", .spec = {.type = Type::kInt, .min = 0, .max = 9e15}},
      {.path = "split",
       .kind = KeyRow::Kind::kMap,
       .spec = {.meaning = "how documents are divided into train, validation and test"},
       .required = true},
      {.path = "split.by",
       .spec = {.type = Type::kChoice,
                .choices = {"files", "document", "first_tokens", "last_tokens"},
                .meaning = "the rule that divides the documents"},
       .required = true},
      {.path = "split.train", .spec = {.type = Type::kText, .max = kTextBytesMax}},
      {.path = "split.validation", .spec = {.type = Type::kText, .max = kTextBytesMax}},
      {.path = "split.test", .spec = {.type = Type::kText, .max = kTextBytesMax}},
      {.path = "split.seed", .spec = {.type = Type::kInt, .min = 0, .max = 9e15}},
      {.path = "shard_tokens", .spec = {.type = Type::kCount, .min = 1, .max = kTokensMax}},
  };
  return keys;
}

const KeyRow& RowOf(std::string_view path) {
  return *std::ranges::find(Keys(), path, &KeyRow::path);
}

std::vector<std::string> KeysBelow(std::string_view path) {
  const std::string prefix = path.empty() ? "" : Str(path, ".");
  std::vector<std::string> names;
  for (const KeyRow& row : Keys()) {
    if (!row.path.starts_with(prefix)) continue;
    const std::string_view rest = std::string_view(row.path).substr(prefix.size());
    if (rest.find('.') == std::string_view::npos) names.emplace_back(rest);
  }
  return names;
}

class DatasetReader {
 public:
  DatasetReader(std::string base_folder, std::vector<Problem>& problems) : problems_(problems) {
    file_.spec.base_folder = std::move(base_folder);
  }

  DatasetFile Read(const YamlNode& root) {
    if (root.kind != Kind::kMap) {
      Report(root.place,
             Str("expected a map with name, source, tokenizer and split, found ", ShowNode(root)));
      return std::move(file_);
    }
    CheckKeys(root, "", root.place);
    if (const YamlNode* const node = Find(root, "name")) {
      Typed("name", *node, [&](const Json& json) { file_.name = json; });
    }
    if (const YamlNode* const node = Find(root, "source")) ReadSource(*node);
    if (const YamlNode* const node = Find(root, "tokenizer")) ReadTokenizer(*node);
    if (const YamlNode* const node = Find(root, "packing")) ReadPacking(*node);
    if (const YamlNode* const node = Find(root, "mix")) ReadMix(*node);
    if (const YamlNode* const node = Find(root, "split")) ReadSplit(*node, root);
    if (const YamlNode* const node = Find(root, "shard_tokens")) {
      Typed("shard_tokens", *node, [&](const Json& json) { file_.spec.shard_tokens = json; });
    }
    if (problems_.empty()) CheckWhole(root);
    return std::move(file_);
  }

 private:
  void Report(Place place, std::string message) {
    problems_.push_back({.place = place, .message = std::move(message)});
  }

  static const YamlNode* Find(const YamlNode& node, std::string_view key) {
    const YamlNode::Entry* const entry = node.Find(key);
    // "key: null" and "key:" count as absent.
    const bool null = entry != nullptr && (entry->value.kind == Kind::kNothing ||
                                           (entry->value.kind == Kind::kScalar &&
                                            !entry->value.quoted && entry->value.text == "null"));
    return entry == nullptr || null ? nullptr : &entry->value;
  }

  // Reports unknown keys, and required keys that are missing.
  void CheckKeys(const YamlNode& node, const std::string& path, Place place) {
    const std::string prefix = path.empty() ? "" : Str(path, ".");
    const std::vector<std::string> names = KeysBelow(path);
    for (const YamlNode::Entry& entry : node.entries) {
      if (std::ranges::find(names, entry.key) == names.end()) {
        Report(entry.place, Str(prefix, entry.key, ": unknown key", DidYouMean(entry.key, names)));
      }
    }
    for (const std::string& name : names) {
      const KeyRow& row = RowOf(prefix + name);
      if (row.required && Find(node, name) == nullptr) {
        const std::string choices =
            row.spec.choices.empty() ? "" : Str(" (", ExpectedValue(row.spec), ")");
        Report(place, Str(row.path, ": must be given", choices, ": ", row.spec.meaning));
      }
    }
  }

  bool IsMap(const YamlNode& node, const std::string& path) {
    if (node.kind != Kind::kMap) {
      Report(node.place, Str(path, ": expected a map, found ", ShowNode(node)));
      return false;
    }
    CheckKeys(node, path, node.place);
    return true;
  }

  // Calls take(value) if the value is of the row's type.
  template <typename Take>
  void Typed(std::string_view path, const YamlNode& node, const Take& take) {
    const Result<Json> value = TypeValue(RowOf(path), node);
    if (value.ok()) {
      take(*value);
    } else {
      Report(node.place, Str(path, ": ", value.status().message()));
    }
  }

  template <typename Take>
  void TypedBelow(const YamlNode& map, const std::string& path, std::string_view name,
                  const Take& take) {
    if (const YamlNode* const node = Find(map, name)) Typed(Str(path, ".", name), *node, take);
  }

  // Any text, quoted or not.
  void OptionalText(const YamlNode& map, const std::string& path, std::string_view name,
                    std::optional<std::string>& out) {
    TypedBelow(map, path, name, [&](const Json& json) { out = json.get<std::string>(); });
  }

  std::vector<std::string> Files(const YamlNode& node, const std::string& path) {
    std::vector<std::string> files;
    if (node.kind == Kind::kScalar && !node.text.empty()) return {node.text};
    if (node.kind != Kind::kList || node.items.empty()) {
      Report(node.place, Str(path, ": expected a list of paths and patterns, found ",
                             node.kind == Kind::kList ? "an empty one" : ShowNode(node)));
      return files;
    }
    files.reserve(node.items.size());
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& item = node.items[i];
      if (item.kind == Kind::kScalar && !item.text.empty()) {
        files.push_back(item.text);
      } else {
        Report(item.place,
               Str(path, "[", i, "]: expected a path or a pattern, found ", ShowNode(item)));
      }
    }
    return files;
  }

  void ReadSource(const YamlNode& node) {
    if (!IsMap(node, "source")) return;
    SourceOptions& source = file_.spec.source;
    TypedBelow(node, "source", "format", [&](const Json& json) { source.format = json; });
    OptionalText(node, "source", "separator", source.separator);
    OptionalText(node, "source", "field", source.field);
    OptionalText(node, "source", "filter", source.filter);
    OptionalText(node, "source", "dtype", source.dtype);
    TypedBelow(node, "source", "any_bytes", [&](const Json& json) { source.any_bytes = json; });
  }

  void ReadTokenizer(const YamlNode& node) {
    std::optional<std::string> kind, file;
    if (node.kind == Kind::kMap) {
      CheckKeys(node, "tokenizer", node.place);
      OptionalText(node, "tokenizer", "kind", kind);
      OptionalText(node, "tokenizer", "file", file);
      if (!kind && !file) {
        return Report(node.place, "tokenizer: expected its name, a file, or {kind, file}");
      }
    } else {
      Typed("tokenizer", node, [&](const Json& json) { kind = json.get<std::string>(); });
    }
    const std::string given = file ? *file : kind.value_or("bytes");
    // A file is looked for beside the dataset's, as the texts are;
    // a name counts as a file only if it exists.
    const std::string beside = JoinPath(file_.spec.base_folder, given);
    const bool is_beside =
        !given.starts_with("/") && !file_.spec.base_folder.empty() && (file || PathExists(beside));
    file_.spec.tokenizer = is_beside ? beside : given;
  }

  void ReadPacking(const YamlNode& node) {
    if (!IsMap(node, "packing")) return;
    Packing& packing = file_.spec.packing;
    TypedBelow(node, "packing", "eot", [&](const Json& json) {
      packing.eot = Packing::ParseEot(json.get<std::string>()).value();
    });
    TypedBelow(node, "packing", "order", [&](const Json& json) {
      packing.order = Packing::ParseOrder(json.get<std::string>()).value();
    });
    TypedBelow(node, "packing", "newline",
               [&](const Json& json) { packing.universal_newlines = json == "universal"; });
    OptionalText(node, "packing", "join", packing.join);
    TypedBelow(node, "packing", "empty",
               [&](const Json& json) { packing.keep_empty = json == "keep"; });
    TypedBelow(node, "packing", "min_doc_tokens",
               [&](const Json& json) { packing.min_doc_tokens = json; });
    TypedBelow(node, "packing", "max_doc_tokens",
               [&](const Json& json) { packing.max_doc_tokens = json; });
  }

  // A number if it is written as one.
  static Json RuleValue(const YamlNode& node) {
    if (!node.quoted) {
      const Result<Json> number = ParseJson(node.text);
      if (number.ok() && number->is_number()) return *number;
    }
    return node.text;
  }

  // "passkey=0.4", or a map of the rule's name, its share and its parameters.
  Status AddRule(const YamlNode& node) {
    Mix& mix = file_.spec.mix;
    if (node.kind == Kind::kScalar) return mix.AddText(node.text);
    Json object = Json::object();
    for (const YamlNode::Entry& entry : node.entries) {
      if (entry.value.kind != Kind::kScalar) {
        return Status(
            Code::kInvalidArgument,
            Str(entry.key, ": expected a number or a word, found ", ShowNode(entry.value)));
      }
      object[entry.key] = RuleValue(entry.value);
    }
    return mix.Add(std::move(object));
  }

  void ReadMix(const YamlNode& node) {
    if (!IsMap(node, "mix")) return;
    TypedBelow(node, "mix", "seed", [&](const Json& json) { file_.spec.mix.seed = json; });
    const YamlNode* const rules = Find(node, "rules");
    if (rules == nullptr) return;
    if (rules->kind != Kind::kList || rules->items.empty()) {
      return Report(rules->place, Str("mix.rules: expected a list such as [passkey=0.4], found ",
                                      ShowNode(*rules)));
    }
    for (std::size_t i = 0; i < rules->items.size(); ++i) {
      const Status added = AddRule(rules->items[i]);
      if (!added.ok()) {
        Report(rules->items[i].place, Str("mix.rules[", i, "]: ", added.message()));
      }
    }
  }

  void ReadSplit(const YamlNode& node, const YamlNode& root) {
    if (!IsMap(node, "split")) return;
    SplitRule& rule = file_.spec.split;
    std::string by;
    TypedBelow(node, "split", "by", [&](const Json& json) { by = json; });
    if (by.empty()) return;
    const YamlNode::Entry* const source = root.Find("source");
    const YamlNode* const files = source == nullptr ? nullptr : Find(source->value, "files");
    if (by == "files") {
      if (files != nullptr) {
        Report(files->place,
               "source.files: remove this key; with `split: {by: files}`, the files are listed "
               "under `split`");
      }
      for (const std::string_view name : {"train", "validation", "test"}) {
        const YamlNode* const list = Find(node, name);
        if (list == nullptr) continue;
        file_.spec.files.emplace_back(name, Files(*list, Str("split.", name)));
      }
      return;
    }
    if (files == nullptr) {
      Report(source == nullptr ? root.place : source->value.place,
             Str("source.files: must be given when the split is by ", by));
    } else {
      file_.spec.files.emplace_back("", Files(*files, "source.files"));
    }
    if (const YamlNode* const train = Find(node, "train")) {
      Report(train->place, Str("split.train: remove this key; train has all documents that are not "
                               "held out when the split is by ",
                               by));
    }
    const std::size_t n_before = problems_.size();
    if (by == "document") {
      rule.by = SplitRule::By::kDocument;
      HeldOut(node, {.type = Type::kNumber, .min = 0, .max = 1}, "validation", rule.validation);
      HeldOut(node, {.type = Type::kNumber, .min = 0, .max = 1}, "test", rule.test);
      TypedBelow(node, "split", "seed", [&](const Json& json) { rule.seed = json; });
    } else {
      rule.by = by == "first_tokens" ? SplitRule::By::kFirstTokens : SplitRule::By::kLastTokens;
      const ParamSpec count = {.type = Type::kCount, .min = 0, .max = kTokensMax};
      HeldOut(node, count, "validation", rule.validation_tokens);
      HeldOut(node, count, "test", rule.test_tokens);
    }
    const Status good = rule.Check();
    if (problems_.size() == n_before && !good.ok()) Report(node.place, good.message());
  }

  template <typename Number>
  void HeldOut(const YamlNode& split, const ParamSpec& spec, std::string_view name, Number& out) {
    const YamlNode* const node = Find(split, name);
    if (node == nullptr) return;
    const Result<Json> value = TypeValue(spec, *node);
    if (value.ok()) {
      out = value->get<Number>();
    } else {
      Report(node->place, Str("split.", name, ": ", value.status().message()));
    }
  }

  // Errors that only show in the file as a whole, when each part is right by itself.
  void CheckWhole(const YamlNode& root) {
    const Result<const SourceFormat*> format = CheckSourceOptions(file_.spec.source);
    if (!format.ok()) {
      Report(root.Find("source")->value.place, Str("source: ", format.status().message()));
    }
    if (file_.spec.files.empty()) {
      Report(root.Find("split")->value.place, "split: name the files of train, validation or test");
    }
  }

  std::vector<Problem>& problems_;
  DatasetFile file_;
};

}  // namespace

Result<DatasetFile> ParseDatasetFile(std::string_view yaml, std::string_view file_name,
                                     const std::string& base_folder) {
  std::vector<Problem> problems;
  DatasetFile file;
  if (const std::optional<YamlNode> root = ParseYaml(yaml, /*source=*/0, problems)) {
    file = DatasetReader(base_folder, problems).Read(*root);
  }
  if (problems.empty()) return file;
  std::ranges::sort(problems);
  problems.erase(std::unique(problems.begin(), problems.end()), problems.end());
  std::vector<std::string> lines;
  lines.reserve(problems.size());
  for (const Problem& problem : problems) {
    if (lines.size() == kErrorsMax) break;
    lines.push_back(OneLine(
        Str(file_name, ":", problem.place.line, ":", problem.place.column, ": ", problem.message)));
  }
  return Status(Code::kInvalidArgument, Join(lines, "\n"));
}

}  // namespace longrun
