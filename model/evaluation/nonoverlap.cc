// Windows side by side, as in Cable (arXiv:2503.08067, src/evaluation.ipynb) and
// karpathy/build-nanogpt:
//
//   window k is fed [k L, k L + L) and scored on [k L + 1, k L + L + 1),  k = 0, 1, ...
//
// The first target of a window sees one token, the last one L. Both codes count floor(N / L)
// windows, the last of which wraps to the front if L divides N; here there are floor((N - 1) / L).
#include <algorithm>

#include "base/check.h"
#include "base/str.h"
#include "model/evaluation/protocol.h"

namespace longrun {

Result<std::vector<Window>> PlanNonOverlap(const NonOverlapPlan& plan) {
  const auto& [n_tokens, context_length, score_tokens] = plan;
  LR_CHECK(n_tokens >= 0 && context_length > 0 && score_tokens >= 0);
  if (n_tokens - 1 < context_length) {
    return Status(Code::kInvalidArgument,
                  Str("context_length ", context_length, " needs ", context_length,
                      " + 1 tokens, but there are ", n_tokens,
                      ": lower context_length, or give the split more text"));
  }
  if (score_tokens > n_tokens - 1) {
    return Status(Code::kInvalidArgument,
                  Str("score_tokens ", score_tokens, " exceeds the ", n_tokens - 1,
                      " tokens that can be scored of ", n_tokens));
  }
  if (score_tokens != 0 && score_tokens < context_length) {
    return Status(Code::kInvalidArgument,
                  Str("score_tokens ", score_tokens, " is less than context_length ",
                      context_length, ": not one window is full; raise score_tokens"));
  }
  const std::int64_t n_scored =
      score_tokens != 0 ? score_tokens : (n_tokens - 1) / context_length * context_length;
  std::vector<Window> windows;
  windows.reserve(static_cast<std::size_t>((n_scored + context_length - 1) / context_length));
  for (std::int64_t begin = 0; begin < n_scored; begin += context_length) {
    windows.push_back({.context_begin = begin,
                       .score_begin = begin + 1,
                       .score_end = std::min(begin + context_length, n_scored) + 1});
  }
  return windows;
}

namespace {

Result<std::vector<Window>> Plan(const PlanRequest& request) {
  return PlanNonOverlap({.n_tokens = request.n_tokens,
                         .context_length = request.context_length,
                         .score_tokens = request.score_tokens});
}

}  // namespace

const Protocol& NonOverlapProtocol() {
  static const Protocol protocol = {
      .name = "nonoverlap",
      .source = "axiomlab/Cable src/evaluation.ipynb; karpathy/build-nanogpt",
      .meaning = "windows side by side; a target sees 1 to L tokens",
      .plan = &Plan,
  };
  return protocol;
}

}  // namespace longrun
