// longrun gc: makes room. Each owner removes its own data: the coordinator (checkpoints and bytes
// of the artifact store), the worker (folders of attempts whose end is stored, cached checkpoints).
#include <algorithm>
#include <cstdio>
#include <map>
#include <system_error>

#include "base/files.h"
#include "base/folder_size.h"
#include "base/process.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "model/data/manifest.h"

namespace longrun {
namespace {

constexpr std::int64_t kWorkerMsMax = 600'000;
constexpr std::int64_t kQueryMs = 30'000;
constexpr std::int64_t kModelsMax = 100'000;

// The answer of `longrun-worker gc`: {"busy": bool, "items": [...]}.
Result<Json> AskWorker(const std::string& state, bool dry_run) {
  const std::string folder = JoinPath(state, "worker");
  if (!IsFolder(folder)) return Json{{"busy", false}, {"items", Json::array()}};
  const TempFolder temporary;
  const std::string out = JoinPath(temporary.path(), "out");
  const std::string err = JoinPath(temporary.path(), "err");
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-worker"), "gc", "--folder",
                                   folder};
  if (dry_run) argv.emplace_back("--dry-run");
  ASSIGN_OR_RETURN(const int pid, Spawn({.argv = std::move(argv),
                                         .stdout_path = out,
                                         .stderr_path = err,
                                         .die_with_parent = true}));
  ASSIGN_OR_RETURN(const auto exited, WaitFor(pid, kWorkerMsMax));
  ASSIGN_OR_RETURN(const std::string said, ReadFile(err));
  if (!exited || exited->code != 0) {
    return Status(Code::kInternal, Str("cannot tidy ", folder, ": ", Trim(said)));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(out));
  return ParseJson(text);
}

// How an item is described to users, and why it may go or what stays.
struct KindRow {
  std::string_view kind;
  const char* what;
  const char* why;
};
constexpr KindRow kKinds[] = {
    {"task", "tasks of removed sweeps",
     "no sweep has them; their results, curves and checkpoints go with them"},
    {"log", "logs of removed tasks", "of attempts that the database knows no more"},
    {"checkpoint", "checkpoints of finished trainings",
     "no run continues from them; the final and the best one of each training stay"},
    {"bytes", "files of the artifact store", "no checkpoint and no result refers to them"},
    {"attempt", "the worker's folders of attempts", "the coordinator has stored how they ended"},
    {"cache", "the worker's copies of checkpoints", "they are fetched again when they are needed"},
};

std::int64_t BytesOf(const Json& item) { return item.at("bytes").get<std::int64_t>(); }

// A line for each kind of thing, with its number and size, and their sum.
std::string SummaryText(const Json& items) {
  std::vector<std::vector<std::string>> rows;
  std::int64_t n_bytes = 0;
  for (const KindRow& row : kKinds) {
    std::int64_t n_here = 0;
    std::int64_t bytes_here = 0;
    for (const Json& item : items) {
      if (item.at("kind") != row.kind) continue;
      n_here += 1;
      bytes_here += BytesOf(item);
    }
    n_bytes += bytes_here;
    if (n_here > 0) rows.push_back({row.what, Str(n_here), FormatBytes(bytes_here), row.why});
  }
  if (rows.empty()) return "";
  if (rows.size() > 1) rows.push_back({"in all", Str(items.size()), FormatBytes(n_bytes), ""});
  return RenderColumns({"what", "number", "size", "why"},
                       {Align::kLeft, Align::kRight, Align::kRight, Align::kLeft}, rows);
}

std::string ListText(const Json& items) {
  if (items.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  rows.reserve(items.size());
  for (const Json& item : items) {
    rows.push_back({item.at("kind").get<std::string>(),
                    item.at("name").get<std::string>().substr(0, 26), FormatBytes(BytesOf(item)),
                    item.at("reason").get<std::string>()});
  }
  return Str("\n", RenderColumns({"kind", "name", "size", "why"},
                                 {Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft}, rows));
}

// Bytes of the folders in `datasets` that hold a dataset, and of the remains of unfinished imports.
struct DatasetBytes {
  std::int64_t finished = 0;
  std::int64_t unfinished = 0;
};

DatasetBytes BytesOfDatasets(const std::string& state) {
  DatasetBytes bytes;
  const std::string folder = JoinPath(state, "datasets");
  const Result<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return bytes;
  for (const std::string& name : *names) {
    const std::string path = JoinPath(folder, name);
    // A leading dot: remade from a damaged dataset, which it has not replaced yet.
    const bool is_finished = HoldsManifest(path) && !name.starts_with('.');
    (is_finished ? bytes.finished : bytes.unfinished) += BytesBelow(path);
  }
  return bytes;
}

// Bytes in the artifact store of imported models that have a name, or a run that starts from one.
Result<std::int64_t> BytesOfModels(RetryingClient& client) {
  const Json question = {{"sql",
                          "SELECT digest FROM models UNION "
                          "SELECT init FROM runs WHERE init IS NOT NULL"},
                         {"timeout_ms", kQueryMs},
                         {"rows_max", kModelsMax}};
  ASSIGN_OR_RETURN(const Json answer, client.Call("Query", question, 2 * kQueryMs));
  std::map<std::string, std::int64_t> bytes_of;  // two models may share a file
  for (const Json& row : answer.at("rows")) {
    const Json request = {{"target", row.at(0)}, {"which", "last"}};
    ASSIGN_OR_RETURN(const Json model, client.Call("FindCheckpoint", request));
    for (const Json& file : model.at("files")) {
      bytes_of[file.at("sha256").get<std::string>()] = BytesOf(file);
    }
  }
  std::int64_t n_bytes = 0;
  for (const auto& [sha256, bytes] : bytes_of) n_bytes += bytes;
  return n_bytes;
}

// Bytes that still exist but will be removed, now or later.
struct Going {
  std::int64_t artifacts = 0;
  std::int64_t logs = 0;
};

// What `gc` never removes: {"what","bytes","why"} each. `models`: bytes of imported models.
Json KeptIn(const std::string& state, const Going& going, std::int64_t models) {
  const std::int64_t artifacts =
      BytesBelow(JoinPath(state, "artifacts")) - going.artifacts - models;
  const std::int64_t logs = BytesBelow(JoinPath(state, "logs")) - going.logs;
  const Result<std::int64_t> database = FileBytes(JoinPath(state, "longrun.db"));
  const DatasetBytes datasets = BytesOfDatasets(state);
  Json kept = Json::array({{{"what", "final and best checkpoints, sums by document"},
                            {"bytes", std::max<std::int64_t>(0, artifacts)},
                            {"why", "results depend on them, and new context lengths will"}},
                           {{"what", "imported models"},
                            {"bytes", models},
                            {"why", "a name has them, or a run: longrun models rm"}},
                           {{"what", "datasets"},
                            {"bytes", datasets.finished},
                            {"why", "you made them: longrun data rm"}},
                           {{"what", "logs"},
                            {"bytes", std::max<std::int64_t>(0, logs)},
                            {"why", "`longrun logs` shows them"}},
                           {{"what", "database"},
                            {"bytes", database.ok() ? *database : 0},
                            {"why", "every result and where it comes from"}}});
  if (datasets.unfinished > 0) {
    kept.push_back({{"what", "imports that did not finish"},
                    {"bytes", datasets.unfinished},
                    {"why", "the same import continues with them; longrun data rm removes them"}});
  }
  return kept;
}

std::string KeptText(const Json& kept) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(kept.size());
  for (const Json& one : kept) {
    rows.push_back({one.at("what").get<std::string>(), FormatBytes(BytesOf(one)),
                    one.at("why").get<std::string>()});
  }
  return Str("\n", RenderColumns({"stays", "size", "why"},
                                 {Align::kLeft, Align::kRight, Align::kLeft}, rows));
}

struct GcArguments {
  bool dry_run = false;
  bool list = false;
};

int Gc(const GcArguments& arguments, const std::string& output, const std::string& state) {
  const bool dry_run = arguments.dry_run;
  RetryingClient client(state);
  // Safe to repeat: a second call finds only what is left.
  const Result<Json> coordinator = client.Call("CollectGarbage", {{"dry_run", dry_run}});
  if (!coordinator.ok()) return client.ReportFailure(coordinator.status());
  const Result<Json> worker = AskWorker(state, dry_run);
  if (!worker.ok()) return Report(worker.status());
  Json items = coordinator->at("items");
  items.insert(items.end(), worker->at("items").begin(), worker->at("items").end());
  std::int64_t n_bytes = 0;
  for (const Json& item : items) n_bytes += BytesOf(item);
  const auto later = coordinator->at("bytes_later").get<std::int64_t>();
  const bool busy = worker->at("busy").get<bool>();
  Going going = {.artifacts = dry_run ? 0 : later};
  for (const Json& item : items) {
    const bool in_store =
        item.at("kind") == "checkpoint" || item.at("kind") == "bytes" || item.at("kind") == "task";
    if (dry_run && in_store) going.artifacts += BytesOf(item);
    if (dry_run && item.at("kind") == "log") going.logs += BytesOf(item);
  }
  const Result<std::int64_t> models = BytesOfModels(client);
  if (!models.ok()) return client.ReportFailure(models.status());
  const Json kept = KeptIn(state, going, *models);
  if (output == "json") {
    Print(RenderJson({{"dry_run", dry_run},
                      {"items", items},
                      {"bytes", n_bytes},
                      {"bytes_later", later},
                      {"kept", kept},
                      {"worker_busy", busy}}));
    return kExitOk;
  }
  const std::int64_t now = n_bytes - (dry_run ? 0 : later);
  const std::string rest =
      !dry_run && later > 0 ? Str(" now, ", FormatBytes(later), " more later") : "";
  Print(items.empty() ? "nothing to remove\n"
                      : Str(dry_run ? "would free " : "freed ", FormatBytes(now), rest, "\n\n",
                            SummaryText(items)));
  Print(Str(arguments.list ? ListText(items) : "", KeptText(kept)));
  if (dry_run && !items.empty()) {
    std::fprintf(stderr, "without --dry-run they are removed%s\n",
                 arguments.list ? "" : "; --list names each");
  }
  if (later > 0) {
    const auto later_ms = coordinator->at("later_ms").get<std::int64_t>();
    std::fprintf(stderr,
                 "%s were requested recently and are kept for up to %s min; then a running service "
                 "removes them, else the next `longrun gc`\n",
                 FormatBytes(later).c_str(), Str((later_ms + 59'999) / 60'000).c_str());
  }
  if (busy) {
    std::fprintf(stderr,
                 "a worker is running on %s/worker, so its folders and cache are kept; stop it to "
                 "clean them up too\n",
                 state.c_str());
  }
  return kExitOk;
}

}  // namespace

void AddGc(Verbs& verbs) {
  Verb verb =
      verbs.AddVerb("gc", "remove checkpoints, caches and folders that nothing needs any more");
  verb.AddExamples({"longrun gc --dry-run", "longrun gc --dry-run --list", "longrun gc"});
  const auto arguments = std::make_shared<GcArguments>();
  verb.AddFlag("--dry-run", arguments->dry_run, "only list what would be removed, with its size");
  verb.AddFlag("--list", arguments->list, "name each thing, not only its kind");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, arguments, output] { return Gc(*arguments, *output, verbs.state); });
}

}  // namespace longrun
