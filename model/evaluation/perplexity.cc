// Perplexity over the windows of a protocol (protocol.h):
//
//   nll = sum over scored t of -ln p(token t | tokens of its window before t) / n
//
// NLL in nats from fp32 logits, summed in double.
#include "model/evaluation/perplexity.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/data/documents.h"
#include "model/evaluation/nll_row.h"
#include "model/evaluation/params.h"
#include "model/evaluation/split.h"
#include "model/evaluation/text_error.h"

namespace longrun {

std::int64_t CommonScoreTokens(std::int64_t n_tokens) {
  LR_CHECK(n_tokens > 1);
  const auto n = static_cast<std::uint64_t>(n_tokens - 1);
  const int dropped = std::max(0, static_cast<int>(std::bit_width(n)) - 4);
  return static_cast<std::int64_t>(n >> dropped << dropped);
}

namespace {

// ---- parameters --------------------------------------------------------------------------------

// A sweep's other way to give score_tokens: that of the cell as such (protocol.h).
constexpr const char* kTextTokens = "text_tokens";

struct PerplexityParams {
  std::string split;
  const Protocol* protocol = nullptr;
  std::int64_t score_tokens = 0;
  Json resolved;
};

Result<PerplexityParams> ReadParams(const EvaluationRequest& request) {
  // A cell does not contain the list of lengths, but the table requires one.
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  ASSIGN_OR_RETURN(Json params, ResolveParams(PerplexityEvaluation().params, given, "perplexity"));
  PerplexityParams read = {
      .split = params["split"].get<std::string>(),
      .protocol = &FindProtocol(params["protocol"].get_ref<const std::string&>()),
      .score_tokens = params["score_tokens"].get<std::int64_t>(),
      .resolved = {}};
  params.erase(kTextTokens);
  read.resolved = std::move(params);
  return read;
}

std::optional<ParamError> FitScoreTokens(const Protocol& protocol, const DatasetShape& dataset,
                                         std::int64_t length_max, std::string_view given_as,
                                         Json& params) {
  const auto split = params.at("split").get<std::string>();
  const std::int64_t n_tokens = dataset.split_tokens.at(split);
  std::int64_t score_tokens = params.at("score_tokens");
  const bool by_default = score_tokens == 0;
  if (by_default) {
    params["score_tokens"] = protocol.default_score_tokens != nullptr
                                 ? protocol.default_score_tokens(n_tokens, params)
                                 : CommonScoreTokens(n_tokens);
    score_tokens = params["score_tokens"];
    if (score_tokens == 0) return std::nullopt;
  }
  const std::int64_t least = protocol.uses_bos ? 1 : length_max;
  const std::int64_t most = protocol.uses_bos ? n_tokens : n_tokens - 1;
  if (score_tokens >= least && score_tokens <= most) return std::nullopt;
  if (by_default) {
    return ParamError{
        "context_lengths",
        Str("context length ", length_max, " is more than the ", score_tokens,
            " tokens that are scored by default at every length in split ", split, " of dataset \"",
            dataset.name, "\": lower it",
            least > most    ? ""
            : least == most ? Str(", or give score_tokens ", most)
                            : Str(", or give score_tokens from ", least, " to ", most))};
  }
  return ParamError{
      std::string(given_as),
      Str("expected ", least, protocol.uses_bos ? "" : " (the longest context length)", " to ",
          most, " (the tokens that split ", split, " of dataset \"", dataset.name,
          "\" can score), found ", score_tokens)};
}

// Replaces what the sweep gives, score_tokens or text_tokens, by the score_tokens of a cell.
std::optional<ParamError> TakeTextTokens(const Protocol& protocol, const DatasetShape& dataset,
                                         Json& params) {
  if (protocol.fit_score_tokens == nullptr) return std::nullopt;
  const auto text = params.at(kTextTokens).get<std::int64_t>();
  params.erase(kTextTokens);
  if (text == 0) {
    return params.at("score_tokens") == 0 ? std::nullopt
                                          : protocol.fit_score_tokens(dataset, params);
  }
  if (params.at("score_tokens") != 0) {
    return ParamError{kTextTokens,
                      "sets the text that the windows cover, and score_tokens sets the number of "
                      "scored tokens; remove one of the two"};
  }
  params["score_tokens"] = text;
  return std::nullopt;
}

// For a protocol that scores the beginnings of documents: an error if no document is long enough
// for a length. Where the documents cannot be read, or the beginning of a large split has none that
// is long enough, the evaluation itself finds out.
std::optional<ParamError> CheckDocuments(const Protocol& protocol, const DatasetShape& dataset,
                                         const Json& params) {
  constexpr std::int64_t kReadFirst = 1 << 20, kReadMax = 1 << 26, kGrowth = 8;  // tokens
  if (!protocol.reads_prefixes || dataset.documents == nullptr) return std::nullopt;
  const auto split = params.at("split").get<std::string>();
  const std::int64_t n_tokens = dataset.split_tokens.at(split);
  const auto lengths = params.at("context_lengths").get<std::vector<std::int64_t>>();
  for (std::int64_t n_read = kReadFirst; n_read <= kReadMax; n_read *= kGrowth) {
    const Result<std::vector<TextSpan>> documents = dataset.documents(split, n_read);
    if (!documents.ok()) return std::nullopt;
    Status status;
    for (const std::int64_t length : lengths) {
      const auto windows = protocol.plan({.n_tokens = n_tokens,
                                          .context_length = length,
                                          .documents = *documents,
                                          .params = params});
      if (!windows.ok() && status.ok()) status = windows.status();
    }
    if (status.ok()) return std::nullopt;
    if (n_read < n_tokens) continue;
    return ParamError{"context_lengths", Str("split ", split, " of dataset \"", dataset.name,
                                             "\": ", status.message())};
  }
  return std::nullopt;
}

std::optional<ParamError> FitPerplexity(const DatasetShape& dataset, Json& params) {
  const Protocol& protocol = FindProtocol(params.at("protocol").get_ref<const std::string&>());
  const auto lengths = params.at("context_lengths").get<std::vector<std::int64_t>>();
  const auto split = params.at("split").get<std::string>();
  if (auto error = CheckSplit(dataset, split); error) return error;
  const std::int64_t n_tokens = dataset.split_tokens.at(split);
  if (!protocol.uses_bos && n_tokens - 1 < lengths.back()) {
    return ParamError{"context_lengths", Str("context length ", lengths.back(), " needs ",
                                             lengths.back(), " + 1 tokens, but split ", split,
                                             " of dataset \"", dataset.name, "\" has ", n_tokens)};
  }
  const std::string_view given_as =
      params.value(kTextTokens, std::int64_t{0}) != 0 ? kTextTokens : "score_tokens";
  if (auto error = TakeTextTokens(protocol, dataset, params); error) return error;
  // Checked as given, and again with the default of score_tokens filled in.
  const auto check = [&]() -> std::optional<ParamError> {
    for (const std::int64_t length : lengths) {
      if (protocol.check == nullptr) break;
      const PlanRequest request = {.n_tokens = n_tokens,
                                   .context_length = length,
                                   .score_tokens = params.at("score_tokens"),
                                   .params = params};
      if (std::optional<ParamError> error = protocol.check(request); error) return error;
    }
    return std::nullopt;
  };
  if (std::optional<ParamError> error = check(); error) return error;
  if (auto error = FitScoreTokens(protocol, dataset, lengths.back(), given_as, params); error) {
    return error;
  }
  if (std::optional<ParamError> error = check(); error) return error;
  return CheckDocuments(protocol, dataset, params);
}

Json PerplexityAsGiven(Json params) {
  const Protocol& protocol = FindProtocol(params.at("protocol").get_ref<const std::string&>());
  if (protocol.fit_score_tokens == nullptr) return params;
  params[kTextTokens] = params.at("score_tokens");
  params.erase("score_tokens");
  return params;
}

// ---- the row -----------------------------------------------------------------------------------

// A row without a number, but with the protocol's own parameters, which identify it.
Json NewRow(const EvaluationRequest& request, const PerplexityParams& params) {
  Json row = EmptyTokenRow("nll", request, params.split);
  row["protocol"] = params.protocol->name;
  Json own = ConditionalParams(PerplexityEvaluation().params, params.resolved);
  if (!own.empty()) row["extra"]["params"] = std::move(own);
  return row;
}

double Rounded(double x, double digits) { return std::round(x * digits) / digits; }

Json MeanOf(const ClusterSum& sum) {
  return sum.n == 0 ? Json() : Json(sum.nll_sum / static_cast<double>(sum.n));
}

// {"begin":[1,2,..],"n":[..],"nll":[..],"se":[..],"blocks":{"begin":[..],"n":[..],"nll":[..]}}:
// bucket i begins at a context of begin[i] tokens and ends before begin[i + 1], the last at L.
// `blocks` has the row's TextBlocks(); its n and nll have a list of them for each bucket, from
// which errors of joined buckets and differences between models follow. Five digits after the point
// are far below the error of a block's mean; at most 256 buckets of 16 blocks make 50 KB.
Json BucketCurve(std::span<const std::int64_t> edges, const Score& score) {
  constexpr double kErrorDigits = 1e7, kBlockDigits = 1e5;
  const std::vector<std::vector<ClusterSum>> sums = TextBlocksOfBuckets(score);
  Json begin = Json::array(), n = Json::array(), nll = Json::array(), se = Json::array();
  Json block_begin = Json::array(), block_n = Json::array(), block_nll = Json::array();
  for (const ClusterSum& block : TextBlocks(score)) block_begin.push_back(block.id);
  for (std::size_t i = 0; i < score.buckets.size(); ++i) {
    begin.push_back(edges[i]);
    n.push_back(score.buckets[i].n);
    nll.push_back(MeanOf(score.buckets[i]));
    const std::optional<double> error = BucketError(sums[i]).se;
    se.push_back(error ? Json(Rounded(*error, kErrorDigits)) : Json());
    Json& one_n = block_n.emplace_back(block_begin.size(), Json(0));
    Json& one_nll = block_nll.emplace_back(block_begin.size(), Json());
    std::size_t at = 0;
    for (const ClusterSum& block : sums[i]) {
      while (block_begin[at] != block.id) ++at;
      one_n[at] = block.n;
      one_nll[at] = Rounded(block.nll_sum / static_cast<double>(block.n), kBlockDigits);
    }
  }
  return {{"begin", std::move(begin)},
          {"n", std::move(n)},
          {"nll", std::move(nll)},
          {"se", std::move(se)},
          {"blocks",
           {{"begin", std::move(block_begin)},
            {"n", std::move(block_n)},
            {"nll", std::move(block_nll)}}}};
}

void FillRow(Json& row, const Score& score, std::span<const std::int64_t> edges) {
  FillNllRow(row, score);
  if (row.at("status") != "ok") return;
  if (score.n_windows_cached > 0) {
    row["extra"]["shared"] = {{"windows", score.n_windows_cached}, {"of", score.windows.size()}};
  }
  if (!score.buckets.empty()) row["extra"]["buckets"] = BucketCurve(edges, score);
}

EvaluationArtifact BucketSums(std::string name, std::span<const std::int64_t> edges,
                              const Score& score) {
  std::string csv = "context_begin,context_end,n,nll_sum,bytes\n";
  for (std::size_t i = 0; i < score.buckets.size(); ++i) {
    const ClusterSum& sum = score.buckets[i];
    csv += Str(edges[i], ",", edges[i + 1] - 1, ",", sum.n, ",", sum.nll_sum, ",", sum.bytes, "\n");
  }
  return {.name = std::move(name), .bytes = std::move(csv)};
}

// ---- the run -----------------------------------------------------------------------------------

struct Plan {
  bool over_documents = false;
  std::vector<Window> windows;
  std::vector<std::int64_t> bucket_edges;
  // Of a protocol that scores the beginnings of documents.
  std::vector<TextSpan> documents = {};
  PrefixTask prefixes = {};  // without its documents
};

// How many targets of a document, counted from its first one, the windows of its beginning need.
std::int64_t TargetsOf(std::span<const Window> windows) {
  std::int64_t n = 0;
  for (const Window& window : windows) {
    n = std::max(n, window.score_end - window.context_begin - (window.bos ? 0 : 1));
  }
  return n;
}

Result<Plan> MakePlan(const EvaluationRequest& request, const PerplexityParams& params,
                      const TokenSplit& split) {
  const Protocol& protocol = *params.protocol;
  const bool has_bos = protocol.uses_bos && params.resolved.value("bos", true);
  if (has_bos && request.dataset->bos_id() < 0) {
    return Status(Code::kInvalidArgument,
                  Str("protocol ", protocol.name,
                      " starts windows with a begin-of-text token, but the dataset's tokenizer has "
                      "neither a begin-of-text token nor an end-of-text token: choose another "
                      "protocol, such as nonoverlap"));
  }
  std::vector<TextSpan> documents;
  const bool over_documents =
      protocol.needs_documents != nullptr && protocol.needs_documents(params.resolved);
  if (over_documents) {
    ASSIGN_OR_RETURN(documents, TextOfDocuments(split, request.dataset->eot_id()));
  }
  const PlanRequest wanted = {.n_tokens = split.n_tokens(),
                              .context_length = request.context_length,
                              .score_tokens = params.score_tokens,
                              .documents = documents,
                              .params = params.resolved};
  if (protocol.check != nullptr) {
    if (const std::optional<ParamError> error = protocol.check(wanted); error) {
      return Status(Code::kInvalidArgument, Str("perplexity.", error->key, ": ", error->message));
    }
  }
  const std::int64_t most = wanted.n_tokens - (protocol.uses_bos ? 0 : 1);
  if (params.score_tokens > most) {
    return Status(Code::kInvalidArgument, Str("score_tokens ", params.score_tokens, " exceeds the ",
                                              most, " tokens that can be scored"));
  }
  Result<std::vector<Window>> windows = protocol.plan(wanted);
  if (!windows) return std::move(windows).status().In(Str("perplexity of split ", params.split));
  Plan plan = {.over_documents = over_documents,
               .windows = std::move(windows).value(),
               .bucket_edges = protocol.bucket_edges == nullptr ? std::vector<std::int64_t>()
                                                                : protocol.bucket_edges(wanted)};
  if (!protocol.reads_prefixes) return plan;
  plan.prefixes.n_targets = TargetsOf(plan.windows);
  for (const std::int64_t length : request.task_lengths) {
    PlanRequest other = wanted;
    other.context_length = length;
    // A length without a document that is long enough is reported by its own cell.
    const Result<std::vector<Window>> of_other = protocol.plan(other);
    if (of_other.ok()) plan.prefixes.of_lengths.push_back(TargetsOf(*of_other));
  }
  plan.documents = std::move(documents);
  return plan;
}

// The number of tokens, from the beginning of the split, that the plan reads.
std::int64_t TokensToRead(const Plan& plan) {
  std::int64_t end = plan.windows.back().score_end;
  if (plan.documents.empty()) return end;
  std::int64_t n_targets = plan.prefixes.n_targets;
  for (const std::int64_t n : plan.prefixes.of_lengths) n_targets = std::max(n_targets, n);
  for (const TextSpan& document : plan.documents) {
    if (document.begin > plan.windows.back().context_begin) break;
    end = std::max(end, PrefixEnd(document, n_targets));
  }
  return end;
}

// Reads at least the first n tokens. Only what is scored is read, and all of it is held:
// 4 bytes per token.
Status ReadTokens(const TokenSplit& split, std::int64_t n, std::vector<std::int32_t>& tokens) {
  const std::size_t n_known = tokens.size();
  if (static_cast<std::int64_t>(n_known) >= n) return {};
  tokens.resize(static_cast<std::size_t>(n));
  return split.Read(static_cast<std::int64_t>(n_known), std::span(tokens).subspan(n_known));
}

Result<EvaluationOutput> RunPerplexity(LanguageModel& model, const EvaluationRequest& request,
                                       const EvaluationProgress& progress) {
  LR_CHECK(request.dataset != nullptr);
  ASSIGN_OR_RETURN(const PerplexityParams params, ReadParams(request));
  ASSIGN_OR_RETURN(const TokenSplit* const split, request.dataset->Split(params.split));
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(request, params, *split));
  SharedWork own;
  SharedWork& shared = request.shared != nullptr ? *request.shared : own;
  RETURN_IF_ERROR(ReadTokens(*split, TokensToRead(plan), shared.tokens));

