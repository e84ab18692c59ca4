#include "client/words/reproduction.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/words/provenance.h"
#include "client/words/render.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/mask_token.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/reproduce.h"

namespace longrun::client {
namespace {

// Blocks of spec.evaluate: tasks with the same evaluation become one block with all their lengths.
Result<std::vector<Json>> Blocks(const Json& evaluations) {
  std::map<std::string, std::set<std::int64_t>> lengths_of;
  for (const Json& row : evaluations) {
    std::set<std::int64_t>& lengths = lengths_of[row.at(0).get<std::string>()];
    ASSIGN_OR_RETURN(const Json list, ParseJson(row.at(1).get<std::string>()));
    for (const Json& length : list) lengths.insert(length.get<std::int64_t>());
  }
  std::vector<Json> blocks;
  blocks.reserve(lengths_of.size());
  for (const auto& [text, lengths] : lengths_of) {
    ASSIGN_OR_RETURN(Json block, ParseJson(text));
    if (!block.is_object() || block.size() != 1 || !block.begin().value().is_object()) {
      return Status(Code::kInternal, Str("an evaluation has an unknown form: ", text));
    }
    block.begin().value()["context_lengths"] = lengths;
    blocks.push_back(std::move(block));
  }
  return blocks;
}

// The name under which a dataset of the run is registered: its own, else any name with the same
// content. `user`: "the run".
std::string DatasetName(const EvaluatedDataset& wanted, const Run& run, std::string_view user,
                        const Repeated<v1::DatasetInfo>& datasets,
                        std::vector<std::string>& warnings) {
  const std::string& own = wanted.name;
  std::string other;
  std::string own_digest;
  for (const v1::DatasetInfo& dataset : datasets) {
    const auto name = dataset.name();
    const bool same =
        dataset.digest() == wanted.digest && dataset.tokenizer() == run.tokenizer_fingerprint;
    if (same && name == own) return own;
    if (same && other.empty()) other = name;
    if (name == own) own_digest = dataset.digest();
  }
  if (!own_digest.empty()) {
    warnings.push_back(
        Str("dataset \"", own, "\" points to other content now: its digest is ", own_digest,
            ", but ", user, " used ", wanted.digest,
            other.empty()
                ? Str("; register the content with digest ", wanted.digest,
                      " under another name (`longrun data register NAME FOLDER`) and put that "
                      "name into the file")
                : Str("; \"", other, "\" has the right content, so the file names that one")));
  } else if (other.empty()) {
    warnings.push_back(Str("dataset \"", own, "\" is not registered here: ", user, " needs digest ",
                           wanted.digest, " (`longrun data register ", own, " FOLDER`)"));
  }
  return other.empty() ? own : other;
}

// The imported model that the run starts from, under a name that it has here;
// nullopt if the run starts from none.
Result<std::optional<ModelInfo>> InitOf(const Run& run, const Repeated<v1::ModelInfo>& models) {
  if (!run.init || !run.init->is_imported()) return std::optional<ModelInfo>();
  for (const v1::ModelInfo& model : models) {
    if (model.sha256() != run.init->sha256) continue;
    const Json config = JsonIn(model.config_json());
    ASSIGN_OR_RETURN(const NetConfig net, ParseModelConfig(config));
    ASSIGN_OR_RETURN(const std::int64_t mask_token, MaskTokenOf(config, net.model));
    return std::optional(ModelInfo{.name = model.name(),
                                   .digest = run.init->sha256,
                                   .model = net.model,
                                   .trained_length = TrainedLength(config),
                                   .mask_token = mask_token});
  }
  return std::optional<ModelInfo>();
}

}  // namespace

Result<ReproducedRun> ReproduceFrom(const v1::RunInfo& run,
                                    const Repeated<v1::DatasetInfo>& datasets,
                                    const Json& evaluations,
                                    const Repeated<v1::ModelInfo>& models) {
  ReproducedRun result{.run_key = run.run_key(), .yaml = {}};
  ASSIGN_OR_RETURN(Run parsed, Run::FromJson(JsonIn(run.run_json())));
  ASSIGN_OR_RETURN(std::vector<Json> blocks, Blocks(evaluations));
  const std::string dataset = DatasetName({.name = run.dataset(), .digest = parsed.dataset_digest},
                                          parsed, "the run", datasets, result.warnings);
  std::map<std::string, std::string> evaluated;  // digests and names
  for (Json& block : blocks) {
    const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(block);
    if (!read) continue;
    const auto [found, is_new] = evaluated.try_emplace(read->digest);
    if (is_new) {
      found->second = DatasetName(*read, parsed, "its evaluation", datasets, result.warnings);
    }
    block = WithEvaluatedDataset(std::move(block), {.name = found->second, .digest = read->digest});
  }
  ASSIGN_OR_RETURN(std::optional<ModelInfo> init, InitOf(parsed, models));
  Reproduction wanted{.run = std::move(parsed),
                      .sweep_name = "reproduce-" + ShortId(result.run_key),
                      .dataset_name = dataset,
                      .init = std::move(init),
                      .evaluations = std::move(blocks)};
  wanted.notes = {Str("gives run ", result.run_key, " again"),
                  Str("dataset ", dataset, " must have digest ", wanted.run.dataset_digest),
                  Str("  and tokenizer ", wanted.run.tokenizer_fingerprint)};
  for (const auto& [digest, name] : evaluated) {
    wanted.notes.push_back(
        Str("dataset ", name, ", which it is evaluated on, must have digest ", digest));
  }
  if (wanted.init) {
    wanted.notes.push_back(
        Str("model ", wanted.init->name, " must have digest ", wanted.init->digest));
  }
  if (!wanted.run.parent.empty()) {
    wanted.notes.push_back(Str("continues run ", wanted.run.parent,
                               ", which must be trained first (`longrun reproduce`)"));
  }
  if (!wanted.run.BaseKey().empty()) {
    wanted.notes.push_back(Str("starts from the weights of run ", wanted.run.BaseKey(),
                               ", which must be trained first (`longrun reproduce`)"));
  }
  for (const auto& [name, text] : ProvenanceOf(StartedOf(run))) {
    if (name != "dataset" && name != "seed" && name != "parameters") {
      wanted.notes.push_back(Str(name, ": ", text));
    }
  }
  // A note must be one line, even if a host's name has control characters.
  for (std::string& note : wanted.notes) {
    std::ranges::replace_if(
        note, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  }
  const Json execution = JsonIn(run.execution_json());
  if (execution.is_object()) {
    wanted.device_kind = execution.at("device").at("kind").get<std::string>();
  }
  ASSIGN_OR_RETURN(result.yaml, SweepYaml(wanted));
  return result;
}

Result<ReproducedRun> ReproduceRun(RetryingClient& client, const std::string& run) {
  ASSIGN_OR_RETURN(const v1::GetRunResponse answer, client.GetRun(run));
  ASSIGN_OR_RETURN(const v1::ListDatasetsResponse datasets, client.ListDatasets());
  ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
  const std::string& run_key = answer.run().run_key();
  ASSIGN_OR_RETURN(const v1::QueryResponse evaluations,
                   client.Query(Str("SELECT evaluation, context_lengths FROM tasks"
                                    " WHERE kind = 'evaluate' AND run_key = '",
                                    run_key, "'")));
  return ReproduceFrom(answer.run(), datasets.datasets(), JsonIn(evaluations.rows_json()),
                       models.models());
}

}  // namespace longrun::client
