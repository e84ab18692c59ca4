// See models.h.
#include "coordinator/rpc/models.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/names.h"
#include "coordinator/rpc/owners.h"
#include "model/data/tokenizer_file.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/manifest.h"
#include "model/hugging_face/mask_token.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kConfigBytesMax = std::size_t{1} << 20;
constexpr std::size_t kSourceBytesMax = 4096;

Result<std::string> ReadArtifact(const ArtifactStore& artifacts, const std::string& sha256,
                                 std::size_t bytes_max) {
  ASSIGN_OR_RETURN(const ArtifactStore::Found found, artifacts.Find(sha256));
  ASSIGN_OR_RETURN(std::string bytes, ReadFile(found.path, bytes_max));
  if (Sha256Hex(bytes) == sha256) return bytes;
  return Status(Code::kDataLoss, Str(found.path,
                                     " does not match the SHA-256 in its name: it is damaged; "
                                     "remove it and import the model again"));
}

struct Manifested {
  std::vector<ArtifactFile> files;  // manifest.json among them
  std::string config_json;
  std::int64_t n_bytes = 0;
};

// Reads a manifest and checks that the store has all its files, of the sizes that the manifest
// says: the sizes count for the model's owner. Asking also makes them young, so that garbage
// collection spares them until the name is stored.
Result<Manifested> ReadManifested(ArtifactStore& artifacts, const std::string& sha256) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadArtifact(artifacts, sha256, kFolderManifestBytesMax));
  ASSIGN_OR_RETURN(const std::vector<FolderFile> files, ParseFolderManifest(text));
  Manifested manifested;
  manifested.files.push_back({.name = kFolderManifestName,
                              .sha256 = sha256,
                              .n_bytes = static_cast<std::int64_t>(text.size())});
  for (const FolderFile& file : files) {
    manifested.files.push_back({.name = file.name, .sha256 = file.sha256, .n_bytes = file.n_bytes});
    if (file.name != "config.json") continue;
    ASSIGN_OR_RETURN(manifested.config_json, ReadArtifact(artifacts, file.sha256, kConfigBytesMax));
  }
  for (const ArtifactFile& file : manifested.files) {
    RETURN_IF_ERROR(artifacts.FindSent(file).status());
    manifested.n_bytes += file.n_bytes;
  }
  return manifested;
}

Result<NetConfig> ConfigOf(const std::string& config_json) {
  ASSIGN_OR_RETURN(const Json config, ParseJson(config_json));
  return ParseModelConfig(config);
}

Status Register(const Call& call, const v1::RegisterModelRequest& request,
                v1::RegisterModelResponse* response) {
  CoordinatorParts& parts = call.parts;
  ASSIGN_OR_RETURN(Storing storing, StoringOf(call));
  RETURN_IF_ERROR(CheckName(request.name(), "model"));
  if (request.source().size() > kSourceBytesMax || !IsUtf8(request.source())) {
    return Status(Code::kInvalidArgument,
                  Str("the folder's name, of ", request.source().size(),
                      " bytes, must be valid UTF-8 of at most ", kSourceBytesMax, " bytes"));
  }
  ASSIGN_OR_RETURN(Manifested manifested, ReadManifested(parts.artifacts, request.sha256()));
  RETURN_IF_ERROR(ConfigOf(manifested.config_json).status());
  ASSIGN_OR_RETURN(const bool created,
                   parts.core.RegisterModel({.name = request.name(),
                                             .digest = request.sha256(),
                                             .config_json = std::move(manifested.config_json),
                                             .source = request.source(),
                                             .n_bytes = manifested.n_bytes,
                                             .imported_wall_ms = WallMs(),
                                             .owner = std::move(storing.owner)},
                                            manifested.files, storing.bytes_max));
  response->set_created(created);
  return Status();
}

// The digest and step that a request asks for, and `row` if it asks for a run.
struct Wanted {
  std::string sha256;
  std::int64_t step = 0;
  std::optional<SweepRunRow> row = {};
};

