// The list of evaluations: one line each.
#include <array>

#include "base/str.h"
#include "model/evaluation/attention_map.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/multiple_choice.h"
#include "model/evaluation/needle.h"
#include "model/evaluation/passkey.h"
#include "model/evaluation/perplexity.h"
#include "model/evaluation/pseudo_perplexity.h"
#include "model/evaluation/throughput.h"

namespace longrun {

std::span<const Evaluation* const> Evaluations() {
  static const std::array evaluations = {
      &PerplexityEvaluation(),   &ThroughputEvaluation(),       &MultipleChoiceEvaluation(),
      &AttentionMapEvaluation(), &PseudoPerplexityEvaluation(), &PasskeyEvaluation(),
      &NeedleEvaluation(),
  };
  return evaluations;
}

std::string WhyUnsupported(const Evaluation& evaluation, bool causal) {
  using Reads = Evaluation::Reads;
  if (evaluation.reads == Reads::kCausal && !causal) {
    return Str(
        "needs model.causal: true, since without the causal mask a token's probability is not that "
        "of the next token; for this model use ",
        PseudoPerplexityEvaluation().name);
  }
  if (evaluation.reads == Reads::kBidirectional && causal) {
    return Str(
        "needs model.causal: false, since a hidden token is guessed from both sides; for this "
        "model use ",
        PerplexityEvaluation().name);
  }
  return "";
}

std::vector<std::string> FileParamsIn(const Evaluation& evaluation, const Json& params) {
  std::vector<std::string> names;
  for (const FileParam& file : evaluation.files) {
    const std::string name(file.name);
    if (params.contains(name)) names.push_back(name);
  }
  return names;
}

std::vector<Json*> InputFilesOf(Json& evaluation) {
  std::vector<Json*> files;
  if (!evaluation.is_object() || evaluation.empty()) return files;
  const Result<const Evaluation*> known = FindEvaluation(evaluation.begin().key());
  if (!known.ok()) return files;
  Json& params = evaluation.begin().value();
  for (const std::string& name : FileParamsIn(**known, params)) files.push_back(&params.at(name));
  return files;
}

std::vector<std::string> EvaluationNames() {
  std::vector<std::string> names;
  for (const Evaluation* evaluation : Evaluations()) names.emplace_back(evaluation->name);
  return names;
}

Result<const Evaluation*> FindEvaluation(std::string_view name) {
  for (const Evaluation* evaluation : Evaluations()) {
    if (evaluation->name == name) return evaluation;
  }
  const std::vector<std::string> names = EvaluationNames();
  const std::string nearest = Nearest(name, names);
  return Status(
      Code::kNotFound,
      Str("unknown evaluation \"", name, "\"", nearest.empty() ? "" : "; did you mean \"", nearest,
          nearest.empty() ? "" : "\"?", " (evaluations: ", Join(names, ", "), ")"));
}

namespace {

// The evaluation of {name: parameters}; null if this build does not know the name.
const Evaluation* KnownOrNull(const Json& evaluation) {
  if (!evaluation.is_object() || evaluation.empty()) return nullptr;
  const Result<const Evaluation*> known = FindEvaluation(evaluation.begin().key());
  return known.ok() ? *known : nullptr;
}

}  // namespace

bool EvaluationWrites(const Json& evaluation) {
  const Evaluation* const known = KnownOrNull(evaluation);
  return known != nullptr && known->writes;
}

bool EvaluationReadsOnce(const Json& evaluation) {
  const Evaluation* const known = KnownOrNull(evaluation);
  return known != nullptr && known->reads_once != nullptr &&
         known->reads_once(evaluation.begin().value());
}

int EvaluationKeysHeld(const Json& evaluation) {
  const Evaluation* const known = KnownOrNull(evaluation);
  if (known != nullptr && known->branches) return 2;
  return EvaluationWrites(evaluation) || EvaluationReadsOnce(evaluation) ? 1 : 0;
}

}  // namespace longrun
