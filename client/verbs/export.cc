// longrun export RUN FOLDER: writes a run's weights as a Hugging Face folder, which transformers
// and lm-evaluation-harness load (model/hugging_face/export.h).
//
// The folder appears complete or not at all: it is written next to its final place, under a name
// that starts with a dot, and then renamed.
#include "model/hugging_face/export.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/artifacts.h"
#include "client/wire/context.h"
#include "client/wire/embedded.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/run_of.h"
#include "client/words/tokenizer_files.h"
#include "model/architecture/parameters.h"
#include "model/data/tokenizer.h"
#include "model/data/tokenizer/hugging_face.h"
#include "model/data/tokenizer_file.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/content.h"
#include "model/hugging_face/convert.h"
#include "model/hugging_face/manifest.h"
#include "model/hugging_face/mask_token.h"
#include "sweeps/run.h"

namespace longrun::client {
namespace {

struct ExportArguments {
  std::string target, folder;
  std::string dtype;
  std::string which = "last";
  std::string shard_size = "5G";
};

// Leaves out the optimizer's state and our own notes.
bool IsOfTheModel(std::string_view name) {
  return name != "optimizer.safetensors" && name != "state.json" && name != kFolderManifestName;
}

Status CheckPlace(const std::string& folder) {
  if (!PathExists(folder)) return Status();
  if (IsFolder(folder)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
    if (names.empty()) return Status();
  }
  return Status(Code::kAlreadyExists,
                Str(folder, IsFolder(folder) ? " is not empty" : " is a file",
                    ": name a folder that does not exist yet; nothing is overwritten"));
}

using Files = google::protobuf::RepeatedPtrField<v1::CheckpointFileInfo>;

// Fetches the wanted ones of the files.
Status Fetch(ArtifactClient& store, const Files& files, bool (*is_wanted)(std::string_view),
             const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder));
  for (const v1::CheckpointFileInfo& file : files) {
    const std::string& name = file.name();
    if (!IsSafeName(name)) {
      return Status(Code::kDataLoss, Str("a file to fetch is named \"", name, "\""));
    }
    if (!is_wanted(name)) continue;
    Status fetched = store.Download(
        {.path = JoinPath(folder, name), .sha256 = file.sha256(), .n_bytes = file.bytes()});
    if (!fetched.ok()) return std::move(fetched).In(Str("fetching ", name));
  }
  return Status();
}

// Writes tokenizer.json (`text`) and what AutoTokenizer needs beside it.
Status WriteTokenizer(const Vocabulary& vocabulary, const std::string& text,
                      std::int64_t trained_length, const std::string& folder) {
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, "tokenizer.json"), text));
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false}};
  if (trained_length > 0) config["model_max_length"] = trained_length;
  for (const auto& [key, id] :
       {std::pair("bos_token", vocabulary.bos_id), std::pair("eos_token", vocabulary.eot_id),
        std::pair("pad_token", vocabulary.pad_id), std::pair("mask_token", vocabulary.MaskId())}) {
    if (id >= 0) config[key] = vocabulary.tokens.at(static_cast<std::size_t>(id)).bytes;
  }
  return WriteFileAtomic(JoinPath(folder, "tokenizer_config.json"), config.dump(2) + "\n");
}

// Whether the coordinator no longer has a file's bytes, or has other bytes, so that another attempt
// would fare the same.
bool IsDamaged(const Status& fetched) {
  return fetched.code() == Code::kDataLoss || fetched.code() == Code::kNotFound ||
         fetched.code() == Code::kFailedPrecondition || fetched.code() == Code::kAborted;
}

// Drops the tensors that `wanted` does not use: a run may measure a model without its
// learned positions.
Status KeepTensorsOf(const ModelConfig& wanted, WeightFolder& model) {
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(wanted));
  std::erase_if(model.tensors, [&](const auto& entry) {
    return std::ranges::find(specs, entry.first, &ParameterSpec::name) == specs.end();
  });
  return Status();
}

// Copies the files unchanged.
Status CopyTokenizer(const std::string& from, const std::string& folder) {
  for (const std::string& name : TokenizerFilesIn(from)) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(JoinPath(from, name)));
    RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, name), bytes));
  }
  return Status();
}

// The id under `key` in config.json, or -1.
std::int32_t IdIn(const Json& config, const char* key) {
  const bool is_id = config.contains(key) && config[key].is_number_unsigned() &&
                     config[key].get<std::uint64_t>() < std::uint64_t{1} << 31;
  return is_id ? config[key].get<std::int32_t>() : -1;
}