  const Protocol& protocol = *params.protocol;
  std::optional<PrefixModel> by_prefix;
  if (protocol.reads_prefixes) {
    PrefixTask prefixes = plan.prefixes;
    prefixes.documents = plan.documents;
    by_prefix.emplace(model, std::move(prefixes), shared.prefixes[request.variant]);
  }
  Result<Score> score = ScoreWindows(
      by_prefix ? *by_prefix : model,
      {.tokens = shared.tokens,
       .windows = plan.windows,
       .document_starts = split->document_starts(),
       .block_tokens = TextBlockTokens(split->n_tokens(), plan.windows.back().score_end),
       .token_bytes = request.dataset->token_bytes(),
       .windows_per_call = request.windows_per_call,
       .bucket_edges = plan.bucket_edges,
       .full_length = by_prefix ? 0 : request.context_length - protocol.n_unfed,
       .cache = by_prefix ? nullptr : &shared.windows[request.variant]},
      progress);
  EvaluationOutput output;
  Json row = NewRow(request, params);
  if (!score) {
    const std::string_view status = StatusOfModelError(score.status().code());
    if (status.empty()) return std::move(score).status();
    row["status"] = status;
    row["extra"]["reason"] = score.status().message();
  } else {
    FillRow(row, *score, plan.bucket_edges);
    if (protocol.extra != nullptr && row.at("status") == "ok") {
      const Json extra =
          protocol.extra({.context_length = request.context_length, .params = params.resolved},
                         plan.windows, *score);
      if (!extra.is_null()) row["extra"].update(extra);
    }
    // Windows inside documents leave out the end-of-text tokens between them.
    if (plan.over_documents && params.score_tokens > score->n) {
      row["extra"]["end_of_text"] = params.score_tokens - score->n;
    }
    if (score->n_non_finite == 0) {
      AddTextSums(output, "nll", request, params.split, *score);
      if (!score->buckets.empty()) {
        output.artifacts.push_back(BucketSums(
            NllArtifactName("positions", "nll", request, params.split), plan.bucket_edges, *score));
      }
    }
  }
  output.rows.push_back(std::move(row));
  return output;
}

std::vector<RowName> PerplexityRows(const Json& params) {
  std::vector<RowName> rows = {{.metric = "nll", .variant = ""}};
  if (params.at("baseline") == "unigram") rows.push_back({.metric = "nll", .variant = "unigram"});
  return rows;
}

// ---- the table ---------------------------------------------------------------------------------

std::vector<ParamSpec> PerplexitySpecs() {
  std::vector<std::string> protocols, with_text_tokens;
  for (const Protocol* const protocol : Protocols()) {
    protocols.emplace_back(protocol->name);
    if (protocol->fit_score_tokens != nullptr) with_text_tokens.emplace_back(protocol->name);
  }
  std::vector<ParamSpec> specs = {
      ContextLengthsParam("tokens that a window feeds to the model (L)"),
      SplitParam("the part of the dataset that is scored"),
      {.name = "protocol",
       .type = ParamSpec::Type::kChoice,
       .default_value = "nonoverlap",
       .choices = std::move(protocols),
       .choices_unbuilt = {"drt_windows"},
       .meaning = "how windows are laid over the text"},
      {.name = "score_tokens",
       .type = ParamSpec::Type::kCount,
       .default_value = 0,
       .min = 0,
       .max = 1e15,
       .meaning =
           "how many tokens are scored, the same at every length; 0 in a sweep: a number that "
           "depends only on the split, at least 8/9 of it (with sliding_bos and rolling, all of "
           "it)"},
      {.name = "baseline",
       .type = ParamSpec::Type::kChoice,
       .default_value = "none",
       .choices = {"none", "unigram"},
       .meaning =
           "unigram: also score a model without context, fitted on the train split's token counts"},
      PrecisionParam(),
      {.name = kTextTokens,
       .type = ParamSpec::Type::kCount,
       .default_value = 0,
       .min = 0,
       .max = 1e15,
       .meaning = "instead of score_tokens: how many tokens of the split the windows cover, scored "
                  "or not",
       .only_with = {{.name = "protocol", .values = std::move(with_text_tokens)}}},
  };
  for (const Protocol* const protocol : Protocols()) {
    for (ParamSpec spec : protocol->params) {
      spec.only_with = {.name = "protocol", .values = {std::string(protocol->name)}};
      specs.push_back(std::move(spec));
    }
  }
  return specs;
}

// ---- cost --------------------------------------------------------------------------------------

double PerplexityTokensRead(const DatasetShape& dataset, const Json& params,
                            std::int64_t context_length) {
  constexpr std::int64_t kTokensPlanned = 1 << 16;
  const Protocol& protocol = FindProtocol(params.at("protocol").get_ref<const std::string&>());
  const std::int64_t score_tokens = params.at("score_tokens");
  const std::int64_t n_split = dataset.split_tokens.at(params.at("split").get<std::string>());
  const std::int64_t n_all = score_tokens > 0 ? std::min(score_tokens + 1, n_split) : n_split;
  if (protocol.reads_prefixes) {
    const auto documents = dataset.split_documents.find(params.at("split").get<std::string>());
    if (documents == dataset.split_documents.end()) return static_cast<double>(n_all);
    return std::min(static_cast<double>(n_all),
                    static_cast<double>(documents->second) * static_cast<double>(context_length));
  }
  // If windows are far apart, more text is needed to count them.
  const std::int64_t period = std::max(context_length, params.value("every", std::int64_t{0}));
  const std::int64_t n_planned = std::min(n_all, std::max(kTokensPlanned, 16 * period));
  const TextSpan whole = {.begin = 0, .end = n_planned};
  const auto windows = protocol.plan({.n_tokens = n_planned,
                                      .context_length = context_length,
                                      .documents = {&whole, 1},
                                      .params = params});
  if (!windows.ok()) return static_cast<double>(n_all);
  double n_read = 0;
  for (const Window& window : *windows) {
    n_read += static_cast<double>(window.score_end - 1 - window.context_begin);
  }
  return n_read * static_cast<double>(n_all) / static_cast<double>(n_planned);
}

bool ReadsOnce(const Json& params) {
  const std::string name = params.value("protocol", "");
  return std::ranges::any_of(Protocols(), [&](const Protocol* protocol) {
    return protocol->name == name && protocol->reads_prefixes;
  });
}

bool HasPositions(const Json& params) {
  return FindProtocol(params.at("protocol").get<std::string>()).bucket_edges != nullptr;
}

}  // namespace

const Evaluation& PerplexityEvaluation() {
  static const Evaluation evaluation = {
      .name = "perplexity",
      .source = "docs/evaluation.md",
      .meaning = "mean negative log-likelihood of held-out text in windows of each context length",
      .params = PerplexitySpecs(),
      .rows = &PerplexityRows,
      .has_positions = &HasPositions,
      .variants_are_models = true,
      .fit = &FitPerplexity,
      .as_given = &PerplexityAsGiven,
      .reads = Evaluation::Reads::kCausal,
      .run = &RunPerplexity,
      .tokens_read = &PerplexityTokensRead,
      .reads_once = &ReadsOnce,
  };
  return evaluation;
}

}  // namespace longrun
