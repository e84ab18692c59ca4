// longrun import NAME FOLDER: copies a Hugging Face folder into the artifact store, under a name
// for a sweep's model.init_from.
//
// The folder is checked first, by the code with which the trainer reads it. Its files are stored
// one by one, each named by its SHA-256, and what the store already has is not sent again, so that
// a repeated command continues where it was interrupted. The name is stored last.
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/context.h"
#include "client/wire/embedded.h"
#include "client/words/progress_line.h"
#include "client/words/render.h"
#include "client/words/sending.h"
#include "client/words/tokenizer_files.h"
#include "model/architecture/rope_keys.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/content.h"
#include "model/hugging_face/finite.h"
#include "model/hugging_face/folder.h"
#include "model/hugging_face/manifest.h"

namespace longrun::client {
namespace {

Status CheckNumbers(const WeightFolder& model, ProgressLine& line) {
  std::int64_t n_bytes = 0;
  for (const auto& [name, tensor] : model.tensors) {
    n_bytes += static_cast<std::int64_t>(tensor->bytes.size());
  }
  return CheckFinite(
      model, [&](std::int64_t so_far) { line.Show(BytesProgress("checking", so_far, n_bytes)); });
}

// The user gave the folder, so what is damaged or unsupported in it is a mistake in the request.
Result<WeightFolder> OpenChecked(const std::string& folder, ProgressLine& line) {
  const auto open = [&]() -> Result<WeightFolder> {
    ASSIGN_OR_RETURN(WeightFolder model, OpenWeightFolder(folder));
    ASSIGN_OR_RETURN(const Json config, ReadConfigFile(folder));
    RETURN_IF_ERROR(CheckYarnIsTold(config));
    RETURN_IF_ERROR(CheckNumbers(model, line));
    return model;
  };
  Result<WeightFolder> model = open();
  const Code code = model.status().code();
  if (code != Code::kDataLoss && code != Code::kUnimplemented) return model;
  return Status(Code::kInvalidArgument, model.status().message());
}

// Other content under the same name would change what existing sweep files mean.
Status CheckNameIsFree(CoordinatorConnection& connection, const std::string& name,
                       const std::string& digest, bool& is_there) {
  ASSIGN_OR_RETURN(const v1::ListModelsResponse answer, connection.ListModels());
  for (const v1::ModelInfo& model : answer.models()) {
    if (model.name() != name) continue;
    const std::string& found = model.sha256();
    if (found != digest) {
      return Status(Code::kAlreadyExists,
                    Str("model \"", name, "\" already exists with other content (digest ",
                        ShortId(found), ", not ", ShortId(digest),
                        "): choose another name, or remove that model first: `longrun models rm ",
                        name, "`"));
    }
    is_there = true;
  }
  return Status();
}

Result<bool> Register(CoordinatorConnection& connection, const std::string& state,
                      const std::string& name, const std::string& folder,
                      const FolderContent& content, ProgressLine& line) {
  const TempFolder temporary;
  const std::string manifest = JoinPath(temporary.path(), kFolderManifestName);
  RETURN_IF_ERROR(WriteFileAtomic(manifest, content.manifest));
  std::vector<LocalArtifact> files;
  files.reserve(content.files.size() + 1);
  for (const FolderFile& file : content.files) {
    files.push_back(
        {.path = JoinPath(folder, file.name), .sha256 = file.sha256, .n_bytes = file.n_bytes});
  }
  files.push_back({.path = manifest,
                   .sha256 = content.digest,
                   .n_bytes = static_cast<std::int64_t>(content.manifest.size())});
  v1::RegisterModelResponse answer;
  const auto register_it = [&]() -> Status {
    Failpoint("client_before_register");
    v1::RegisterModelRequest request;
    request.set_name(name);
    request.set_sha256(content.digest);
    // The paths of a laptop are nobody else's business.
    request.set_source(IsContext(state) ? BaseName(folder) : folder);
    ASSIGN_OR_RETURN(answer, connection.RegisterModel(request));
    return Status();
  };
  RETURN_IF_ERROR(SendAndName(state, files, line, register_it));
  return answer.created();
}

// The files of a tokenizer that we keep, and whether longrun can read them.
struct KeptTokenizer {
  std::vector<std::string> files;
  std::optional<std::size_t> n_tokens = {};
  std::string not_read = {};  // why not
};

KeptTokenizer TokenizerIn(const std::string& folder, const ModelConfig& model) {
  KeptTokenizer kept{.files = TokenizerFilesIn(folder)};
  const Result<std::unique_ptr<Tokenizer>> tokenizer =
      OpenFolderTokenizer(folder, model.vocab_size);
  if (tokenizer.ok()) {
    kept.n_tokens = (*tokenizer)->vocabulary().tokens.size();
  } else {
    kept.not_read = tokenizer.status().message();
  }
  return kept;
}

struct Imported {
  ModelConfig model;
  std::string digest;
  std::int64_t n_bytes = 0;
  KeptTokenizer tokenizer;
  bool is_new = false;
};

Json ImportedJson(const std::string& name, const std::string& folder, const Imported& imported) {
  const KeptTokenizer& tokenizer = imported.tokenizer;
  return {{"name", name},
          {"folder", folder},
          {"digest", imported.digest},
          {"architecture", imported.model.architecture},
          {"position", imported.model.position.method},
          {"parameters", imported.model.ParameterCount()},
          {"bytes", imported.n_bytes},
          {"tokenizer",
           {{"files", tokenizer.files},
            {"n_tokens", tokenizer.n_tokens ? Json(*tokenizer.n_tokens) : Json()},
            {"not_read", tokenizer.n_tokens ? Json() : Json(tokenizer.not_read)}}},
          {"status", imported.is_new ? "new" : "same"}};
}

std::string TokenizerLine(const KeptTokenizer& tokenizer) {
  const std::string word = TokenizerWord(tokenizer.files);
  if (word.empty()) return Str("without a tokenizer: ", tokenizer.not_read);
  if (tokenizer.n_tokens) return Str("with its tokenizer of ", *tokenizer.n_tokens, " tokens");
  return Str("its tokenizer (", word,
             ") is kept for `longrun export`; longrun itself cannot read "
             "it: ",
             tokenizer.not_read);
}

// A model's name on a hub is not a folder here: longrun opens no network connection.
std::string HowToFetch(const std::string& name, const std::string& given) {
  const std::string model = given.empty() ? name : given;
  return Str("longrun downloads nothing: fetch the folder first, for example with `hf download ",
             model.starts_with("/") || model.starts_with(".") ? "OWNER/MODEL" : model,
             " --local-dir ", name, "-folder`, then `longrun import ", name, " ", name, "-folder`");
}

int Import(const std::string& name, const std::string& given, const std::string& output,
           const std::string& state) {
  if (!IsSafeName(name)) {
    return Report(
        Status(Code::kInvalidArgument,
               Str(Quoted(name),
                   " cannot name a model: expected 1 to 128 letters, digits, '.', '_' or '-', "
                   "not starting with '.'")));
  }
  if (given.empty()) {
    return Report(Status(Code::kInvalidArgument,
                         Str("FOLDER is required: the one that holds the model's config.json and "
                             "model.safetensors. ",
                             HowToFetch(name, given))));
  }
  const Result<std::string> folder = AbsolutePath(given);
  if (!folder.ok()) return Report(folder.status());
  const auto work = [&]() -> Result<Imported> {
    if (!IsFolder(*folder)) {
      return Status(Code::kNotFound, Str(*folder,
                                         " is not a folder: expected one with config.json and "
                                         "model.safetensors. ",
                                         HowToFetch(name, given)));
    }
    ProgressLine line;
    ASSIGN_OR_RETURN(const WeightFolder checked, OpenChecked(*folder, line));
    const auto show = [&](std::int64_t so_far, std::int64_t of) {
      line.Show(BytesProgress("reading", so_far, of));
    };
    ASSIGN_OR_RETURN(const FolderContent content, ReadFolderContent(*folder, checked, show));
    RETURN_IF_ERROR(MakeFolders(state, 0700));
    ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Reach(state));
    CoordinatorConnection& connection = coordinator->connection();
    bool is_there = false;
    RETURN_IF_ERROR(CheckNameIsFree(connection, name, content.digest, is_there));
    bool created = false;
    if (!is_there) {
      ASSIGN_OR_RETURN(created, Register(connection, state, name, *folder, content, line));
    }
    const ModelConfig& model = checked.config.model;
    return Imported{.model = model,
                    .digest = content.digest,
                    .n_bytes = content.n_bytes,
                    .tokenizer = TokenizerIn(*folder, model),
                    .is_new = created};
  };
  Result<Imported> done = work();
  if (!done.ok()) return Report(std::move(done).status().In("importing " + name));
  if (output == "json") {
    Print(RenderJson(ImportedJson(name, *folder, *done)));
    return kExitOk;
  }
  Print(Str(name, ": ", done->digest, "\n"));
  std::fprintf(stderr, "%s %s, %s parameters, position method %s%s\n",
               FormatBytes(done->n_bytes).c_str(), done->model.architecture.c_str(),
               FormatCount(done->model.ParameterCount()).c_str(),
               done->model.position.method.c_str(),
               done->is_new ? "; the folder is not needed any more" : "; it was imported before");
  std::fprintf(stderr, "%s\n", TokenizerLine(done->tokenizer).c_str());
  return kExitOk;
}

}  // namespace

void AddImport(Verbs& verbs) {
  Verb verb = verbs.AddVerb(
      "import", "import a Hugging Face folder as a model to train further or to measure");
  verb.AddExamples({"longrun import pythia-70m ./pythia-70m"});
  const auto name = std::make_shared<std::string>();
  const auto folder = std::make_shared<std::string>();
  verb.AddArgument("NAME", *name, "name for the model, to give as model.init_from in a sweep")
      .Required();
  verb.AddArgument("FOLDER", *folder,
                   "folder with config.json and the weights (model.safetensors, or its shards)");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun(
      [&verbs, name, folder, output] { return Import(*name, *folder, *output, verbs.state); });
}

}  // namespace longrun::client
