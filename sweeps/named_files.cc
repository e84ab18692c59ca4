#include "sweeps/named_files.h"

#include <algorithm>
#include <optional>

#include "base/files.h"
#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/spec.h"
#include "sweeps/value.h"

namespace longrun {
namespace {

class FileReader {
 public:
  FileReader(std::string folder, const Overrides& overrides) : folder_(std::move(folder)) {
    found_.overrides = overrides;
  }

  // An entry of spec.evaluate, {NAME: {parameters}}.
  void Read(const YamlNode& node, std::size_t index) {
    if (node.entries.size() != 1) return;
    const YamlNode::Entry& entry = node.entries.front();
    const Result<const Evaluation*> evaluation = FindEvaluation(entry.key);
    if (!evaluation.ok()) return;
    for (const FileParam& file : (*evaluation)->files) {
      const YamlNode::Entry* const named = entry.value.Find(file.name);
      if (named == nullptr || named->value.kind != YamlNode::Kind::kScalar) continue;
      if (IsInputFileId(named->value.text)) {
        found_.ids.push_back(named->value.text);
        continue;
      }
      const std::optional<Json> params = Params(**evaluation, entry.value);
      if (!params) continue;
      const std::string path = Str("evaluate[", index, "].", entry.key, ".", file.name);
      const Status read = ReadOne(file, named->value.text, *params, path);
      if (read.ok()) continue;
      problems_.push_back(
          {.place = named->value.place, .message = Str("spec.", path, ": ", read.message())});
    }
  }

  void ReadName(const YamlNode& root) {
    const YamlNode::Entry* const metadata = root.Find("metadata");
    const YamlNode::Entry* const name =
        metadata == nullptr ? nullptr : metadata->value.Find("name");
    if (name != nullptr) found_.sweep = name->value.text;
  }

  NamedFiles Take() { return std::move(found_); }
  std::vector<Problem>& problems() { return problems_; }

 private:
  // nullopt if the parameters are invalid: the reader of the whole file reports that.
  static std::optional<Json> Params(const Evaluation& evaluation, const YamlNode& node) {
    Json given = Json::object();
    for (const YamlNode::Entry& entry : node.entries) {
      const auto spec = std::ranges::find(evaluation.params, entry.key, &ParamSpec::name);
      if (spec == evaluation.params.end()) return std::nullopt;
      given[entry.key] = TypeParam(*spec, entry.value);
    }
    Result<Json> params = ResolveParams(evaluation.params, given, evaluation.name);
    return params.ok() ? std::optional(std::move(params).value()) : std::nullopt;
  }

  Status ReadOne(const FileParam& param, const std::string& name, const Json& params,
                 const std::string& path) {
    const bool is_absolute = name.starts_with('/');
    ASSIGN_OR_RETURN(InputFile file, ReadInputFile(is_absolute ? name : JoinPath(folder_, name)));
    RETURN_IF_ERROR(param.check(name, file.bytes, params));
    found_.overrides.emplace_back(path, file.id);
    found_.files.push_back(std::move(file));
    return Status();
  }

  const std::string folder_;
  NamedFiles found_;
  std::vector<Problem> problems_;
};

}  // namespace

NamedFiles ReadNamedFiles(std::string_view yaml, std::string_view file_name,
                          const std::string& folder, const Overrides& overrides) {
  FileReader reader(folder, overrides);
  std::vector<Problem> others;
  std::optional<YamlNode> root = ParseYaml(yaml, /*source=*/0, others);
  if (!root) return reader.Take();
  ApplyOverrides(overrides, *root, others);
  reader.ReadName(*root);
  const YamlNode::Entry* const spec = root->Find("spec");
  const YamlNode::Entry* const evaluate = spec == nullptr ? nullptr : spec->value.Find("evaluate");
  if (evaluate == nullptr) return reader.Take();
  for (std::size_t i = 0; i < evaluate->value.items.size(); ++i) {
    reader.Read(evaluate->value.items[i], i);
  }
  NamedFiles found = reader.Take();
  if (!reader.problems().empty()) {
    found.problems = ToStatus(std::move(reader.problems()), file_name, overrides);
  }
  return found;
}

}  // namespace longrun
