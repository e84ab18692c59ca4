// The rolling log-likelihood of EleutherAI/lm-evaluation-harness (lm_eval/utils.py,
// get_rolling_token_windows), with c = context_len and steps of L - c + 1 tokens:
//
//   first:  fed BOS and [0, L - 1), scored [0, min(L, n))
//   then:   k = min(n - done, L - c + 1), e = done + k:  fed [e - L - 1, e - 1), scored [done, e)
//
// c = 1 is ALiBi's non-overlapping evaluation (fairseq eval_lm, context window 0), c = L its
// sliding one: one scored token per window, with L tokens of context. Over the whole text as one
// stream, or over each document separately, like the harness for a task with many documents.
#include <algorithm>

#include "base/str.h"
#include "model/evaluation/document_tokens.h"
#include "model/evaluation/protocol.h"

namespace longrun {
namespace {

bool OverDocuments(const Json& params) { return params.at("over") == "documents"; }

// As one stream, every token is scored.
std::optional<ParamError> FitScoreTokens(const DatasetShape& dataset, Json& params) {
  return OverDocuments(params) ? FitDocumentTokens(dataset, params) : std::nullopt;
}

std::int64_t DefaultScoreTokens(std::int64_t n_tokens, const Json&) { return n_tokens; }

std::optional<ParamError> Check(const PlanRequest& request) {
  const auto context_len = request.params.at("context_len").get<std::int64_t>();
  if (context_len <= request.context_length) return std::nullopt;
  return ParamError{"context_len", Str("expected from 1 to the context length ",
                                       request.context_length, ", found ", context_len)};
}

void PlanText(const PlanRequest& request, const TextSpan& text, std::vector<Window>& windows) {
  const std::int64_t length = request.context_length;
  const std::int64_t step = length - request.params.at("context_len").get<std::int64_t>() + 1;
  std::int64_t done = std::min(text.begin + length, text.end);
  if (done <= text.begin) return;
  windows.push_back(
      {.context_begin = text.begin, .score_begin = text.begin, .score_end = done, .bos = true});
  while (done < text.end) {
    const std::int64_t end = std::min(done + step, text.end);
    windows.push_back({.context_begin = std::max(text.begin, end - length - 1),
                       .score_begin = done,
                       .score_end = end});
    done = end;
  }
}

Result<std::vector<Window>> Plan(const PlanRequest& request) {
  const std::int64_t text_end = request.score_tokens == 0 ? request.n_tokens : request.score_tokens;
  std::vector<Window> windows;
  if (OverDocuments(request.params)) {
    for (const TextSpan& document : request.documents) {
      PlanText(request, {document.begin, std::min(document.end, text_end)}, windows);
    }
  } else {
    PlanText(request, {0, text_end}, windows);
  }
  if (windows.empty()) {
    return Status(Code::kInvalidArgument, Str("the first ", text_end, " tokens hold no text"));
  }
  return windows;
}

}  // namespace

const Protocol& RollingProtocol() {
  static const Protocol protocol = {
      .name = "rolling",
      .source = "EleutherAI/lm-evaluation-harness lm_eval/utils.py; arXiv:2108.12409 appendix B",
      .meaning =
          "every token once; after the first window, each has at least context_len tokens of "
          "context",
      .params = {{.name = "context_len",
                  .type = ParamSpec::Type::kCount,
                  .default_value = 1,
                  .min = 1,
                  .max = 1 << 30,
                  .meaning = "smallest context of a target, at most L; 1: windows without overlap; "
                             "L: a window for each token, L times the work"},
                 {.name = "over",
                  .type = ParamSpec::Type::kChoice,
                  .default_value = "stream",
                  .choices = {"stream", "documents"},
                  .meaning = "the whole text as one, or each document by itself"}},
      .uses_bos = true,
      .needs_documents = &OverDocuments,
      .check = &Check,
      .fit_score_tokens = &FitScoreTokens,
      .default_score_tokens = &DefaultScoreTokens,
      .plan = &Plan,
  };
  return protocol;
}

}  // namespace longrun
