// longrun data: datasets by name. `import` makes one from text files inside the state folder.
#include <CLI/CLI.hpp>

#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "client/ask.h"
#include "client/output.h"
#include "client/render.h"
#include "client/verb.h"
#include "model/data/dataset.h"

namespace longrun {
namespace {

struct ImportArguments {
  std::string name;
  std::string tokenizer = "bytes";
  std::vector<std::string> train;
  std::vector<std::string> validation;
  std::vector<std::string> test;
};

int Register(const std::string& name, const std::string& folder, const std::string& state) {
  const Result<std::string> absolute = AbsolutePath(folder);
  if (!absolute.ok()) return Report(absolute.status());
  const Result<Json> answer =
      Ask(state, "RegisterDataset", {{"name", name}, {"folder", *absolute}});
  if (!answer.ok()) return Report(answer.status());
  Print(Str(name, ": ", answer->at("digest").get<std::string>(),
            answer->at("changed").get<bool>() ? " (other content than before)\n" : "\n"));
  return kExitOk;
}

// The same import twice is no mistake; other content under the same name is.
Status TakeIfSame(const std::string& name, const std::string& folder, const std::string& again) {
  const Result<Dataset> there = Dataset::Open(folder);
  const Result<Dataset> made = Dataset::Open(again);
  const bool same = there.ok() && made.ok() && there->digest() == made->digest();
  RETURN_IF_ERROR(RemoveAll(again));
  if (same) return {};
  RETURN_IF_ERROR(there.status());
  RETURN_IF_ERROR(made.status());
  return {Code::kAlreadyExists, Str(folder, " holds other content: choose another name than ", name,
                                    ", or remove that folder first")};
}

int Import(const ImportArguments& arguments, const std::string& state) {
  if (!IsSafeName(arguments.name)) {
    return Report(Status(Code::kInvalidArgument,
                         Str("\"", arguments.name,
                             "\" cannot name a dataset: letters, digits, '.', '_' and '-' only")));
  }
  const std::string folder = JoinPath(JoinPath(state, "datasets"), arguments.name);
  ImportSpec spec;
  spec.tokenizer = arguments.tokenizer;
  spec.splits.emplace_back("train", arguments.train);
  spec.splits.emplace_back("validation", arguments.validation);
  if (!arguments.test.empty()) spec.splits.emplace_back("test", arguments.test);
  if (Status made = MakeFolders(state, 0700); !made.ok()) return Report(made);
  const bool again = PathExists(JoinPath(folder, "dataset.json"));
  const std::string target = again ? Str(folder, ".again") : folder;
  Status imported = again ? RemoveAll(target) : Status();
  if (imported.ok()) imported = ImportText(spec, target);
  if (imported.ok() && again) imported = TakeIfSame(arguments.name, folder, target);
  if (!imported.ok()) return Report(std::move(imported).In("importing " + arguments.name));
  return Register(arguments.name, folder, state);
}

int List(const std::string& output, const std::string& state) {
  const Result<Json> answer = Ask(state, "ListDatasets", Json::object());
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson(answer->at("datasets")));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const Json& dataset : answer->at("datasets")) {
    std::vector<std::string> splits;
    for (const auto& [split, tokens] : dataset.at("split_tokens").items()) {
      splits.push_back(split + "=" + FormatCount(tokens.get<std::int64_t>()));
    }
    rows.push_back({dataset.at("name").get<std::string>(),
                    ShortId(dataset.at("digest").get<std::string>()),
                    ShortId(dataset.at("tokenizer").get<std::string>()), Join(splits, " "),
                    dataset.at("folder").get<std::string>()});
  }
  const std::vector<std::string> header = {"name", "digest", "tokenizer", "tokens", "folder"};
  Print(output == "csv"
            ? RenderCsv(header, rows)
            : RenderColumns(header, std::vector<Align>(header.size(), Align::kLeft), rows));
  return kExitOk;
}

}  // namespace

void AddData(Verbs& verbs) {
  CLI::App* data = verbs.app->add_subcommand("data", "datasets: import, register, ls");
  data->require_subcommand(1);
  AddExamples(*data, {"longrun data import mybook --train a.txt b.txt --validation c.txt",
                      "longrun data ls"});

  CLI::App* make =  // clang-format takes the name "import" for a module's
      data->add_subcommand("import", "tokenise text files, one document each, and register them");
  AddExamples(*make, {"longrun data import mybook --train a.txt b.txt --validation c.txt"});
  auto arguments = std::make_shared<ImportArguments>();
  make->add_option("NAME", arguments->name, "of the dataset")->required();
  make->add_option("--tokenizer", arguments->tokenizer,
                   "bytes, gpt2, or a file: *.tiktoken, *.json")
      ->capture_default_str();
  make->add_option("--train", arguments->train, "documents to train on")->required();
  make->add_option("--validation", arguments->validation, "documents held out")->required();
  make->add_option("--test", arguments->test, "further documents held out");
  make->callback([&verbs, arguments] {
    verbs.run = [&verbs, arguments] { return Import(*arguments, verbs.state); };
  });

  CLI::App* add = data->add_subcommand("register", "tell the coordinator where a dataset lies");
  AddExamples(*add, {"longrun data register books prepared/books"});
  auto name = std::make_shared<std::string>();
  auto folder = std::make_shared<std::string>();
  add->add_option("NAME", *name, "of the dataset")->required();
  add->add_option("FOLDER", *folder, "that holds dataset.json")->required();
  add->callback([&verbs, name, folder] {
    verbs.run = [&verbs, name, folder] { return Register(*name, *folder, verbs.state); };
  });

  CLI::App* list = data->add_subcommand("ls", "list datasets");
  AddExamples(*list, {"longrun data ls", "longrun data ls -o json"});
  const auto output = AddOutput(*list, {"table", "json", "csv"});
  list->callback(
      [&verbs, output] { verbs.run = [&verbs, output] { return List(*output, verbs.state); }; });

  AddTrainTokenizer(*data, verbs);
}

}  // namespace longrun
