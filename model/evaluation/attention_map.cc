// From each chosen document d of a split the first L tokens are read,
// and for each query i among them
//
//   A[i][j]         = mean over the chosen layers and heads of p[i][j] (or of the logits)
//   entropy[i]      = -sum over j of A[i][j] ln A[i][j]
//   head_entropy[i] = mean over the chosen layers and heads of -sum over j of p[i][j] ln p[i][j]
//
// (model/attention_map.h; the averaged matrix and its row entropy after the analysis of GALI,
// AcademyCityL/GALI). The rows are the means over all queries of all documents,
//
//   attention_entropy = sum over d, i of entropy / (D L)           only with values: probabilities
//   head_entropy      = sum over d, i of head_entropy / (D L)
//
// in nats, with the ratio estimator's standard error over documents (window.h), without one for a
// single document. The artifact of each document has A, pooled to at most `pool` cells per side,
// and both entropies of each query.
//
// A document shorter than L, or a layer or head that the model does not have, makes the cell
// not_applicable.
#include "model/evaluation/attention_map.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/attention_probe.h"
#include "model/evaluation/nll_row.h"
#include "model/evaluation/params.h"
#include "model/evaluation/split.h"

namespace longrun {
namespace {

constexpr std::string_view kEntropy = "attention_entropy", kHeadEntropy = "head_entropy";
constexpr std::string_view kNamePrefix = "attention-", kNameSuffix = ".safetensors",
                           kLogitsPrefix = "logits-";

Result<Json> ReadParams(const EvaluationRequest& request) {
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  return ResolveParams(AttentionMapEvaluation().params, given, "attention_map");
}

bool OfLogits(const Json& params) { return params.at("values") == "logits"; }

std::vector<std::int64_t> Chosen(const Json& list) {
  return list.is_array() ? list.get<std::vector<std::int64_t>>() : std::vector<std::int64_t>();
}

// Parameters that an AttentionMapName spells out.
constexpr std::string_view kInName[] = {"context_lengths", "split", "documents", "values"};

// 8 hex digits that distinguish other artifacts of the same document number: a hash of the
// extension, of another dataset than the run's own, and of all other parameters that do not have
// their default.
std::string TagOf(const Json& params, const EvaluationRequest& request) {
  Json own = Json::object();
  for (const ParamSpec& spec : AttentionMapEvaluation().params) {
    const std::string name(spec.name);
    const bool is_in_name = std::ranges::find(kInName, spec.name) != std::end(kInName);
    if (!is_in_name && params.at(name) != spec.default_value) own[name] = params.at(name);
  }
  if (!request.extension.is_null()) own["extension"] = request.extension;
  if (!request.is_own_dataset) own["dataset"] = request.dataset->digest();
  return own.empty() ? "" : Sha256Hex(CanonicalJson(own)).substr(0, 8);
}

// ---- rows --------------------------------------------------------------------------------------

Json NewRow(const EvaluationRequest& request, const Json& params, std::string_view metric) {
  Json own = Json::object();
  for (const char* key : {"documents", "values", "layers", "heads"}) own[key] = params.at(key);
  Json row = EmptyTokenRow(metric, request, params.at("split").get<std::string>());
  row["extra"]["params"] = std::move(own);
  return row;
}

void FillRow(Json& row, const std::vector<ClusterSum>& documents) {
  std::int64_t n = 0;
  double sum = 0.0;
  Json means = Json::array();
  for (const ClusterSum& document : documents) {
    n += document.n;
    sum += document.nll_sum;
    means.push_back(document.nll_sum / static_cast<double>(document.n));
  }
  row["n"] = n;
  row["extra"]["clusters"] = "document";
  row["extra"]["n_clusters"] = documents.size();
  if (!std::isfinite(sum)) {
    row["status"] = "non_finite";
    return;
  }
  row["value"] = sum / static_cast<double>(n);
  if (const std::optional<double> se = StandardError(documents); se) row["se"] = *se;
  row["extra"]["of_documents"] = std::move(means);
}

// ---- the run -----------------------------------------------------------------------------------

// kInvalidArgument for a document that the split does not have,
// kOutOfRange for one that is too short.
Result<std::vector<std::int32_t>> Beginning(const TokenSplit& split, std::string_view split_name,
                                            std::int64_t document, std::int64_t n_tokens) {
  const std::span<const std::int64_t> starts = split.document_starts();
  const auto n_documents = static_cast<std::int64_t>(starts.size()) - 1;
  if (document >= n_documents) {
    return Status(Code::kInvalidArgument,
                  Str("attention_map.documents: split ", split_name, " has ", n_documents,
                      " documents, numbered from 0, found ", document));
  }
  const auto d = static_cast<std::size_t>(document);
  if (starts[d + 1] - starts[d] < n_tokens) {
    return Status(Code::kOutOfRange, Str("document ", document, " of split ", split_name, " has ",
                                         starts[d + 1] - starts[d],
                                         " tokens, fewer than the context length ", n_tokens));
  }
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(n_tokens));
  RETURN_IF_ERROR(split.Read(starts[d], tokens));
  return tokens;
}

EvaluationArtifact MapFile(const EvaluationRequest& request, const Json& params,
                           std::int64_t document, AttentionMap map) {
  const AttentionMapName name = {.values = params.at("values"),
                                 .split = params.at("split"),
                                 .document = document,
                                 .context_length = request.context_length,
                                 .tag = TagOf(params, request)};
  map.labels["split"] = name.split;
  map.labels["document"] = Str(document);
  map =
      PoolMap(std::move(map), params.at("pool"),
              params.at("pool_by") == "max" ? AttentionMap::Pool::kMax : AttentionMap::Pool::kMean);
  return {.name = name.Text(), .bytes = AttentionMapBytes(map)};
}

struct Measured {
  std::vector<ClusterSum> entropy, head_entropy;  // a sum over queries for each document
  std::vector<EvaluationArtifact> artifacts;
};

ClusterSum SumOf(std::int64_t document, const std::vector<double>& of_queries) {
  return {.id = document,
          .n = static_cast<std::int64_t>(of_queries.size()),
          .nll_sum = std::accumulate(of_queries.begin(), of_queries.end(), 0.0)};
}

Result<Measured> Measure(AttentionProbe& probe, const EvaluationRequest& request,
                         const Json& params, const EvaluationProgress& progress) {
  const auto split_name = params.at("split").get<std::string>();
  ASSIGN_OR_RETURN(const TokenSplit* const split, request.dataset->Split(split_name));
  const auto documents = params.at("documents").get<std::vector<std::int64_t>>();
  Measured measured;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    ASSIGN_OR_RETURN(const std::vector<std::int32_t> tokens,
                     Beginning(*split, split_name, documents[d], request.context_length));
    const auto of_layers = [&](std::int64_t done, std::int64_t of) {
      return !progress || progress(static_cast<std::int64_t>(d) * of + done,
                                   static_cast<std::int64_t>(documents.size()) * of);
    };
    ASSIGN_OR_RETURN(
        AttentionMap map,
        probe.Map({.tokens = tokens,
                   .layers = Chosen(params.at("layers")),
                   .heads = Chosen(params.at("heads")),
                   .values_of = OfLogits(params) ? AttentionMap::Values::kLogits
                                                 : AttentionMap::Values::kProbabilities},
                  of_layers));
    measured.entropy.push_back(SumOf(documents[d], map.entropy));
    measured.head_entropy.push_back(SumOf(documents[d], map.head_entropy));
    measured.artifacts.push_back(MapFile(request, params, documents[d], std::move(map)));
  }
  return measured;
}

