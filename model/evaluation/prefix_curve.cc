// The NLL of the first L targets of each document, by one pass over the document: GALI's perplexity
// on PG-19 (arXiv:2502.02659, AcademyCityL/GALI). x_0 is a begin-of-text token, or without `bos`
// the document's first token; x_1, x_2, ... are the tokens after it.
//
//   losses of a document    -ln p(x_m | x_0 .. x_(m-1)),  m = 1, 2, ...
//   scored at L             the first L losses of every document that has so many
//
// A target sees all earlier tokens of its document. All windows of a document begin where it
// begins, so that one pass serves all of them, and all lengths (prefix_pass.h).
//
// compat gali has two quirks of the authors' code:
//   - A document counts if it is at most 20 losses short of L, and its sum is divided by L all the
//     same. The result is the mean over documents of exp(sum / L): extra.compat.perplexity of the
//     row, whose value remains the mean NLL of the scored tokens.
//   - For all methods but GALI and ChunkLlama the code reads a document in chunks of `drop_every`
//     tokens (2000), and takes losses only inside each chunk: the loss of the first token of each
//     chunk is missing, and all later ones move up.
#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "model/evaluation/protocol.h"
#include "model/evaluation/window.h"

namespace longrun {
namespace {

constexpr std::int64_t kMissingMax = 20;

struct Rule {
  bool bos = true;
  bool compat = false;
  std::int64_t drop_every = 0;
  std::int64_t document_tokens = 0;
};

Rule RuleOf(const Json& params) {
  return {.bos = params.at("bos").get<bool>(),
          .compat = params.at("compat") == "gali",
          .drop_every = params.at("drop_every").get<std::int64_t>(),
          .document_tokens = params.at("document_tokens").get<std::int64_t>()};
}

std::optional<ParamError> Check(const PlanRequest& request) {
  const Rule rule = RuleOf(request.params);
  if (request.score_tokens != 0) {
    return ParamError{"score_tokens",
                      "has no meaning with prefix_curve: each length scores the first L targets of "
                      "each document; remove it"};
  }
  if (rule.drop_every == 0) return std::nullopt;
  if (!rule.compat) {
    return ParamError{"drop_every", "is a quirk of GALI's code: add compat: gali, or remove it"};
  }
  if (rule.drop_every == 1) {
    return ParamError{"drop_every", "chunks of 1 token have no loss: expected 0, or 2 or more"};
  }
  return std::nullopt;
}

// The windows of the first n losses of a document whose targets are [first, end), without the
// dropped ones; fewer losses if there are no more.
std::vector<Window> WindowsOf(const Rule& rule, const TextSpan& document, std::int64_t n) {
  const std::int64_t first = document.begin + (rule.bos ? 0 : 1);
  std::vector<Window> windows;
  for (std::int64_t t = first; t < document.end && n > 0;) {
    std::int64_t end = std::min(document.end, t + n);
    if (rule.drop_every > 0) {
      // Target `first` is x_1; the targets x_m with m divisible by drop_every are dropped.
      const std::int64_t m = t - first + 1;
      if (m % rule.drop_every == 0) {
        ++t;
        continue;
      }
      end = std::min(end, t + rule.drop_every - m % rule.drop_every);
    }
    windows.push_back(
        {.context_begin = document.begin, .score_begin = t, .score_end = end, .bos = rule.bos});
    n -= end - t;
    t = end;
  }
  return windows;
}

Result<std::vector<Window>> Plan(const PlanRequest& request) {
  const Rule rule = RuleOf(request.params);
  const std::int64_t least = request.context_length - (rule.compat ? kMissingMax : 0);
  std::vector<Window> windows;
  std::int64_t longest = 0;
  for (const TextSpan& document : request.documents) {
    if (document.end - document.begin < rule.document_tokens) continue;
    const std::vector<Window> of_document = WindowsOf(rule, document, request.context_length);
    std::int64_t n = 0;
    for (const Window& window : of_document) n += window.score_end - window.score_begin;
    longest = std::max(longest, n);
    if (n > 0 && n >= least) windows.insert(windows.end(), of_document.begin(), of_document.end());
  }
  if (!windows.empty()) return windows;
  return Status(Code::kInvalidArgument,
                Str("no document ",
                    rule.document_tokens > 0
                        ? Str("of document_tokens ", rule.document_tokens, " tokens or more ")
                        : "",
                    "has the ", request.context_length, " targets of context length ",
                    request.context_length, ": the longest has ", longest,
                    "; lower context_lengths, or use a dataset with longer documents"));
}

// The authors' number: windows of one document have the same beginning.
Json Extra(const PlanRequest& request, std::span<const Window> windows, const Score& score) {
  if (!RuleOf(request.params).compat) return nullptr;
  const auto length = static_cast<double>(request.context_length);
  double sum_of_perplexities = 0.0;
  std::int64_t n_documents = 0;
  for (std::size_t w = 0; w < windows.size();) {
    double nll_sum = 0.0;
    const std::int64_t begin = windows[w].context_begin;
    for (; w < windows.size() && windows[w].context_begin == begin; ++w) {
      nll_sum += score.windows[w].nll_sum;
    }
    sum_of_perplexities += std::exp(nll_sum / length);
    ++n_documents;
  }
  const double mean = sum_of_perplexities / static_cast<double>(n_documents);
  // JSON has no infinity.
  return {{"compat",
           {{"perplexity", std::isfinite(mean) ? Json(mean) : Json()},
            {"documents", n_documents},
            {"missing", n_documents * request.context_length - score.n}}}};
}

bool NeedsDocuments(const Json&) { return true; }

std::int64_t DefaultScoreTokens(std::int64_t, const Json&) { return 0; }

}  // namespace

const Protocol& PrefixCurveProtocol() {
  static const Protocol protocol = {
      .name = "prefix_curve",
      .source = "arXiv:2502.02659; AcademyCityL/GALI, PG-19",
      .meaning = "the first L targets of each document, all lengths from one pass over it",
      .params = {{.name = "bos",
                  .type = ParamSpec::Type::kBool,
                  .default_value = true,
                  .meaning =
                      "true: put the begin-of-text token before each document, or the end-of-text "
                      "token if the tokenizer has only that; false: do not score the first token"},
                 {.name = "document_tokens",
                  .type = ParamSpec::Type::kCount,
                  .default_value = 0,
                  .min = 0,
                  .max = 1e15,
                  .meaning = "leave out documents with fewer tokens than this; if this is at least "
                             "the longest context length, all lengths score the same documents"},
                 {.name = "compat",
                  .type = ParamSpec::Type::kChoice,
                  .default_value = "none",
                  .choices = {"none", "gali"},
                  .meaning = "gali: also count documents up to 20 targets short of L, and add the "
                             "number of GALI's code, a mean of perplexities, to the row"},
                 {.name = "drop_every",
                  .type = ParamSpec::Type::kCount,
                  .default_value = 0,
                  .min = 0,
                  .max = 1 << 30,
                  .meaning = "with compat gali: do not score the first token of each chunk of this "
                             "many tokens, as GALI's code does (2000) for all methods but GALI and "
                             "ChunkLlama; 0: score all tokens"}},
      .uses_bos = true,
      .needs_documents = &NeedsDocuments,
      .check = &Check,
      .default_score_tokens = &DefaultScoreTokens,
      .plan = &Plan,
      .reads_prefixes = true,
      .extra = &Extra,
  };
  return protocol;
}

}  // namespace longrun