struct Exported {
  ExportedFolder written;
  std::string no_tokenizer;  // why there is none; "" if there is one
};

class Exporter {
 public:
  // `checkpoint` is the answer of FindCheckpoint; `is_remote` says whether it came from another
  // machine. `folder` must exist.
  Exporter(CoordinatorConnection& connection, ArtifactClient& store,
           const v1::FindCheckpointResponse& checkpoint, bool is_remote, std::string folder)
      : connection_(connection),
        store_(store),
        checkpoint_(checkpoint),
        is_remote_(is_remote),
        folder_(std::move(folder)),
        fetched_(JoinPath(folder_, ".fetched")) {}

  Result<Exported> Write(const ExportArguments& arguments);

 private:
  // Each returns why there is no tokenizer, or "" if it was written.
  Result<std::string> WriteTokenizerOf(const Run* run, const ModelConfig& model,
                                       const Json& config);
  Result<std::string> WriteOwnTokenizer(const ModelConfig& model, const Json& config);
  Result<std::string> WriteTrainedTokenizer(const Run& run);
  Result<std::string> WriteDatasetTokenizer(const Run& run);
  // Sets `folder` to one that has the tokenizer files of the run's dataset.
  Result<std::string> FindDatasetTokenizer(std::string& folder);

  CoordinatorConnection& connection_;
  ArtifactClient& store_;
  const v1::FindCheckpointResponse& checkpoint_;
  const bool is_remote_;
  const std::string folder_;
  const std::string fetched_;
  ExportFacts facts_;
};

// For an imported model that is exported unchanged.
Result<std::string> Exporter::WriteOwnTokenizer(const ModelConfig& model, const Json& config) {
  facts_.bos_id = IdIn(config, "bos_token_id");
  facts_.eos_id = IdIn(config, "eos_token_id");
  if (TokenizerWord(TokenizerFilesIn(fetched_)).empty()) {
    return std::string(
        "none is stored with these weights; export the run instead, or copy the tokenizer that came"
        " with the model");
  }
  const auto tokenizer = OpenFolderTokenizer(fetched_, model.vocab_size);
  if (tokenizer.ok()) {
    const Vocabulary& vocabulary = (*tokenizer)->vocabulary();
    if (facts_.bos_id < 0) facts_.bos_id = vocabulary.bos_id;
    if (facts_.eos_id < 0) facts_.eos_id = vocabulary.eot_id;
  }
  RETURN_IF_ERROR(CopyTokenizer(fetched_, folder_));
  return std::string();
}

// From another machine, the files come by their digests, since its paths mean nothing here.
Result<std::string> Exporter::FindDatasetTokenizer(std::string& folder) {
  const std::string& name = checkpoint_.dataset();
  if (!checkpoint_.tokenizer_problem().empty()) return checkpoint_.tokenizer_problem();
  if (!checkpoint_.tokenizer_files().empty()) {
    folder = JoinPath(fetched_, "dataset");
    const auto all = [](std::string_view) { return true; };
    Status fetched = Fetch(store_, checkpoint_.tokenizer_files(), all, folder);
    if (fetched.ok()) return std::string();
    if (!IsDamaged(fetched)) return std::move(fetched).In(Str("the tokenizer of dataset ", name));
    return Str("the tokenizer of dataset \"", name,
               "\" is damaged or gone: on the coordinator's machine, `longrun data verify ", name,
               "` says what is damaged: import the dataset again");
  }
  folder = checkpoint_.dataset_folder();
  if (folder.empty()) return Str("dataset \"", name, "\" is not registered any more");
  if (!is_remote_) return std::string();
  return std::string(
      "the coordinator is of an earlier release, which does not send the tokenizer of a dataset to "
      "other machines: update it, or export on its machine");
}

Result<std::string> Exporter::WriteDatasetTokenizer(const Run& run) {
  std::string folder;
  ASSIGN_OR_RETURN(std::string problem, FindDatasetTokenizer(folder));
  if (!problem.empty()) return problem;
  const Result<std::unique_ptr<Tokenizer>> tokenizer = OpenTokenizerOf(folder);
  if (!tokenizer.ok()) return tokenizer.status().message();
  const Vocabulary& vocabulary = (*tokenizer)->vocabulary();
  if (vocabulary.Fingerprint() != run.tokenizer_fingerprint) {
    return Str("dataset \"", checkpoint_.dataset(), "\" has another tokenizer now");
  }
  facts_.bos_id = vocabulary.bos_id;
  facts_.eos_id = vocabulary.eot_id;
  const Result<std::string> text = HuggingFaceText(vocabulary);
  if (!text.ok()) return text.status().message();
  RETURN_IF_ERROR(WriteTokenizer(vocabulary, *text, facts_.trained_length, folder_));
  return std::string();
}

