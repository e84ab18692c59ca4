// Perplexity over windows that lie side by side (evaluation.md 1.1; the protocol of cable and
// build-nanogpt):
//
//   nll = sum over scored t of -ln p(token t | tokens of its window before t) / n
//
// NLL in nats from fp32 logits, summed in double.
#include "model/evaluation/perplexity.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/str.h"

namespace longrun {

Result<std::vector<Window>> PlanNonOverlap(const NonOverlapPlan& plan) {
  const auto& [n_tokens, context_length, score_tokens] = plan;
  LR_CHECK(n_tokens >= 0 && context_length > 0 && score_tokens >= 0);
  if (n_tokens - 1 < context_length) {
    return Status(
        Code::kInvalidArgument,
        Str("context_length ", context_length, " needs ", context_length, " + 1 tokens, there are ",
            n_tokens, ": lower context_length, or give the split more text"));
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
  for (std::int64_t begin = 0; begin < n_scored; begin += context_length) {
    windows.push_back({.context_begin = begin,
                       .score_begin = begin + 1,
                       .score_end = std::min(begin + context_length, n_scored) + 1});
  }
  return windows;
}

std::int64_t CommonScoreTokens(std::int64_t n_tokens) {
  LR_CHECK(n_tokens > 1);
  const auto n = static_cast<std::uint64_t>(n_tokens - 1);
  const int dropped = std::max(0, static_cast<int>(std::bit_width(n)) - 4);
  return static_cast<std::int64_t>(n >> dropped << dropped);
}

namespace {

struct PerplexityParams {
  std::string split;
  std::string protocol;
  std::int64_t score_tokens = 0;
};

Result<PerplexityParams> ReadParams(const EvaluationRequest& request) {
  // The list of lengths is no part of one cell; the table demands it of a sweep.
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  ASSIGN_OR_RETURN(const Json params, ResolveParams(kPerplexity.params, given, "perplexity"));
  return PerplexityParams{.split = params["split"].get<std::string>(),
                          .protocol = params["protocol"].get<std::string>(),
                          .score_tokens = params["score_tokens"].get<std::int64_t>()};
}

// A row without a number, which the following fill in.
Json EmptyRow(const EvaluationRequest& request, const PerplexityParams& params) {
  return {{"metric", "nll"},
          {"context_length", request.context_length},
          {"split", params.split},
          {"protocol", params.protocol},
          {"averaging", "token"},
          {"depth", nullptr},
          {"variant", request.variant.empty() ? Json() : Json(request.variant)},
          {"value", nullptr},
          {"se", nullptr},
          {"n", 0},
          {"nll_sum", nullptr},
          {"bytes", nullptr},
          {"status", "ok"},
          {"extra", Json::object()}};
}

void FillRow(Json& row, const Score& score) {
  row["n"] = score.n;
  if (score.n_non_finite > 0) {
    row["status"] = "non_finite";
    row["extra"] = {{"non_finite", score.n_non_finite}};
    return;
  }
  const bool by_document = score.documents.size() >= kDocumentClustersMin;
  const std::vector<ClusterSum>& clusters = by_document ? score.documents : score.windows;
  const std::optional<double> se = StandardError(clusters);
  row["value"] = score.MeanNll();
  row["se"] = se ? Json(*se) : Json();
  row["nll_sum"] = score.nll_sum;
  row["bytes"] = score.bytes;
  row["extra"] = {{"clusters", by_document ? "document" : "window"},
                  {"n_clusters", clusters.size()}};
}

EvaluationArtifact DocumentSums(const EvaluationRequest& request, const PerplexityParams& params,
                                const Score& score) {
  std::string csv = "doc,n,nll_sum,bytes\n";
  for (const ClusterSum& sum : score.documents) {
    csv += Str(sum.id, ",", sum.n, ",", sum.nll_sum, ",", sum.bytes, "\n");
  }
  return {.name = Str("documents-nll-", params.split, "-", request.context_length,
                      request.variant.empty() ? "" : "-", request.variant, ".csv"),
          .bytes = std::move(csv)};
}

// What a model cannot do at this length is a result, shown in the table as such; "" where the error
// is no property of the model.
std::string_view StatusOfError(Code code) {
  if (code == Code::kOutOfRange) return "not_applicable";  // past the end of a position table
  if (code == Code::kResourceExhausted) return "out_of_memory";
  return "";
}

Result<EvaluationOutput> RunPerplexity(LanguageModel& model, const EvaluationRequest& request,
                                       const EvaluationProgress& progress) {
  LR_CHECK(request.dataset != nullptr);
  ASSIGN_OR_RETURN(const PerplexityParams params, ReadParams(request));
  ASSIGN_OR_RETURN(const TokenSplit* const split, request.dataset->Split(params.split));
  Result<std::vector<Window>> windows = PlanNonOverlap({.n_tokens = split->n_tokens(),
                                                        .context_length = request.context_length,
                                                        .score_tokens = params.score_tokens});
  if (!windows) return std::move(windows).status().In(Str("perplexity of split ", params.split));
  // Only what is scored is read, and it is held whole: 4 bytes a token.
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(windows->back().score_end));
  RETURN_IF_ERROR(split->Read(0, tokens));

  Result<Score> score = ScoreWindows(model,
                                     {.tokens = tokens,
                                      .windows = *windows,
                                      .document_starts = split->document_starts(),
                                      .token_bytes = request.dataset->token_bytes(),
                                      .windows_per_call = request.windows_per_call},
                                     progress);
  EvaluationOutput output;
  Json row = EmptyRow(request, params);
  if (!score) {
    const std::string_view status = StatusOfError(score.status().code());
    if (status.empty()) return std::move(score).status();
    row["status"] = status;
    row["extra"] = {{"reason", score.status().message()}};
  } else {
    FillRow(row, *score);
    if (score->n_non_finite == 0) output.artifacts.push_back(DocumentSums(request, params, *score));
  }
  output.rows.push_back(std::move(row));
  return output;
}

std::vector<std::string> PerplexityVariants(const Json& params) {
  if (params.at("baseline") == "unigram") return {"unigram"};
  return {};
}

}  // namespace

const Evaluation kPerplexity = {
    .name = "perplexity",
    .source = "evaluation.md 1.1",
    .meaning = "mean negative log-likelihood of held-out text in windows of each context length",
    .params =
        {
            {.name = "context_lengths",
             .type = ParamSpec::Type::kIntList,
             .default_value = nullptr,
             .min = 1,
             .max = 1 << 30,
             .meaning = "tokens that a window feeds to the model"},
            {.name = "split",
             .type = ParamSpec::Type::kChoice,
             .default_value = "validation",
             .choices = {"train", "validation", "test"},
             .meaning = "the part of the dataset that is scored"},
            {.name = "protocol",
             .type = ParamSpec::Type::kChoice,
             .default_value = "nonoverlap",
             .choices = {"nonoverlap"},
             .choices_unbuilt = {"sliding_bos", "rolling", "prefix_curve", "drt_windows", "last_k",
                                 "per_position"},
             .meaning = "how windows are laid over the text"},
            {.name = "score_tokens",
             .type = ParamSpec::Type::kInt,
             .default_value = 0,
             .min = 0,
             .max = 1e15,
             .meaning = "tokens scored, the same for every length; 0 in a sweep: at least 8/9 of "
                        "the split, "
                        "a number that depends on the split alone"},
            {.name = "baseline",
             .type = ParamSpec::Type::kChoice,
             .default_value = "none",
             .choices = {"none", "unigram"},
             .meaning =
                 "also score a model without context, fitted on the train split's token counts"},
        },
    .variants = &PerplexityVariants,
    .run = &RunPerplexity,
};

}  // namespace longrun
