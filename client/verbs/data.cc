// longrun data: datasets by name. `register` and `ls` are here;
// the other sub-verbs have their own files.
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "base/absent.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/context.h"
#include "client/wire/embedded.h"
#include "client/words/datasets.h"
#include "client/words/render.h"
#include "model/data/manifest.h"
#include "model/data/prepare.h"

namespace longrun::client {
namespace {

int List(const std::string& output, const std::string& state) {
  const auto coordinator = Coordinator::ReachToRead(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  const Result<v1::ListDatasetsResponse> answer =
      (*coordinator)->connection().ListDatasets(/*looks=*/true);
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson(ToJson(answer->datasets())));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::DatasetInfo& dataset : answer->datasets()) {
    // A map of Protobuf has no order.
    const std::map<std::string, std::int64_t> tokens_of(dataset.split_tokens().begin(),
                                                        dataset.split_tokens().end());
    std::vector<std::string> splits;
    splits.reserve(tokens_of.size());
    for (const auto& [split, n_tokens] : tokens_of) {
      splits.push_back(split + "=" + FormatCount(n_tokens));
    }
    rows.push_back({dataset.name(), ShortId(dataset.digest()), ShortId(dataset.tokenizer()),
                    Join(splits, " "), dataset.bytes() > 0 ? FormatBytes(dataset.bytes()) : "",
                    dataset.owner()});
    if (!IsContext(state)) rows.back().push_back(dataset.folder());
  }
  std::vector<std::string> header = {"name", "digest", "tokenizer", "tokens", "size", "owner"};
  std::vector<Align> align = {Align::kLeft, Align::kLeft,  Align::kLeft,
                              Align::kLeft, Align::kRight, Align::kLeft};
  if (!IsContext(state)) {  // only of use on its machine
    header.push_back("folder");
    align.push_back(Align::kLeft);
  }
  Print(output == "csv" ? RenderCsv(header, rows) : RenderColumns(header, align, rows));
  for (const v1::DatasetInfo& dataset : answer->datasets()) {
    if (!dataset.problem().empty()) SayLine(dataset.problem());
  }
  return kExitOk;
}

void AddDataRegister(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb(
      "register", "tell the coordinator where a dataset is, or send it to another machine");
  verb.AddExamples({"longrun data register books prepared/books"});
  const auto name = std::make_shared<std::string>();
  const auto folder = std::make_shared<std::string>();
  verb.AddArgument("NAME", *name, "name of the dataset").Required();
  verb.AddArgument("FOLDER", *folder, "folder that holds dataset.json").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, name, folder, output] {
    if (IsAbsent(*folder)) {
      return Report(Status(Code::kNotFound,
                           Str("there is no folder ", *folder,
                               ": name the folder of a dataset, which holds dataset.json; `longrun "
                               "data import` and `longrun data prepare` make one")));
    }
    const Status registered = RegisterDataset(*name, *folder, verbs.state, *output);
    return registered.ok() ? kExitOk : Report(registered);
  });
}

void AddDataLs(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb("ls", "list datasets");
  verb.AddExamples({"longrun data ls", "longrun data ls -o json"});
  const auto output = AddOutput(verb, {"table", "json", "csv"});
  verb.SetRun([&verbs, output] { return List(*output, verbs.state); });
}

// Compares real paths: symbolic links are followed.
bool IsWithin(const std::string& path, const std::string& folder) {
  std::error_code error;
  const std::filesystem::path of = std::filesystem::weakly_canonical(path, error);
  const std::filesystem::path in = std::filesystem::weakly_canonical(folder, error);
  return std::mismatch(in.begin(), in.end(), of.begin(), of.end()).first == in.end();
}

// `answer` says that the name is not registered, but an interrupted removal or import may have left
// its folder among ours. Removes that folder, unless another name refers to it.
Status RemoveRest(CoordinatorConnection& connection, const std::string& folder,
                  const Status& answer, std::optional<Removal>& removal) {
  if (answer.code() != Code::kNotFound || !removal || !removal->has_anything()) return answer;
  if (removal->is_users_own()) return answer;
  ASSIGN_OR_RETURN(const v1::ListDatasetsResponse known, connection.ListDatasets());
  for (const v1::DatasetInfo& dataset : known.datasets()) {
    if (IsWithin(dataset.folder(), folder)) return answer;
  }
  return removal->Finish();
}

// The names of the sweeps with runs or evaluations on a dataset of that name. None if that cannot
// be determined: it decides only what is said.
std::vector<std::string> SweepsOn(CoordinatorConnection& connection, const std::string& name) {
  if (!IsSafeName(name)) return {};
  const Result<v1::QueryResponse> answer = connection.Query(
      Str("SELECT sweep FROM sweep_runs JOIN runs USING (run_key) WHERE runs.dataset = '", name,
          "' UNION SELECT sweep FROM sweep_results WHERE evaluated_dataset = '", name,
          "' ORDER BY sweep"));
  if (!answer.ok()) return {};
  const Json rows = JsonIn(answer->rows_json());
  std::vector<std::string> sweeps;
  for (const Json& row : rows) sweeps.push_back(row.at(0).get<std::string>());
  return sweeps;
}

