#include "sweeps/evaluation_name.h"

#include <algorithm>
#include <vector>

#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"
#include "model/extension/extension.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"

namespace longrun {
namespace {

bool IsDefault(const std::string& evaluation, const std::string& parameter, const Json& value) {
  const Result<const Evaluation*> found = FindEvaluation(evaluation);
  if (!found.ok()) return false;
  const auto spec = std::ranges::find((*found)->params, parameter, &ParamSpec::name);
  return spec != (*found)->params.end() && spec->default_value == value;
}

// Of one without a dataset of its own and without an extension.
std::string PlainName(const Json& evaluation, bool whole) {
  const std::string& name = evaluation.begin().key();
  const Json& params = evaluation.begin().value();
  if (!whole && !params.contains("protocol")) return name;
  std::vector<std::string> parts;
  for (const auto& [param, value] : params.items()) {
    const bool stands_elsewhere = param == "split" || param == "protocol" || param == "baseline" ||
                                  param == "context_lengths" || (param == "score_tokens" && !whole);
    if (stands_elsewhere || IsDefault(name, param, value)) continue;
    const std::string text = value.is_string() ? value.get<std::string>() : CanonicalJson(value);
    parts.push_back(Str(param, "=", IsInputFileId(text) ? ShortInputFileId(text) : text));
  }
  const std::string protocol = params.value("protocol", name);
  return parts.empty() ? protocol : Str(protocol, "(", Join(parts, ","), ")");
}

}  // namespace

std::string EvaluationName(const Json& evaluation, bool whole) {
  if (!evaluation.is_object() || evaluation.empty() || !evaluation.begin()->is_object()) return "";
  std::string name = PlainName(WithoutEvaluatedDataset(WithoutExtension(evaluation)), whole);
  if (const std::optional<EvaluatedDataset> dataset = EvaluatedDatasetOf(evaluation)) {
    StrAppend(name, Str(" on ", dataset->name));
  }
  if (ExtensionOf(evaluation).is_null()) return name;
  return Str(name, " under ", ExtensionText(ExtensionName(evaluation, /*trained_length=*/0)));
}

}  // namespace longrun
