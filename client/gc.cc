// longrun gc: makes room. Three owners each know their own: the coordinator (checkpoints and bytes of
// the artifact store), the worker (folders of attempts whose end is stored, cached checkpoints).
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "base/units.h"
#include "client/ask.h"
#include "client/output.h"
#include "client/render.h"
#include "client/verb.h"

namespace longrun {
namespace {

constexpr std::int64_t kWorkerMsMax = 600'000;

// What `longrun-worker gc` says: {"busy": bool, "items": [...]}.
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

int Gc(bool dry_run, const std::string& output, const std::string& state) {
  // Asked twice, the second one finds what is left.
  const Result<Json> coordinator = Ask(state, "CollectGarbage", {{"dry_run", dry_run}});
  if (!coordinator.ok()) return Report(coordinator.status());
  const Result<Json> worker = AskWorker(state, dry_run);
  if (!worker.ok()) return Report(worker.status());
  Json items = coordinator->at("items");
  items.insert(items.end(), worker->at("items").begin(), worker->at("items").end());
  std::int64_t n_bytes = 0;
  for (const Json& item : items) n_bytes += item.at("bytes").get<std::int64_t>();
  const auto later = coordinator->at("bytes_later").get<std::int64_t>();
  const bool busy = worker->at("busy").get<bool>();
  if (output == "json") {
    Print(RenderJson({{"dry_run", dry_run},
                      {"items", items},
                      {"bytes", n_bytes},
                      {"bytes_later", later},
                      {"worker_busy", busy}}));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  rows.reserve(items.size());
  for (const Json& item : items) {
    rows.push_back(
        {item.at("kind").get<std::string>(), item.at("name").get<std::string>().substr(0, 26),
         FormatBytes(item.at("bytes").get<std::int64_t>()), item.at("reason").get<std::string>()});
  }
  Print(RenderColumns({"kind", "name", "size", "why"},
                      {Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft}, rows));
  Print(Str(dry_run ? "would free " : "freed ", FormatBytes(n_bytes - (dry_run ? 0 : later)), " (",
            n_bytes - (dry_run ? 0 : later), " bytes) in ", rows.size(),
            rows.size() == 1 ? " thing" : " things", dry_run ? "; without --dry-run they go" : "",
            "\n"));
  if (later > 0) {
    const auto later_ms = coordinator->at("later_ms").get<std::int64_t>();
    std::fprintf(stderr, "%s were asked for lately: they %s within %s min\n",
                 FormatBytes(later).c_str(), dry_run ? "would go later," : "go by themselves",
                 Str((later_ms + 59'999) / 60'000).c_str());
  }
  if (busy) {
    std::fprintf(stderr,
                 "a worker runs on %s/worker: its folders and cache are left to it; stop it to "
                 "tidy them too\n",
                 state.c_str());
  }
  return kExitOk;
}

}  // namespace

void AddGc(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand(
      "gc", "remove checkpoints, caches and folders that nothing needs any more");
  AddExamples(*verb, {"longrun gc --dry-run", "longrun gc"});
  const auto dry_run = std::make_shared<bool>(false);
  verb->add_flag("--dry-run", *dry_run, "only list them, with their sizes");
  const auto output = AddOutput(*verb, {"table", "json"});
  verb->callback([&verbs, dry_run, output] {
    verbs.run = [&verbs, dry_run, output] { return Gc(*dry_run, *output, verbs.state); };
  });
}

}  // namespace longrun
