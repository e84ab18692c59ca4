#include "sweeps/named_files.h"

#include <algorithm>
#include <optional>
#include <vector>

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
    std::vector<NamedHere> named_here;
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
      Result<InputFile> read = ReadOne(file, named->value.text, *params);
      if (!read.ok()) {
        Report(named->value.place, path, read.status().message());
        continue;
      }
      named_here.push_back({.param = &file,
                            .place = named->value.place,
                            .path = path,
                            .file = std::move(read).value()});
    }
    CheckTogether(**evaluation, entry.value, named_here);
    Add(std::move(named_here));
  }

  void ReadName(const YamlNode& root) {
    const YamlNode::Entry* const metadata = root.Find("metadata");
    const YamlNode::Entry* const name =
        metadata == nullptr ? nullptr : metadata->value.Find("name");
    if (name != nullptr) found_.sweep = name->value.text;
  }

  NamedFiles TakeFound() { return std::move(found_); }
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

  // A file that an evaluation names.
  struct NamedHere {
    const FileParam* param = nullptr;
    Place place = {};
    std::string path = {};  // of the parameter below spec
    InputFile file = {};
  };

  void Report(const Place& place, const std::string& path, std::string_view message) {
    problems_.push_back({.place = place, .message = Str("spec.", path, ": ", message)});
  }

  Result<InputFile> ReadOne(const FileParam& param, const std::string& name, const Json& params) {
    const bool is_absolute = name.starts_with('/');
    ASSIGN_OR_RETURN(InputFile file, ReadInputFile(is_absolute ? name : JoinPath(folder_, name)));
    RETURN_IF_ERROR(param.check(name, file.bytes, params));
    return file;
  }

  // Leaves out a file that the evaluation does not accept beside the others. Asked here, where the
  // mistake can be reported at what the user wrote, and not at the override.
  void CheckTogether(const Evaluation& evaluation, const YamlNode& node,
                     std::vector<NamedHere>& named) {
    std::optional<Json> params = Params(evaluation, node);
    if (!params || evaluation.fit == nullptr || named.size() < 2) return;
    for (const NamedHere& one : named) (*params)[std::string(one.param->name)] = one.file.id;
    const std::optional<ParamError> error = evaluation.fit(DatasetShape(), *params);
    if (!error) return;
    const auto wrong = std::ranges::find_if(
        named, [&](const NamedHere& one) { return one.param->name == error->key; });
    if (wrong == named.end()) return;  // about another parameter: ParseSweep reports it
    Report(wrong->place, wrong->path, error->message);
    named.erase(wrong);
  }

  void Add(std::vector<NamedHere> named) {
    for (NamedHere& one : named) {
      found_.overrides.emplace_back(std::move(one.path), one.file.id);
      found_.files.push_back(std::move(one.file));
    }
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
  if (!root) return reader.TakeFound();
  ApplyOverrides(overrides, *root, others);
  reader.ReadName(*root);
  const YamlNode::Entry* const spec = root->Find("spec");
  const YamlNode::Entry* const evaluate = spec == nullptr ? nullptr : spec->value.Find("evaluate");
  if (evaluate == nullptr) return reader.TakeFound();
  for (std::size_t i = 0; i < evaluate->value.items.size(); ++i) {
    reader.Read(evaluate->value.items[i], i);
  }
  NamedFiles found = reader.TakeFound();
  if (!reader.problems().empty()) {
    found.problems = ToStatus(std::move(reader.problems()), file_name, overrides);
  }
  return found;
}

}  // namespace longrun
