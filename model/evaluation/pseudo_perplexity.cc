// Pseudo-perplexity, Salazar et al. 2020 (arXiv:1910.14659, equations 1 and 2),
// over windows W of a text:
//
//   PLL(W) = sum over t of ln p(token t | the other tokens of W)     one pass for each t: only
//                                                                    token t is replaced
//                                                                    by the mask token
//   pseudo_nll = -sum of the scored tokens' terms / n,   pseudo-perplexity = exp(pseudo_nll)
//
// It is not a perplexity: the terms are not factors of a probability of the text. `pll_approximate`
// hides several tokens of a window in one pass, and so predicts each without the others: fewer
// passes, and a higher number.
#include "model/evaluation/pseudo_perplexity.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/evaluation/nll_row.h"
#include "model/evaluation/params.h"
#include "model/evaluation/split.h"
#include "model/evaluation/text_error.h"

namespace longrun {
namespace {

constexpr std::string_view kMetric = "pseudo_nll";
constexpr std::int64_t kScoreTokensMax = 1'000'000'000;

// ---- parameters --------------------------------------------------------------------------------

Result<Json> ReadParams(const EvaluationRequest& request) {
  // A cell does not contain the list of lengths, but the table requires one.
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  return ResolveParams(PseudoPerplexityEvaluation().params, given, "pseudo_perplexity");
}

std::int64_t AtOnce(const Json& params) { return params.value("at_once", std::int64_t{1}); }

std::int64_t ScoreTokens(const Json& params, std::int64_t n_tokens) {
  const std::int64_t given = params.at("score_tokens");
  return given == 0 ? std::min(kPseudoScoreTokens, n_tokens) : given;
}

std::optional<ParamError> FitPseudoPerplexity(const DatasetShape& dataset, Json& params) {
  const auto lengths = params.at("context_lengths").get<std::vector<std::int64_t>>();
  const auto split = params.at("split").get<std::string>();
  if (std::optional<ParamError> error = CheckSplit(dataset, split); error) return error;
  const std::int64_t n_tokens = dataset.split_tokens.at(split);
  if (n_tokens < lengths.back()) {
    return ParamError{"context_lengths",
                      Str("context length ", lengths.back(), " is more than the ", n_tokens,
                          " tokens of split ", split, " of dataset \"", dataset.name, "\"")};
  }
  const std::int64_t score_tokens = ScoreTokens(params, n_tokens);
  if (score_tokens > n_tokens) {
    return ParamError{"score_tokens",
                      Str("expected from 1 to the ", n_tokens, " tokens of split ", split,
                          " of dataset \"", dataset.name, "\", found ", score_tokens)};
  }
  params["score_tokens"] = score_tokens;
  return std::nullopt;
}

// ---- the run -----------------------------------------------------------------------------------

class PassScorer {
 public:
  PassScorer(const Dataset& dataset, const TokenSplit& split, std::int64_t context_length,
             std::int64_t block_tokens, std::int32_t mask)
      : token_bytes_(dataset.token_bytes()),
        split_(split),
        places_(split.document_starts(), block_tokens),
        window_(static_cast<std::size_t>(context_length)),
        mask_(mask) {
    score_.block_tokens = block_tokens;
  }

  // Scores the passes in one call of the model.
  Status Score(LanguageModel& model, std::span<const MaskedPass> passes) {
    std::vector<MaskedSequence> sequences;
    sequences.reserve(passes.size());
    for (const MaskedPass& pass : passes) {
      ASSIGN_OR_RETURN(MaskedSequence sequence, Hide(pass));
      sequences.push_back(std::move(sequence));
    }
    ASSIGN_OR_RETURN(const std::vector<std::vector<float>> nll, model.MaskedNll(sequences));
    LR_CHECK(nll.size() == passes.size());
    for (std::size_t i = 0; i < passes.size(); ++i) Add(passes[i], sequences[i].targets, nll[i]);
    return {};
  }

  longrun::Score Take() { return std::move(score_); }

 private:
  Result<MaskedSequence> Hide(const MaskedPass& pass) {
    if (pass.begin != window_begin_) {
      RETURN_IF_ERROR(split_.Read(pass.begin, window_));
      window_begin_ = pass.begin;
    }
    MaskedSequence sequence = {.tokens = window_, .positions = {}, .targets = {}};
    sequence.positions.reserve(pass.hidden.size());
    sequence.targets.reserve(pass.hidden.size());
    for (const std::int64_t t : pass.hidden) {
      const std::int64_t position = t - pass.begin;
      std::int32_t& token = sequence.tokens[static_cast<std::size_t>(position)];
      sequence.positions.push_back(position);
      sequence.targets.push_back(std::exchange(token, mask_));
    }
    return sequence;
  }