// For a model trained on a dataset: the dataset's tokenizer, but from the files of the imported
// model that the run started from if its ids are the same, since those files contain more.
Result<std::string> Exporter::WriteTrainedTokenizer(const Run& run) {
  if (!run.init || !run.init->is_imported()) return WriteDatasetTokenizer(run);
  ASSIGN_OR_RETURN(const v1::FindCheckpointResponse start,
                   connection_.FindCheckpoint(run.init->sha256, "last"));
  const std::string own = JoinPath(fetched_, "tokenizer");
  RETURN_IF_ERROR(Fetch(store_, start.files(), &IsTokenizerFile, own));
  const auto tokenizer = OpenFolderTokenizer(own, run.model.vocab_size);
  if (tokenizer.ok() && (*tokenizer)->vocabulary().Fingerprint() == run.tokenizer_fingerprint) {
    facts_.bos_id = (*tokenizer)->vocabulary().bos_id;
    facts_.eos_id = (*tokenizer)->vocabulary().eot_id;
    RETURN_IF_ERROR(CopyTokenizer(own, folder_));
    return std::string();
  }
  ASSIGN_OR_RETURN(const std::string why, WriteDatasetTokenizer(run));
  const std::string word = TokenizerWord(TokenizerFilesIn(own));
  if (why.empty() || word.empty()) return why;
  return Str(
      why, "; the model from which the run started has a ", word,
      ", but it may not be the dataset's: if it is, copy it from the folder that `longrun export ",
      run.init->sha256, " FOLDER` writes");
}

Result<std::string> Exporter::WriteTokenizerOf(const Run* run, const ModelConfig& model,
                                               const Json& config) {
  const bool is_own = run == nullptr || !TokenizerWord(TokenizerFilesIn(fetched_)).empty();
  return is_own ? WriteOwnTokenizer(model, config) : WriteTrainedTokenizer(*run);
}

Result<Exported> Exporter::Write(const ExportArguments& arguments) {
  if (!arguments.dtype.empty()) {
    ASSIGN_OR_RETURN(facts_.type, ParseFloatType(arguments.dtype));
  }
  ASSIGN_OR_RETURN(facts_.shard_bytes_max, ParseCount(arguments.shard_size));
  RETURN_IF_ERROR(Fetch(store_, checkpoint_.files(), &IsOfTheModel, fetched_));
  ASSIGN_OR_RETURN(const Json config, ReadConfigFile(fetched_));
  ASSIGN_OR_RETURN(WeightFolder model, OpenWeightFolder(fetched_));
  facts_.trained_length = TrainedLength(config);
  std::optional<Run> run;
  if (!checkpoint_.run_json().empty()) {
    ASSIGN_OR_RETURN(run, Run::FromJson(JsonIn(checkpoint_.run_json())));
    // A run may measure an imported model with other positions: use the run's.
    if (!run->trains()) {
      model.config.model = run->model;
      if (run->model.position.method != "rope") model.config.extension = Json();
      RETURN_IF_ERROR(KeepTensorsOf(run->model, model));
    }
    if (facts_.trained_length == 0) facts_.trained_length = run->train.train_length;
  }
  ASSIGN_OR_RETURN(facts_.mask_token_id, MaskTokenOf(config, model.config.model));
  if (run && run->train.is_masked()) facts_.mask_token_id = run->train.mask.token;
  Exported exported;
  ASSIGN_OR_RETURN(exported.no_tokenizer,
                   WriteTokenizerOf(run ? &*run : nullptr, model.config.model, config));
  ASSIGN_OR_RETURN(exported.written, WriteModelFolder(model, facts_, folder_));
  for (const std::string& name : TokenizerFilesIn(folder_)) exported.written.files.push_back(name);
  RETURN_IF_ERROR(RemoveAll(fetched_));
  RETURN_IF_ERROR(SyncFolder(folder_));
  return exported;
}

// Whether the run has weights: its training succeeded, or it measures an imported model.
bool HasWeights(const v1::RunInfo& run) {
  return std::ranges::all_of(run.tasks(), [](const v1::TaskInfo& task) {
    return task.kind() != "train" || task.state() == "SUCCEEDED";
  });
}

