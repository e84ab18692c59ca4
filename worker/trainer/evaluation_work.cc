#include "worker/trainer/evaluation_work.h"

#include <set>

#include "sweeps/cost.h"

namespace longrun::trainer {

std::vector<double> WorkOf(const Evaluation& evaluation, const Json& params,
                           const DatasetShape& dataset, const ModelConfig& model,
                           std::span<const WorkPart> parts) {
  // Of the work of a model: a model that only counts tokens, and what a pass has read before.
  constexpr double kHardlyAny = 1e-3;
  const bool is_known = evaluation.tokens_read != nullptr && !params.is_null();
  const bool reads_once =
      is_known && evaluation.reads_once != nullptr && evaluation.reads_once(params);
  std::set<std::string> read;  // variants of which one pass has read the text for all lengths
  std::vector<double> work;
  for (const WorkPart& part : parts) {
    if (!is_known) {
      work.push_back(static_cast<double>(part.n_numbers));
      continue;
    }
    const double tokens = evaluation.tokens_read(dataset, params, part.context_length) *
                          static_cast<double>(part.longest_read) /
                          static_cast<double>(part.context_length);
    double flops = EvaluateFlops(model, tokens, part.longest_read);
    if (evaluation.variants_are_models && !part.variant.empty()) flops *= kHardlyAny;
    if (reads_once && !read.insert(part.variant).second) flops *= kHardlyAny;
    work.push_back(flops);
  }
  return work;
}

}  // namespace longrun::trainer
