// Windows that slide over each document, each with a begin-of-text token at its start: PoSE
// (arXiv:2309.10400, dwzhu-pku/PoSE src/eval_ppl.py), which is Hugging Face's "perplexity of
// fixed-length models" with a BOS. M = L - 1 tokens fit beside the BOS. For a document of n tokens
//
//   prev = 0
//   for begin = 0, S, 2S, ...:  end = min(begin + M, n)
//     fed [begin, end), scored [prev, end);  prev = end;  stop when end = n
//
// S = stride <= M. `truncate` cuts each document to its first M tokens: one window each. Every
// token of a document is scored once, at any length; a target after the first window sees at least
// M - S tokens and the BOS. End-of-text tokens at the ends of a document are not part of it: PoSE
// tokenises without special tokens.
#include <algorithm>

#include "base/str.h"
#include "model/evaluation/document_tokens.h"
#include "model/evaluation/protocol.h"

namespace longrun {
namespace {

// A stride of 0 means adjacent windows.
std::int64_t StrideOf(const PlanRequest& request) {
  const auto stride = request.params.at("stride").get<std::int64_t>();
  return stride == 0 ? request.context_length - 1 : stride;
}

std::optional<ParamError> Check(const PlanRequest& request) {
  const std::int64_t n_beside_bos = request.context_length - 1;
  const bool truncate = request.params.at("truncate").get<bool>();
  if (n_beside_bos < 1) {
    return ParamError{
        "context_lengths",
        "a window of 1 has room only for its begin-of-text token; expected 2 or more"};
  }
  if (truncate && request.params.at("stride") != 0) {
    return ParamError{"stride",
                      "has no meaning with truncate, which leaves one window of each document; "
                      "remove one of them"};
  }
  if (truncate && request.score_tokens != 0) {
    return ParamError{"score_tokens",
                      "has no meaning with truncate: each length scores the first L - 1 tokens of "
                      "each document; remove one of them"};
  }
  if (StrideOf(request) <= n_beside_bos) return std::nullopt;
  return ParamError{"stride",
                    Str("a stride of ", StrideOf(request), " skips tokens: at context length ",
                        request.context_length, ", expected at most ", n_beside_bos,
                        " (the begin-of-text token takes one place of each window)")};
}

// Windows of tokens [document.begin, document.begin + n).
void PlanDocument(const PlanRequest& request, std::int64_t begin_of_text, std::int64_t n,
                  std::vector<Window>& windows) {
  const std::int64_t fits = request.context_length - 1, stride = StrideOf(request);
  std::int64_t scored = 0;
  for (std::int64_t begin = 0; scored < n; begin += stride) {
    const std::int64_t end = std::min(begin + fits, n);
    windows.push_back({.context_begin = begin_of_text + begin,
                       .score_begin = begin_of_text + scored,
                       .score_end = begin_of_text + end,
                       .bos = true});
    scored = end;
  }
}

Result<std::vector<Window>> Plan(const PlanRequest& request) {
  const bool truncate = request.params.at("truncate").get<bool>();
  const std::int64_t text_end = request.score_tokens == 0 ? request.n_tokens : request.score_tokens;
  std::vector<Window> windows;
  for (const TextSpan& document : request.documents) {
    std::int64_t n = std::min(document.end, text_end) - document.begin;
    if (truncate) n = std::min(n, request.context_length - 1);
    PlanDocument(request, document.begin, n, windows);
  }
  if (windows.empty()) {
    return Status(Code::kInvalidArgument, Str("the first ", text_end, " tokens hold no text"));
  }
  return windows;
}

bool NeedsDocuments(const Json&) { return true; }

// With `truncate` there is no such number, which Check says.
std::optional<ParamError> FitScoreTokens(const DatasetShape& dataset, Json& params) {
  if (params.at("truncate").get<bool>()) return std::nullopt;
  return FitDocumentTokens(dataset, params);
}

// Every length scores every token, except with `truncate`, which scores only what a length reads.
std::int64_t DefaultScoreTokens(std::int64_t n_tokens, const Json& params) {
  return params.at("truncate").get<bool>() ? 0 : n_tokens;
}

}  // namespace

const Protocol& SlidingBosProtocol() {
  static const Protocol protocol = {
      .name = "sliding_bos",
      .source = "arXiv:2309.10400; dwzhu-pku/PoSE src/eval_ppl.py",
      .meaning = "windows slide over each document by a stride, with a begin-of-text token",
      .params = {{.name = "stride",
                  .type = ParamSpec::Type::kCount,
                  .default_value = 0,
                  .min = 0,
                  .max = 1 << 30,
                  .meaning = "tokens from one window to the next, at most L - 1; by default (0) "
                             "windows do not overlap"},
                 {.name = "truncate",
                  .type = ParamSpec::Type::kBool,
                  .default_value = false,
                  .meaning = "score only the first L - 1 tokens of each document"}},
      .uses_bos = true,
      .n_unfed = 1,  // L - 1 tokens are targets, and no target reads the last of them
      .needs_documents = &NeedsDocuments,
      .check = &Check,
      .fit_score_tokens = &FitScoreTokens,
      .default_score_tokens = &DefaultScoreTokens,
      .plan = &Plan,
  };
  return protocol;
}

}  // namespace longrun