std::vector<RowName> AttentionMapRows(const Json& params) {
  std::vector<RowName> rows;
  if (!OfLogits(params)) rows.push_back({.metric = kEntropy, .variant = ""});
  rows.push_back({.metric = kHeadEntropy, .variant = ""});
  return rows;
}

Result<EvaluationOutput> RunAttentionMap(LanguageModel& model, const EvaluationRequest& request,
                                         const EvaluationProgress& progress) {
  LR_CHECK(request.dataset != nullptr);
  AttentionProbe* const probe = model.attention();
  if (probe == nullptr) {
    return Status(Code::kUnimplemented, "attention_map: this model has no attention to look at");
  }
  ASSIGN_OR_RETURN(const Json params, ReadParams(request));
  EvaluationOutput output;
  for (const RowName& name : AttentionMapRows(params)) {
    output.rows.push_back(NewRow(request, params, name.metric));
  }
  Result<Measured> measured = Measure(*probe, request, params, progress);
  if (!measured.ok()) {
    const std::string_view status = StatusOfModelError(measured.status().code());
    if (status.empty()) return std::move(measured).status();
    for (Json& row : output.rows) {
      row["status"] = status;
      row["extra"]["reason"] = measured.status().message();
    }
    return output;
  }
  for (Json& row : output.rows) {
    FillRow(row, row.at("metric") == kEntropy ? measured->entropy : measured->head_entropy);
  }
  output.artifacts = std::move(measured->artifacts);
  return output;
}

// ---- the table ---------------------------------------------------------------------------------

