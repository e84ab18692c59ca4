// NLL by the amount of a target's context: the windows of nonoverlap, summed separately for buckets
// of context length c = 1 .. L (c = 1 is the first target of a window, position 0).
//
//   log:    bucket i covers [b_i, b_{i+1}),  b_i = round((L + 1)^(i / B));  equal ones become one
//   fixed:  b_i = 1 + floor(i L / B)
//
// The row's value is the mean over all targets, as in nonoverlap; its `extra.buckets` and its
// artifact have the curve.
#include <cmath>

#include "model/evaluation/protocol.h"

namespace longrun {
namespace {

Result<std::vector<Window>> Plan(const PlanRequest& request) {
  return PlanNonOverlap({.n_tokens = request.n_tokens,
                         .context_length = request.context_length,
                         .score_tokens = request.score_tokens});
}

std::vector<std::int64_t> BucketEdges(const PlanRequest& request) {
  const auto n_buckets = request.params.at("buckets").get<std::int64_t>();
  const std::int64_t length = request.context_length;
  const bool is_log = request.params.at("spacing") == "log";
  std::vector<std::int64_t> edges = {1};
  edges.reserve(static_cast<std::size_t>(n_buckets) + 1);
  for (std::int64_t i = 1; i < n_buckets; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(n_buckets);
    const std::int64_t edge = is_log
                                  ? std::llround(std::pow(static_cast<double>(length + 1), share))
                                  : 1 + i * length / n_buckets;
    if (edge > edges.back() && edge <= length) edges.push_back(edge);
  }
  edges.push_back(length + 1);
  return edges;
}

}  // namespace

const Protocol& PerPositionProtocol() {
  static const Protocol protocol = {
      .name = "per_position",
      .source = "longrun docs/evaluation.md",
      .meaning = "windows without overlap; NLL by the context of the target",
      .params = {{.name = "buckets",
                  .type = ParamSpec::Type::kCount,
                  .default_value = 64,
                  .min = 1,
                  .max = 256,
                  .meaning = "largest number of buckets of context length; fewer if L is short"},
                 {.name = "spacing",
                  .type = ParamSpec::Type::kChoice,
                  .default_value = "log",
                  .choices = {"log", "fixed"},
                  .meaning = "buckets that widen with the context, or equal ones"}},
      .plan = &Plan,
      .bucket_edges = &BucketEdges,
  };
  return protocol;
}

}  // namespace longrun
