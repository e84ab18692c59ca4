// longrun gc: makes room. Each owner removes its own data: the coordinator (checkpoints and bytes
// of the artifact store), the worker (folders of attempts whose end is stored, the cache).
#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "base/files.h"
#include "base/folder_size.h"
#include "base/process.h"
#include "base/run_child.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/waiting_line.h"
#include "model/data/manifest.h"
#include "model/data/prepare.h"
#include "sweeps/worker_folder.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kWorkerMsMax = 600'000;
constexpr std::int64_t kQueryMs = 30'000;
constexpr std::int64_t kModelsMax = 100'000;

using Items = std::vector<v1::GarbageItem>;

// What `longrun-worker gc` removed, or would remove.
struct WorkerGarbage {
  bool is_busy = false;  // a worker runs: nothing was looked at
  Items items = {};
};

WorkerGarbage ReadWorkerGarbage(const Json& answer) {
  WorkerGarbage garbage{.is_busy = answer.at("busy").get<bool>()};
  for (const Json& json : answer.at("items")) {
    v1::GarbageItem& item = garbage.items.emplace_back();
    item.set_kind(json.at("kind").get<std::string>());
    item.set_name(json.at("name").get<std::string>());
    item.set_reason(json.at("reason").get<std::string>());
    item.set_bytes(json.at("bytes").get<std::int64_t>());
  }
  return garbage;
}

Result<WorkerGarbage> AskWorker(const std::string& state, bool dry_run) {
  const std::string folder = OwnWorkerFolder(state);
  if (!IsFolder(folder)) return WorkerGarbage();
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-worker"), "gc", "--folder",
                                   folder};
  if (dry_run) argv.emplace_back("--dry-run");
  ASSIGN_OR_RETURN(const ChildRun run, RunChild({.argv = std::move(argv), .die_with_parent = true},
                                                {.timeout_ms = kWorkerMsMax}));
  if (!run.ok()) {
    const std::string why =
        run.is_late ? Str("`longrun-worker gc` has not ended within ", kWorkerMsMax / 60'000,
                          " min: try again when the disk is less busy")
                    : run.Complaint();
    return Status(Code::kInternal, Str("cannot tidy ", folder, ": ", why));
  }
  ASSIGN_OR_RETURN(const Json answer, ParseJson(run.printed));
  return ReadWorkerGarbage(answer);
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
    {"file", "files that sweeps named", "no task reads them any more"},
    {"log", "logs of removed tasks", "their attempts are no longer in the database"},
    {"checkpoint", "checkpoints of finished training",
     "no run continues from them; the final and the best checkpoint of each run stay"},
    {"bytes", "files of the artifact store", "no checkpoint and no result refers to them"},
    {"attempt", "the worker's folders of attempts", "the coordinator has stored how they ended"},
    {"cache", "the worker's copies of checkpoints, datasets and files",
     "they are fetched again when they are needed"},
};

// A line for each kind of thing, with its number and size, and their sum.
std::string SummaryText(const Items& items) {
  std::vector<std::vector<std::string>> rows;
  std::int64_t n_bytes = 0;
  for (const KindRow& row : kKinds) {
    std::int64_t n_here = 0;
    std::int64_t bytes_here = 0;
    for (const v1::GarbageItem& item : items) {
      if (item.kind() != row.kind) continue;
      n_here += 1;
      bytes_here += item.bytes();
    }
    n_bytes += bytes_here;
    if (n_here > 0) rows.push_back({row.what, Str(n_here), FormatBytes(bytes_here), row.why});
  }
  if (rows.empty()) return "";
  if (rows.size() > 1) rows.push_back({"in all", Str(items.size()), FormatBytes(n_bytes), ""});
  return RenderColumns({"what", "number", "size", "why"},
                       {Align::kLeft, Align::kRight, Align::kRight, Align::kLeft}, rows);
}