Result<Wanted> WantedOfRun(CoordinatorParts& parts, SweepRunRow row, const std::string& which) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(row.run_json));
  ASSIGN_OR_RETURN(const Run run, Run::FromJson(json));
  Wanted wanted;
  const std::string name = Str("run ", row.run_key.substr(0, 8));
  if (!run.trains()) {
    wanted.sha256 = run.init->sha256;
    wanted.row = std::move(row);
    return wanted;
  }
  std::optional<CheckpointRef> found;
  bool is_trained = false;
  RETURN_IF_ERROR(parts.core.LookAndWait([&](const State& state) {
    const auto task = state.tasks.find(TrainTaskKey(row.run_key));
    if (task == state.tasks.end()) return;
    is_trained = task->second.state == TaskState::kSucceeded;
    found = which == "best" ? task->second.best_checkpoint : task->second.final_checkpoint;
  }));
  if (!found && which == "best") {
    return Status(
        Code::kFailedPrecondition,
        Str(name, " has no best checkpoint: its sweep has no train.validate; use the last one"));
  }
  if (!found || !is_trained) {
    return Status(Code::kFailedPrecondition, Str(name, " has not finished training: `longrun get ",
                                                 row.run_key.substr(0, 8), "` says how far it is"));
  }
  wanted.sha256 = found->sha256;
  wanted.step = found->step;
  wanted.row = std::move(row);
  return wanted;
}

Result<Wanted> WantedBy(CoordinatorParts& parts, StoreReader& reader,
                        const v1::FindCheckpointRequest& request) {
  if (request.which() != "last" && request.which() != "best") {
    return Status(Code::kInvalidArgument,
                  Str("which: expected last or best, found \"", request.which(), "\""));
  }
  for (const ModelRow& model : parts.core.models()) {
    if (model.name == request.target()) return Wanted{.sha256 = model.digest};
  }
  Result<SweepRunRow> row = reader.FindRun(request.target());
  if (row.ok()) return WantedOfRun(parts, std::move(row).value(), request.which());
  if (row.status().code() != Code::kNotFound && request.target().size() >= 8) return row.status();
  if (IsSha256Hex(request.target())) {
    // A run may have started from a model whose name has since been removed.
    ASSIGN_OR_RETURN(const auto files, reader.CheckpointFiles(request.target()));
    const bool is_model = std::ranges::any_of(
        files, [](const ArtifactFile& file) { return file.name == "config.json"; });
    if (is_model) return Wanted{.sha256 = request.target()};
  }
  return Status(Code::kNotFound,
                Str(Quoted(request.target()),
                    " is neither a run (8 digits or more of its id) nor an imported "
                    "model; `longrun get SWEEP` shows runs, `longrun models ls` "
                    "models"));
}

void FillFile(const ArtifactFile& file, v1::CheckpointFileInfo* info) {
  info->set_name(file.name);
  info->set_sha256(file.sha256);
  info->set_bytes(file.n_bytes);
}

std::optional<std::string> FolderOfDataset(const Core& core, const std::string& name) {
  for (const DatasetRow& dataset : core.datasets()) {
    if (dataset.info.name == name) return dataset.folder;
  }
  return std::nullopt;
}

Status Find(CoordinatorParts& parts, StoreReader& reader, const v1::FindCheckpointRequest& request,
            v1::FindCheckpointResponse* response) {
  ASSIGN_OR_RETURN(const Wanted wanted, WantedBy(parts, reader, request));
  ASSIGN_OR_RETURN(const std::vector<ArtifactFile> files, reader.CheckpointFiles(wanted.sha256));
  response->set_sha256(wanted.sha256);
  response->set_step(wanted.step);
  for (const ArtifactFile& file : files) {
    FillFile(file, response->add_files());
  }
  if (!wanted.row) return Status();
  response->set_run_key(wanted.row->run_key);
  response->set_run_json(wanted.row->run_json);
  response->set_dataset(wanted.row->dataset);
  response->set_dataset_folder(FolderOfDataset(parts.core, wanted.row->dataset).value_or(""));
  return Status();
}

}  // namespace

std::function<std::optional<ModelInfo>(const std::string&)> ModelFinder(
    const std::vector<ModelRow>& models) {
  std::map<std::string, ModelInfo> known;
  for (const ModelRow& row : models) {
    const Result<Json> config = ParseJson(row.config_json);
    if (!config.ok()) continue;  // cannot happen: it was parsed before it was stored
    Result<NetConfig> net = ParseModelConfig(*config);
    if (!net.ok()) continue;
    const Result<std::int64_t> mask_token = MaskTokenOf(*config, net->model);
    if (!mask_token.ok()) continue;
    known[row.name] = {.name = row.name,
                       .digest = row.digest,
                       .model = std::move(net->model),
                       .extension = std::move(net->extension),
                       .trained_length = TrainedLength(*config),
                       .mask_token = *mask_token};
  }
  return [known = std::move(known)](const std::string& name) {
    const auto found = known.find(name);
    return found == known.end() ? std::optional<ModelInfo>() : found->second;
  };
}

