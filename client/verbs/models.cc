// longrun models: imported checkpoints by name. `longrun import` makes them (import.cc).
#include <cstdio>
#include <memory>

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "model/hugging_face/content.h"

namespace longrun {
namespace {

// An export for modeling_longrun.py names its architecture separately.
std::string ArchitectureOf(const Json& config) {
  return config.value("architecture", config.value("model_type", "gpt2"));
}

// All models, each with the names of its tokenizer's files as "tokenizer".
Result<Json> Models(const std::string& state) {
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const Json answer, client.Call("ListModels", Json::object()));
  Json models = answer.at("models");
  for (Json& model : models) {
    ASSIGN_OR_RETURN(
        const Json found,
        client.Call("FindCheckpoint", {{"target", model.at("sha256")}, {"which", "last"}}));
    model["tokenizer"] = Json::array();
    for (const Json& file : found.at("files")) {
      const auto name = file.at("name").get<std::string>();
      if (IsTokenizerFile(name)) model["tokenizer"].push_back(name);
    }
  }
  return models;
}

int List(const std::string& output, const std::string& state) {
  const Result<Json> models = Models(state);
  if (!models.ok()) return Report(models.status());
  if (output == "json") {
    Print(RenderJson(*models));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const Json& model : *models) {
    const std::string tokenizer =
        TokenizerWord(model.at("tokenizer").get<std::vector<std::string>>());
    rows.push_back({model.at("name").get<std::string>(),
                    ShortId(model.at("sha256").get<std::string>()),
                    ArchitectureOf(model.at("config")), model.at("position").get<std::string>(),
                    FormatCount(model.at("parameters").get<std::int64_t>()),
                    FormatBytes(model.at("bytes").get<std::int64_t>()),
                    tokenizer.empty() ? "none" : tokenizer, model.at("source").get<std::string>()});
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
  const Result<Json> answer = (*coordinator)->connection().Call("RemoveModel", {{"name", name}});
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson({{"name", name}, {"bytes_go", answer->at("bytes_go")}}));
    return kExitOk;
  }
  Print(Str("removed ", name, "\n"));
  std::fprintf(stderr, "%s\n",
               answer->at("bytes_go").get<bool>()
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
  verb.AddArgument("NAME", *name, "of an imported model").Required();
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

}  // namespace longrun
