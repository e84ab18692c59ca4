// longrun models: imported checkpoints by name. `longrun import` makes them (import.cc).
#include <cstdio>
#include <memory>
#include <vector>

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "model/hugging_face/content.h"

namespace longrun::client {
namespace {

// An export for modeling_longrun.py names its architecture separately.
std::string ArchitectureOf(const Json& config) {
  return config.value("architecture", config.value("model_type", "gpt2"));
}

struct ListedModel {
  v1::ModelInfo info;
  std::vector<std::string> tokenizer;  // names of its tokenizer's files
};

Result<std::vector<ListedModel>> Models(const std::string& state) {
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const v1::ListModelsResponse answer, client.ListModels());
  std::vector<ListedModel> models;
  models.reserve(static_cast<std::size_t>(answer.models_size()));
  for (const v1::ModelInfo& info : answer.models()) {
    ListedModel& model = models.emplace_back(ListedModel{.info = info, .tokenizer = {}});
    ASSIGN_OR_RETURN(const v1::FindCheckpointResponse found,
                     client.FindCheckpoint(info.sha256(), "last"));
    for (const v1::CheckpointFileInfo& file : found.files()) {
      if (IsTokenizerFile(file.name())) model.tokenizer.push_back(file.name());
    }
  }
  return models;
}

int List(const std::string& output, const std::string& state) {
  const Result<std::vector<ListedModel>> models = Models(state);
  if (!models.ok()) return Report(models.status());
  if (output == "json") {
    Json list = Json::array();
    for (const ListedModel& model : *models) {
      list.push_back(ToJson(model.info));
      list.back()["tokenizer"] = model.tokenizer;
    }
    Print(RenderJson(list));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [model, tokenizer_files] : *models) {
    const std::string tokenizer = TokenizerWord(tokenizer_files);
    rows.push_back({model.name(), ShortId(model.sha256()),
                    ArchitectureOf(JsonIn(model.config_json())), model.position(),
                    FormatCount(model.parameters()), FormatBytes(model.bytes()),
                    tokenizer.empty() ? "none" : tokenizer, model.source()});
  }
  const std::vector<std::string> header = {"name",       "digest", "architecture", "position",
                                           "parameters", "size",   "tokenizer",    "imported from"};
  const std::vector<Align> align = {Align::kLeft,  Align::kLeft,  Align::kLeft, Align::kLeft,
                                    Align::kRight, Align::kRight, Align::kLeft, Align::kLeft};
  Print(output == "csv" ? RenderCsv(header, rows) : RenderColumns(header, align, rows));
  return kExitOk;
}

int Remove(const std::string& name, const std::string& output, const std::string& state) {
  // Not repeated on failure: a second call might find the name already removed.
  const auto coordinator = Coordinator::Reach(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  const Result<v1::RemoveModelResponse> answer = (*coordinator)->connection().RemoveModel(name);
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson({{"name", name}, {"bytes_go", answer->bytes_go()}}));
    return kExitOk;
  }
  Print(Str("removed ", name, "\n"));
  SayLine(answer->bytes_go()
              ? "its bytes are removed within minutes, or by `longrun gc`"
              : "its bytes stay: another name or a run that started from it needs them");
  return kExitOk;
}

void AddLs(Verbs& verbs, Verb& models) {
  Verb verb = models.AddVerb("ls", "list imported models");
  verb.AddExamples({"longrun models ls", "longrun models ls -o json"});
  const auto output = AddOutput(verb, {"table", "json", "csv"});
  verb.SetRun([&verbs, output] { return List(*output, verbs.state); });
}

void AddRm(Verbs& verbs, Verb& models) {
  Verb verb = models.AddVerb("rm", "remove a model's name; results stay");
  verb.AddExamples({"longrun models rm pythia-70m"});
  const auto name = std::make_shared<std::string>();
  verb.AddArgument("NAME", *name, "name of an imported model").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, name, output] { return Remove(*name, *output, verbs.state); });
}

}  // namespace

void AddModels(Verbs& verbs) {
  Verb models = verbs.AddVerb("models", "imported models: ls, rm");
  models.RequireVerb();
  models.AddExamples({"longrun models ls", "longrun models rm pythia-70m"});
  AddLs(verbs, models);
  AddRm(verbs, models);
}

}  // namespace longrun::client