std::optional<ParamError> FitAttentionMap(const DatasetShape& dataset, Json& params) {
  const auto split = params.at("split").get<std::string>();
  if (auto error = CheckSplit(dataset, split); error) return error;
  const std::int64_t n_tokens = dataset.split_tokens.at(split);
  const std::int64_t longest = params.at("context_lengths").back();
  if (longest > n_tokens) {
    return ParamError{"context_lengths",
                      Str("context length ", longest, " is more than the ", n_tokens,
                          " tokens of split ", split, " of dataset \"", dataset.name, "\"")};
  }
  if (const auto count = dataset.split_documents.find(split);
      count != dataset.split_documents.end()) {
    for (const std::int64_t document : params.at("documents")) {
      if (document < count->second) continue;
      return ParamError{"documents", Str("there is no document ", document, ": split ", split,
                                         " of dataset \"", dataset.name, "\" has ", count->second,
                                         ", numbered from 0 to ", count->second - 1)};
    }
  }
  // Their order does not change the measurement, so it must not change the cell.
  for (const char* key : {"documents", "layers", "heads"}) {
    if (params.at(key).is_array()) std::sort(params.at(key).begin(), params.at(key).end());
  }
  return std::nullopt;
}

double AttentionMapTokensRead(const DatasetShape&, const Json& params,
                              std::int64_t context_length) {
  return static_cast<double>(params.at("documents").size()) * static_cast<double>(context_length);
}

std::vector<ParamSpec> AttentionMapSpecs() {
  const auto indices = [](std::string_view name, std::string_view meaning) {
    return ParamSpec{.name = name,
                     .type = ParamSpec::Type::kCountList,
                     .default_value = "all",
                     .min = 0,
                     .max = 9999,
                     .choices = {"all"},
                     .meaning = meaning};
  };
  return {
      ContextLengthsParam("tokens to read from the beginning of each document", 1 << 17),
      SplitParam("the part of the dataset that contains the documents"),
      {.name = "documents",
       .type = ParamSpec::Type::kCountList,
       .default_value = Json::array({0}),
       .min = 0,
       .max = 1e9,
       .meaning = "numbers of the documents in the split, counted from 0; each gets a map, in a "
                  "file of its own"},
      {.name = "values",
       .type = ParamSpec::Type::kChoice,
       .default_value = "probabilities",
       .choices = {"probabilities", "logits"},
       .meaning = "what to average; probabilities: attention after the softmax; logits: before it"},
      indices("layers", "numbers of the layers to average, from 0"),
      indices("heads", "numbers of the heads to average, from 0"),
      {.name = "pool",
       .type = ParamSpec::Type::kCount,
       .default_value = 512,
       .min = 0,
       .max = 1 << 17,
       .meaning = "largest number of cells on a side of a stored map; 0: one cell for each pair of "
                  "tokens"},
      {.name = "pool_by",
       .type = ParamSpec::Type::kChoice,
       .default_value = "mean",
       .choices = {"mean", "max"},
       .meaning = "how a cell combines its pairs of tokens"},
  };
}

std::optional<std::int64_t> Number(std::string_view text) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

}  // namespace

std::string AttentionMapName::Text() const {
  return Str(kNamePrefix, values == "logits" ? kLogitsPrefix : std::string_view(), split, "-d",
             document, "-", context_length, tag.empty() ? "" : "-", tag, kNameSuffix);
}

std::optional<AttentionMapName> AttentionMapName::Parse(std::string_view text) {
  if (!text.starts_with(kNamePrefix) || !text.ends_with(kNameSuffix)) return std::nullopt;
  text.remove_prefix(kNamePrefix.size());
  text.remove_suffix(kNameSuffix.size());
  AttentionMapName name;
  if (text.starts_with(kLogitsPrefix)) {
    name.values = "logits";
    text.remove_prefix(kLogitsPrefix.size());
  }
  const std::vector<std::string> parts = Split(text, '-');
  if (parts.size() < 3 || parts.size() > 4 || !parts[1].starts_with("d")) return std::nullopt;
  const std::optional<std::int64_t> document = Number(std::string_view(parts[1]).substr(1));
  const std::optional<std::int64_t> length = Number(parts[2]);
  if (!document || !length) return std::nullopt;
  name.split = parts[0];
  name.document = *document;
  name.context_length = *length;
  if (parts.size() == 4) name.tag = parts[3];
  return name;
}

const Evaluation& AttentionMapEvaluation() {
  static const Evaluation evaluation = {
      .name = "attention_map",
      .source = "docs/evaluation.md",
      .meaning =
          "attention averaged over layers and heads, as a map of each chosen document, and its "
          "entropy",
      .params = AttentionMapSpecs(),
      .rows = &AttentionMapRows,
      .variants_are_models = false,
      .fit = &FitAttentionMap,
      .run = &RunAttentionMap,
      .tokens_read = &AttentionMapTokensRead,
  };
  return evaluation;
}

}  // namespace longrun