Json ExtensionOfModel(const std::vector<ModelRow>& models, const std::string& digest) {
  const auto model = std::ranges::find(models, digest, &ModelRow::digest);
  if (model == models.end()) return nullptr;
  const Result<NetConfig> config = ConfigOf(model->config_json);
  return config.ok() ? config->extension : Json();
}

Status RegisterModel(Call& call, const v1::RegisterModelRequest& request,
                     v1::RegisterModelResponse* response) {
  call.error.subject = request.name();
  return call.WithReason("MODEL_INVALID", Register(call, request, response));
}

std::string SourceShown(const std::string& source, bool is_remote) {
  return is_remote ? BaseName(source) : source;
}

Status ListModels(Call& call, const v1::ListModelsRequest&, v1::ListModelsResponse* response) {
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  for (const ModelRow& model : call.parts.core.models()) {
    v1::ModelInfo* info = response->add_models();
    info->set_name(model.name);
    info->set_sha256(model.digest);
    info->set_config_json(model.config_json);
    info->set_source(SourceShown(model.source, is_remote));
    info->set_bytes(model.n_bytes);
    info->set_imported_ms(model.imported_wall_ms);
    const Result<NetConfig> net = ConfigOf(model.config_json);
    if (!net.ok()) continue;  // imported by a build that knows another architecture or method
    info->set_parameters(net->model.ParameterCount());
    info->set_position(net->model.position.method);
  }
  return Status();
}

Status RemoveModel(Call& call, const v1::RemoveModelRequest& request,
                   v1::RemoveModelResponse* response) {
  call.error.subject = request.name();
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(call.parts.access, *call.context));
  // Models are removed one at a time, on the submitter's thread, and keep their owners until then:
  // what is found here holds until the removal.
  const std::vector<ModelRow> models = call.parts.core.models();
  const auto model = std::ranges::find(models, request.name(), &ModelRow::name);
  if (model != models.end()) {
    RETURN_IF_ERROR(call.WithReason("NOT_OWNER",
                                    CheckMayRemove(caller, "model", request.name(), model->owner)));
  } else if (!IsOperator(caller)) {  // whose a damaged row was is not known
    return call.WithReason("MODEL_NOT_FOUND", UnknownModel(request.name()));
  }
  RETURN_IF_ERROR(call.WithReason("DAMAGED", call.reader.CheckBeforeRemoval()));
  const ModelBytes bytes = IsOperator(caller) ? ModelBytes::kMayStay : ModelBytes::kMustGo;
  const Result<bool> removed = call.parts.core.RemoveModel(request.name(), bytes);
  const bool is_unknown = removed.status().code() == Code::kNotFound;
  ASSIGN_OR_RETURN(const bool bytes_go,
                   call.WithReason(is_unknown ? "MODEL_NOT_FOUND" : "MODEL_IN_USE", removed));
  response->set_bytes_go(bytes_go);
  return Status();
}

std::optional<Status> FindCheckpoint(Call& call, const v1::FindCheckpointRequest& request,
                                     v1::FindCheckpointResponse* response) {
  call.error.subject = request.target();
  const Result<bool> is_remote = IsRemote(call);
  if (!is_remote.ok()) return is_remote.status();
  Status found =
      call.WithReason("CHECKPOINT_NOT_FOUND", Find(call.parts, call.reader, request, response));
  if (!found.ok() || !*is_remote || response->dataset_folder().empty()) return found;
  response->clear_dataset_folder();
  return std::nullopt;
}

Status ListTokenizer(Call& call, v1::FindCheckpointResponse* response) {
  const std::string& name = response->dataset();
  const std::optional<std::string> folder = FolderOfDataset(call.parts.core, name);
  if (!folder) return Status();
  const Result<DatasetListing> listing = call.parts.core.bytes().List(*folder);
  if (!listing.ok()) {
    // Without the listing's error, which names the folder.
    response->set_tokenizer_problem(
        Str("dataset \"", name,
            "\" cannot be read: on the coordinator's machine, `longrun data verify ", name,
            "` says what is damaged: import the dataset again"));
    return Status();
  }
  for (const ArtifactFile& file : listing->files) {
    if (file.name != kTokenizerFile && file.name != kVocabularyFile) continue;
    FillFile(file, response->add_tokenizer_files());
  }
  return Status();
}

}  // namespace longrun::coordinator