// A sweep's name means its only run; if there are several, the error names those with weights.
Result<v1::FindCheckpointResponse> FindWeights(CoordinatorConnection& connection,
                                               const ExportArguments& arguments,
                                               const std::string& state) {
  const auto find = [&](const std::string& target) {
    return connection.FindCheckpoint(target, arguments.which);
  };
  Result<v1::FindCheckpointResponse> found = find(arguments.target);
  if (found.ok() || found.status().code() != Code::kNotFound) return found;
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const std::string run,
                   RunOf(client, arguments.target,
                         {.verb = "export",
                          .rest = arguments.folder,
                          .serves = &HasWeights,
                          .unless = Str("none of them has finished training: `longrun get ",
                                        arguments.target, "` says how far they are")},
                         found.status()));
  return find(run);
}

int Export(const ExportArguments& arguments, const std::string& output, const std::string& state) {
  std::string temporary;
  std::vector<std::string> new_folders;  // above the exported one, from the innermost on
  v1::FindCheckpointResponse checkpoint;
  std::string folder;
  const auto work = [&]() -> Result<Exported> {
    ASSIGN_OR_RETURN(folder, AbsolutePath(arguments.folder));
    RETURN_IF_ERROR(CheckPlace(folder));
    ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Reach(state));
    ASSIGN_OR_RETURN(const auto store, ArtifactClient::Connect(state));
    ASSIGN_OR_RETURN(checkpoint, FindWeights(coordinator->connection(), arguments, state));
    for (std::string made = FolderOf(folder); !PathExists(made); made = FolderOf(made)) {
      new_folders.push_back(made);
    }
    RETURN_IF_ERROR(MakeFolders(FolderOf(folder)));
    temporary = JoinPath(FolderOf(folder), Str(".", BaseName(folder), ".export"));
    RETURN_IF_ERROR(RemoveAll(temporary));
    RETURN_IF_ERROR(MakeFolders(temporary));
    Exporter exporter(coordinator->connection(), *store, checkpoint, IsContext(state), temporary);
    ASSIGN_OR_RETURN(Exported exported, exporter.Write(arguments));
    RETURN_IF_ERROR(RenameSync(temporary, folder));
    temporary.clear();
    return exported;
  };
  Result<Exported> done = work();
  if (!done.ok()) {
    // Report only the first error; the next export removes what cannot be removed now.
    if (!temporary.empty()) static_cast<void>(RemoveAll(temporary));
    for (const std::string& made : new_folders) rmdir(made.c_str());  // if it is empty
    return Report(std::move(done).status().In("exporting " + arguments.target));
  }
  if (output == "json") {
    Print(RenderJson(
        {{"folder", folder},
         {"checkpoint", checkpoint.sha256()},
         {"step", checkpoint.step()},
         {"files", done->written.files},
         {"trust_remote_code", done->written.has_code},
         {"no_tokenizer", done->no_tokenizer.empty() ? Json() : Json(done->no_tokenizer)}}));
    return kExitOk;
  }
  Print(Str(folder, "\n"));
  std::fprintf(stderr, "AutoModelForCausalLM.from_pretrained(\"%s\"%s)\n", folder.c_str(),
               done->written.has_code ? ", trust_remote_code=True" : "");
  if (!done->no_tokenizer.empty()) {
    std::fprintf(stderr, "exported without a tokenizer: %s\n", done->no_tokenizer.c_str());
  }
  return kExitOk;
}

}  // namespace

void AddExport(Verbs& verbs) {
  Verb verb = verbs.AddVerb("export", "write a run's weights as a Hugging Face folder");
  verb.AddExamples({"longrun export 1f2e3d4c ./my-model",
                    "longrun export 1f2e3d4c ./my-model --dtype bf16 --checkpoint best"});
  const auto arguments = std::make_shared<ExportArguments>();
  verb.AddArgument("RUN", arguments->target,
                   "a run's id (8 digits or more), a sweep that has only one run, or an imported "
                   "model's name or digest")
      .Required();
  verb.AddArgument("FOLDER", arguments->folder, "folder to write; it must be empty or not exist")
      .Required();
  verb.AddArgument("--dtype", arguments->dtype, "type of the weights (default: as stored)")
      .OneOf({"fp32", "bf16", "fp16"});
  verb.AddArgument("--checkpoint", arguments->which,
                   "last: of the last step; best: with the lowest validation loss (default: last)")
      .OneOf({"last", "best"});
  verb.AddArgument("--shard-size", arguments->shard_size,
                   "largest size of one file of weights (default: 5G)");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, arguments, output] { return Export(*arguments, *output, verbs.state); });
}

}  // namespace longrun::client