std::string LeftWithoutText(const std::string& name, const std::vector<std::string>& sweeps) {
  constexpr std::ptrdiff_t kShown = 5;
  const std::ptrdiff_t n_shown = std::min(std::ssize(sweeps), kShown);
  std::string names =
      Join(std::vector<std::string>(sweeps.begin(), sweeps.begin() + n_shown), ", ");
  if (n_shown < std::ssize(sweeps)) names += Str(" and ", std::ssize(sweeps) - n_shown, " more");
  return Str("the results of ", names, " stay, but nothing can be added to ",
             sweeps.size() == 1 ? "this sweep" : "these sweeps",
             " or measured again until a dataset of the same texts is registered as ", name,
             " (`longrun data import ", name, "` or `longrun data register ", name, "`)");
}

void SayLeftWithout(CoordinatorConnection& connection, const std::string& name) {
  const std::vector<std::string> sweeps = SweepsOn(connection, name);
  if (!sweeps.empty()) SayLine(LeftWithoutText(name, sweeps));
}

// The coordinator removes the files, too.
int RemoveElsewhere(const std::string& name, const std::string& output,
                    const std::string& context) {
  const auto coordinator = Coordinator::Reach(context);
  if (!coordinator.ok()) return Report(coordinator.status());
  CoordinatorConnection& connection = (*coordinator)->connection();
  const Result<v1::RemoveDatasetResponse> answer = connection.RemoveDataset(name);
  if (!answer.ok()) return Report(answer.status());
  SayLeftWithout(connection, name);
  if (output == "json") {
    Print(RenderJson({{"name", name}, {"folder_removed", answer->removed()}}));
    return kExitOk;
  }
  Print(Str("removed ", name, "\n"));
  if (!answer->removed()) {
    SayLine(answer->folder_is_named()
                ? "its files stay: another name refers to them"
                : "its files stay on the coordinator's machine, where they were registered");
  }
  return kExitOk;
}

int Remove(const std::string& name, const std::string& output, const std::string& state) {
  if (IsContext(state)) return RemoveElsewhere(name, output, state);
  const auto coordinator = Coordinator::Reach(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  CoordinatorConnection& connection = (*coordinator)->connection();
  std::string folder = DatasetFolder(state, name);
  std::optional<Removal> removal;
  if (IsSafeName(name)) {  // claim the folder before the name is removed
    Result<Removal> begun = Removal::Begin(folder);
    if (!begun.ok()) return Report(begun.status());
    removal.emplace(std::move(begun).value());
  }
  const Result<v1::RemoveDatasetResponse> answer = connection.RemoveDataset(name);
  std::string why_it_stays;
  Status removed;
  if (answer.ok()) {
    Failpoint("data_rm_unregistered");
    // Removes only what `data import` made; a folder of the user's,
    // or one with another name, stays.
    const std::string& registered = answer->folder();
    const bool is_ours = removal && IsWithin(registered, folder) && IsWithin(folder, registered);
    if (!is_ours) {
      why_it_stays = IsWithin(registered, state) ? "it was not made by `longrun data import`"
                                                 : "it is outside the state folder";
    }
    if (answer->folder_is_named()) why_it_stays = "another name refers to it";
    if (why_it_stays.empty() && !removal->foreign().empty()) {
      why_it_stays = Str("it also has ", BaseName(removal->foreign()),
                         ", which is not part of a dataset; `longrun data rm ", name,
                         "` removes the folder once that has been moved away");
    }
    folder = registered;
    if (why_it_stays.empty()) removed = removal->Finish();
  } else {
    removed = RemoveRest(connection, folder, answer.status(), removal);
  }
  if (!removed.ok()) return Report(removed);
  const bool goes = why_it_stays.empty();
  if (answer.ok()) SayLeftWithout(connection, name);
  if (output == "json") {
    Print(RenderJson({{"name", name}, {"folder", folder}, {"folder_removed", goes}}));
    return kExitOk;
  }
  Print(Str("removed ", name, "\n"));
  if (!answer.ok()) {
    std::fprintf(stderr, "it was not registered; its folder %s has been removed\n", folder.c_str());
  }
  if (!goes) std::fprintf(stderr, "%s stays: %s\n", folder.c_str(), why_it_stays.c_str());
  return kExitOk;
}

void AddDataRm(Verbs& verbs, Verb& data) {
  Verb verb = data.AddVerb("rm", "remove a dataset that no pending task needs; results stay");
  verb.AddExamples({"longrun data rm mybook"});
  const auto name = std::make_shared<std::string>();
  verb.AddArgument("NAME", *name, "name of the dataset").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, name, output] { return Remove(*name, *output, verbs.state); });
}

}  // namespace

void AddData(Verbs& verbs) {
  Verb data = verbs.AddVerb(
      "data", "datasets: import, prepare, synthesize, inspect, verify, register, ls, rm");
  data.RequireVerb();
  data.AddExamples({"longrun data import mybook --train a.txt b.txt --validation c.txt",
                    "longrun data inspect mybook"});
  // One line for each sub-verb.
  AddDataImport(verbs, data);
  AddDataPrepare(verbs, data);
  AddDataSynthesize(verbs, data);
  AddDataInspect(verbs, data);
  AddDataVerify(verbs, data);
  AddDataRegister(verbs, data);
  AddDataLs(verbs, data);
  AddDataRm(verbs, data);
  AddTrainTokenizer(data);
}

}  // namespace longrun::client