  void Add(const MaskedPass& pass, std::span<const std::int32_t> targets,
           std::span<const float> nll) {
    LR_CHECK(nll.size() == targets.size());
    for (std::size_t i = 0; i < nll.size(); ++i) {
      const bool finite = std::isfinite(nll[i]);
      const ClusterSum token = {
          .n = 1,
          .nll_sum = finite ? static_cast<double>(nll[i]) : 0.0,
          .bytes = token_bytes_.empty() ? 0 : token_bytes_[static_cast<std::size_t>(targets[i])]};
      if (!finite) score_.n_non_finite += 1;
      score_.n += 1;
      score_.nll_sum += token.nll_sum;
      score_.bytes += token.bytes;
      places_.Add(pass.hidden[i], token, score_);
    }
  }

  std::span<const std::int32_t> token_bytes_;
  const TokenSplit& split_;
  PlaceSums places_;
  std::vector<std::int32_t> window_;
  std::int64_t window_begin_ = -1;
  std::int32_t mask_ = -1;
  longrun::Score score_;
};

Result<Score> ScorePasses(LanguageModel& model, const EvaluationRequest& request,
                          const TokenSplit& split, std::span<const MaskedPass> passes,
                          const EvaluationProgress& progress) {
  // Targets are spread over the whole split.
  const std::int64_t block_tokens = TextBlockTokens(split.n_tokens(), split.n_tokens());
  // A baseline reads nothing, so it needs no mask token.
  const std::int32_t mask = model.mask_token().value_or(-1);
  PassScorer scorer(*request.dataset, split, request.context_length, block_tokens, mask);
  const auto per_call = static_cast<std::size_t>(request.windows_per_call);
  for (std::size_t begin = 0; begin < passes.size();) {
    const std::size_t n = std::min(per_call, passes.size() - begin);
    RETURN_IF_ERROR(scorer.Score(model, passes.subspan(begin, n)));
    begin += n;
    if (progress &&
        !progress(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(passes.size()))) {
      return Status(Code::kCancelled,
                    Str("stopped after ", begin, " of ", passes.size(), " passes"));
    }
  }
  return scorer.Take();
}

Result<EvaluationOutput> RunPseudoPerplexity(LanguageModel& model, const EvaluationRequest& request,
                                             const EvaluationProgress& progress) {
  LR_CHECK(request.dataset != nullptr && request.windows_per_call > 0);
  ASSIGN_OR_RETURN(const Json params, ReadParams(request));
  const auto split_name = params.at("split").get<std::string>();
  ASSIGN_OR_RETURN(const TokenSplit* const split, request.dataset->Split(split_name));
  const std::int64_t n_tokens = split->n_tokens();
  const std::int64_t score_tokens = ScoreTokens(params, n_tokens);
  if (std::max(score_tokens, request.context_length) > n_tokens) {
    return Status(Code::kInvalidArgument,
                  Str("pseudo_perplexity: score_tokens ", score_tokens, " and context length ",
                      request.context_length, " must not exceed the ", n_tokens,
                      " tokens of split ", split_name));
  }
  const std::vector<MaskedPass> passes = PlanMasked(
      n_tokens, request.context_length, SpreadTokens(n_tokens, score_tokens), AtOnce(params));
  const Result<Score> score = ScorePasses(model, request, *split, passes, progress);

  EvaluationOutput output;
  Json row = EmptyTokenRow(kMetric, request, split_name);
  row["protocol"] = params.at("protocol");
  Json own = ConditionalParams(PseudoPerplexityEvaluation().params, params);
  if (!own.empty()) row["extra"]["params"] = std::move(own);
  if (!score) {
    const std::string_view status = StatusOfModelError(score.status().code());
    if (status.empty()) return score.status();
    row["status"] = status;
    row["extra"]["reason"] = score.status().message();
  } else {
    FillNllRow(row, *score);
    row["extra"]["passes"] = passes.size();
    if (score->n_non_finite == 0) {
      AddTextSums(output, kMetric, request, split_name, *score);
    }
  }
  output.rows.push_back(std::move(row));
  return output;
}

// ---- the table ---------------------------------------------------------------------------------

std::vector<RowName> PseudoPerplexityRows(const Json& params) {
  std::vector<RowName> rows = {{.metric = kMetric, .variant = ""}};
  if (params.at("baseline") == "unigram") rows.push_back({.metric = kMetric, .variant = "unigram"});
  return rows;
}

double PseudoPerplexityTokensRead(const DatasetShape& dataset, const Json& params,
                                  std::int64_t context_length) {
  const std::int64_t n_tokens = dataset.split_tokens.at(params.at("split").get<std::string>());
  const auto n_scored = static_cast<double>(ScoreTokens(params, n_tokens));
  const double n_windows =
      std::ceil(static_cast<double>(n_tokens) / static_cast<double>(context_length));
  // A window with fewer targets than fit into one pass still takes a pass.
  const double n_passes =
      std::max(n_scored / static_cast<double>(AtOnce(params)), std::min(n_scored, n_windows));
  return n_passes * static_cast<double>(context_length);
}

std::vector<ParamSpec> PseudoPerplexitySpecs() {
  return {
      ContextLengthsParam("tokens in a window, including the hidden one"),
      SplitParam("the part of the dataset that is scored"),
      {.name = "protocol",
       .type = ParamSpec::Type::kChoice,
       .default_value = "pll",
       .choices = {"pll", "pll_approximate"},
       .meaning = "pll: exact, hides one token of a window at a time; pll_approximate: hides "
                  "several at a time"},
      {.name = "at_once",
       .type = ParamSpec::Type::kCount,
       .default_value = 8,
       .min = 2,
       .max = 1 << 20,
       .meaning = "tokens of a window to hide in one pass",
       .only_with = ParamSpec::Condition{.name = "protocol", .values = {"pll_approximate"}}},
      {.name = "score_tokens",
       .type = ParamSpec::Type::kCount,
       .default_value = 0,
       .min = 0,
       .max = kScoreTokensMax,
       .meaning =
           "tokens scored, spread evenly over the split, the same for every length; each costs a "
           "pass over a window; 0: 4096, or all of a split with fewer"},
      {.name = "baseline",
       .type = ParamSpec::Type::kChoice,
       .default_value = "none",
       .choices = {"none", "unigram"},
       .meaning =
           "unigram: also score a model without context, fitted on the train split's token counts"},
      PrecisionParam(),
  };
}

}  // namespace

std::vector<std::int64_t> SpreadTokens(std::int64_t n_tokens, std::int64_t score_tokens) {
  LR_CHECK(score_tokens > 0 && score_tokens <= std::min(n_tokens, kScoreTokensMax));
  std::vector<std::int64_t> tokens;
  tokens.reserve(static_cast<std::size_t>(score_tokens));
  // With N = q S + r: (2 i + 1) N / (2 S) = i q + (2 i r + N) / (2 S),
  // and i r < S^2 does not overflow.
  const std::int64_t q = n_tokens / score_tokens, r = n_tokens % score_tokens;
  for (std::int64_t i = 0; i < score_tokens; ++i) {
    tokens.push_back(i * q + (2 * i * r + n_tokens) / (2 * score_tokens));
  }
  return tokens;
}

std::vector<MaskedPass> PlanMasked(std::int64_t n_tokens, std::int64_t context_length,
                                   std::span<const std::int64_t> targets, std::int64_t at_once) {
  LR_CHECK(context_length > 0 && n_tokens >= context_length && at_once > 0);
  const auto begin_of = [&](std::int64_t t) {
    return std::min(t / context_length * context_length, n_tokens - context_length);
  };
  std::vector<MaskedPass> passes;
  for (std::size_t first = 0; first < targets.size();) {
    const std::int64_t begin = begin_of(targets[first]);
    std::size_t end = first + 1;
    while (end < targets.size() && begin_of(targets[end]) == begin) ++end;
    const auto k = static_cast<std::size_t>(at_once);
    const std::size_t n_passes = (end - first + k - 1) / k;
    const std::size_t before = passes.size();
    passes.resize(before + n_passes);
    for (std::size_t i = first; i < end; ++i) {
      MaskedPass& pass = passes[before + (i - first) % n_passes];
      pass.begin = begin;
      pass.hidden.push_back(targets[i]);
    }
    first = end;
  }
  return passes;
}

const Evaluation& PseudoPerplexityEvaluation() {
  static const Evaluation evaluation = {
      .name = "pseudo_perplexity",
      .source = "arXiv:1910.14659, section 2; docs/evaluation.md",
      .meaning =
          "for masked language models: mean NLL of held-out tokens, each predicted from all others "
          "of its window, by context length",
      .params = PseudoPerplexitySpecs(),
      .rows = &PseudoPerplexityRows,
      .variants_are_models = true,
      .fit = &FitPseudoPerplexity,
      .reads = Evaluation::Reads::kBidirectional,
      .run = &RunPseudoPerplexity,
      .tokens_read = &PseudoPerplexityTokensRead,
  };
  return evaluation;
}

}  // namespace longrun