std::string ListText(const Items& items) {
  if (items.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  rows.reserve(items.size());
  for (const v1::GarbageItem& item : items) {
    rows.push_back(
        {item.kind(), item.name().substr(0, 26), FormatBytes(item.bytes()), item.reason()});
  }
  return Str("\n", RenderColumns({"kind", "name", "size", "why"},
                                 {Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft}, rows));
}

// Bytes of the folders in `datasets` that hold a dataset, with a name or without one, of the
// remains of unfinished imports, and of what no import made.
struct DatasetBytes {
  std::int64_t finished = 0;
  std::int64_t nameless = 0;
  std::int64_t unfinished = 0;
  std::int64_t users_own = 0;
};

// The names and the folders of the registered datasets.
Result<std::set<std::string>> RegisteredDatasets(RetryingClient& client) {
  ASSIGN_OR_RETURN(const v1::ListDatasetsResponse known, client.ListDatasets());
  std::set<std::string> registered;
  for (const v1::DatasetInfo& dataset : known.datasets()) {
    registered.insert(dataset.name());  // the folder may have moved with the state folder
    registered.insert(dataset.folder());
  }
  return registered;
}

DatasetBytes BytesOfDatasets(const std::string& state, const std::set<std::string>& registered) {
  DatasetBytes bytes;
  const std::string folder = JoinPath(state, "datasets");
  const Result<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return bytes;
  for (const std::string& name : *names) {
    const std::string path = JoinPath(folder, name);
    // A leading dot: it is still being received, or remade from a damaged dataset.
    const bool is_under_way = name.starts_with('.');
    const bool is_finished = HoldsManifest(path) && !is_under_way;
    const bool is_named = registered.contains(name) || registered.contains(path);
    std::int64_t& sum = is_finished && is_named             ? bytes.finished
                        : is_finished                       ? bytes.nameless
                        : !is_under_way && IsUsersOwn(path) ? bytes.users_own
                                                            : bytes.unfinished;
    sum += BytesBelow(path);
  }
  return bytes;
}

// Bytes in the artifact store of imported models that have a name, or a run that starts from one.
Result<std::int64_t> BytesOfModels(RetryingClient& client) {
  ASSIGN_OR_RETURN(
      const v1::QueryResponse answer,
      client.Query("SELECT digest FROM models UNION SELECT init FROM runs WHERE init IS NOT NULL",
                   {.timeout_ms = kQueryMs, .rows_max = kModelsMax}));
  const Json digests = JsonIn(answer.rows_json());
  std::map<std::string, std::int64_t> bytes_of;  // two models may share a file
  for (const Json& row : digests) {
    ASSIGN_OR_RETURN(const v1::FindCheckpointResponse model,
                     client.FindCheckpoint(row.at(0).get<std::string>(), "last"));
    for (const v1::CheckpointFileInfo& file : model.files()) bytes_of[file.sha256()] = file.bytes();
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

// What `gc` never removes, and why.
struct Kept {
  const char* what;
  std::int64_t n_bytes;
  const char* why;
};

// `models`: bytes of imported models.
std::vector<Kept> KeptIn(const std::string& state, const Going& going, std::int64_t models,
                         const std::set<std::string>& registered) {
  const std::int64_t artifacts =
      BytesBelow(JoinPath(state, "artifacts")) - going.artifacts - models;
  const std::int64_t logs = BytesBelow(JoinPath(state, "logs")) - going.logs;
  const Result<std::int64_t> database = FileBytes(JoinPath(state, "longrun.db"));
  const DatasetBytes datasets = BytesOfDatasets(state, registered);
  std::vector<Kept> kept = {
      {"final and best checkpoints, sums by document", std::max<std::int64_t>(0, artifacts),
       "results depend on them, and evaluations at new context lengths need them"},
      {"imported models", models,
       "a name or a run refers to them; `longrun models rm` removes a name"},
      {"datasets", datasets.finished, "you made them; `longrun data rm` removes one"},
      {"logs", std::max<std::int64_t>(0, logs), "`longrun logs` shows them"},
      {"database", database.ok() ? *database : 0, "every result and where it comes from"}};
  if (datasets.nameless > 0) {
    kept.push_back({"datasets that were not registered", datasets.nameless,
                    "the same import registers them; `longrun data rm` removes them"});
  }
  if (datasets.unfinished > 0) {
    kept.push_back({"imports that did not finish", datasets.unfinished,
                    "the same import continues with them; `longrun data rm` removes them"});
  }
  if (datasets.users_own > 0) {
    kept.push_back({"other files in datasets/", datasets.users_own,
                    "no import made them; if they are not needed, remove them yourself"});
  }
  return kept;
}

std::string KeptText(const std::vector<Kept>& kept) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(kept.size());
  for (const Kept& one : kept) rows.push_back({one.what, FormatBytes(one.n_bytes), one.why});
  return Str("\n", RenderColumns({"stays", "size", "why"},
                                 {Align::kLeft, Align::kRight, Align::kLeft}, rows));
}

Json KeptJson(const std::vector<Kept>& kept) {
  Json list = Json::array();
  for (const Kept& one : kept) {
    list.push_back({{"what", one.what}, {"bytes", one.n_bytes}, {"why", one.why}});
  }
  return list;
}

// The coordinator's items first; only those may be kept until later.
Json ItemsJson(const v1::CollectGarbageResponse& coordinator, const WorkerGarbage& worker) {
  Json list = ToJson(coordinator.items());
  for (const v1::GarbageItem& item : worker.items) {
    list.push_back({{"kind", item.kind()},
                    {"name", item.name()},
                    {"reason", item.reason()},
                    {"bytes", item.bytes()}});
  }
  return list;
}

struct GcArguments {
  bool dry_run = false;
  bool list = false;
};

int Gc(const GcArguments& arguments, const std::string& output, const std::string& state) {
  const bool dry_run = arguments.dry_run;
  RetryingClient client(state);
  std::optional<WaitingLine> waiting(dry_run ? "looking for what is no longer needed"
                                             : "removing what is no longer needed");
  // Safe to repeat: a second call finds only what is left.
  const Result<v1::CollectGarbageResponse> coordinator = client.CollectGarbage(dry_run);
  if (!coordinator.ok()) return client.ReportFailure(coordinator.status());
  const Result<WorkerGarbage> worker = AskWorker(state, dry_run);
  if (!worker.ok()) return Report(worker.status());
  Items items(coordinator->items().begin(), coordinator->items().end());
  items.insert(items.end(), worker->items.begin(), worker->items.end());
  std::int64_t n_bytes = 0;
  for (const v1::GarbageItem& item : items) n_bytes += item.bytes();
  const std::int64_t later = coordinator->bytes_later();
  const bool busy = worker->is_busy;
  Going going = {.artifacts = dry_run ? 0 : later};
  for (const v1::GarbageItem& item : items) {
    const bool in_store =
        item.kind() == "checkpoint" || item.kind() == "bytes" || item.kind() == "task";
    if (dry_run && in_store) going.artifacts += item.bytes();
    if (dry_run && item.kind() == "log") going.logs += item.bytes();
  }
  const Result<std::int64_t> models = BytesOfModels(client);
  if (!models.ok()) return client.ReportFailure(models.status());
  const Result<std::set<std::string>> registered = RegisteredDatasets(client);
  if (!registered.ok()) return client.ReportFailure(registered.status());
  const std::vector<Kept> kept = KeptIn(state, going, *models, *registered);
  waiting.reset();
  if (output == "json") {
    Print(RenderJson({{"dry_run", dry_run},
                      {"items", ItemsJson(*coordinator, *worker)},
                      {"bytes", n_bytes},
                      {"bytes_later", later},
                      {"kept", KeptJson(kept)},
                      {"worker_busy", busy}}));
    return kExitOk;
  }
  const std::int64_t now = n_bytes - later;
  const std::string what = later == 0 ? FormatBytes(now)
                           : now == 0
                               ? Str(FormatBytes(later), " later, nothing now")
                               : Str(FormatBytes(now), " now, ", FormatBytes(later), " more later");
  Print(items.empty() ? "nothing to remove\n"
                      : Str(dry_run ? "would free " : "freed ", what, "\n\n", SummaryText(items)));
  PrintText(Str(arguments.list ? ListText(items) : "", KeptText(kept)));
  if (dry_run && !items.empty()) {
    SayLine(Str("`longrun gc` without --dry-run removes ",
                later > 0 ? "these, some of them later" : "all of this",
                arguments.list ? "" : "; --list shows each item"));
  }
  if (later > 0) {
    const std::int64_t later_ms = coordinator->later_ms();
    SayLine(Str(FormatBytes(later), " were requested recently and are kept for up to ",
                (later_ms + 59'999) / 60'000,
                " min; a running service then removes them; if none runs, the next `longrun gc` "
                "does"));
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
      verbs.AddVerb("gc", "remove checkpoints, caches and folders that are no longer needed");
  verb.AddExamples({"longrun gc --dry-run", "longrun gc --dry-run --list", "longrun gc"});
  const auto arguments = std::make_shared<GcArguments>();
  verb.AddFlag("--dry-run", arguments->dry_run, "only list what would be removed, with its size");
  verb.AddFlag("--list", arguments->list, "list each item, not only the sum of each kind");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, arguments, output] { return Gc(*arguments, *output, verbs.state); });
}

}  // namespace longrun::client
