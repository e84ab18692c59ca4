#include "client/doctor/deep.h"

#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "client/doctor/checks.h"
#include "client/wire/coordinator_program.h"
#include "model/data/dataset.h"
#include "model/hugging_face/manifest.h"
#include "sweeps/event.h"
#include "sweeps/worker_folder.h"
#include "sweeps/worker_id.h"

namespace longrun::client {
namespace {

constexpr std::size_t kRecordsAtOnce = 1000;
constexpr std::size_t kBytesAtOnce = std::size_t{1} << 20;
constexpr const char* kAttemptRemedy =
    "you need not do anything: the coordinator keeps the records that it has stored; if the "
    "attempt still needs this file, the attempt ends, and its task continues from an earlier "
    "checkpoint";

class Looker {
 public:
  Looker(std::string state, bool repairs) : state_(std::move(state)), repairs_(repairs) {}

  Result<DeepFindings> Look() {
    RETURN_IF_ERROR(AskCoordinator());
    const std::string worker = OwnWorkerFolder(state_);
    LookAtWorkerId(JoinPath(worker, "worker_id"));
    LookAtFolderId(JoinPath(worker, "folder_id"));
    LookAtAttempts(AttemptsFolder(worker));
    LookAtCache(JoinPath(worker, "cache"));
    return std::move(found_);
  }

 private:
  void Add(std::string object, std::string remedy) {
    found_.damaged.push_back({.object = std::move(object), .remedy = std::move(remedy)});
  }

  // Its lines: {"repaired"}, {"object","remedy"}, {"dataset","folder"}, {"rows","files"}.
  Status AskCoordinator() {
    ASSIGN_OR_RETURN(const ProgramAnswer answer,
                     RunCoordinatorProgram({repairs_ ? "--repair" : "--check", "--state", state_}));
    bool is_whole = false;
    for (const Json& json : answer.lines) {
      if (json.contains("repaired"))
        found_.repaired.push_back(json.at("repaired").get<std::string>());
      if (json.contains("object"))
        Add(json.at("object").get<std::string>(), json.at("remedy").get<std::string>());
      if (json.contains("dataset"))
        LookAtDataset(json.at("dataset").get<std::string>(), json.at("folder").get<std::string>());
      if (json.contains("rows")) {
        is_whole = true;
        found_.n_rows += json.at("rows").get<std::int64_t>();
        found_.n_files += json.at("files").get<std::int64_t>();
      }
    }
    const int code = answer.exit_code;
    if (is_whole && (code == 0 || code == kExitDamaged)) return Status();
    const std::string& why = answer.complaint;
    if (code < 0) {  // which says nothing about the database
      return Status(
          Code::kUnavailable,
          Str("longrun-coordinator did not finish the check: ", why,
              "; try again (if the system ended it for lack of memory, free some first)"));
    }
    if (code == kExitConfiguration) {
      return Status(Code::kNotFound, Str("nothing is stored here yet: ", why));
    }
    if (code == kExitNoPermission) return Status(Code::kPermissionDenied, why);
    if (code == kExitTaken) return Status(Code::kUnavailable, why);
    if (code == kExitStorage) return Status(Code::kResourceExhausted, why);
    if (code == kExitSoftware) return Status(Code::kFailedPrecondition, why);
    return Status(Code::kDataLoss, Str("the database cannot be read: ", why,
                                       "; restore a backup (docs/operating.md)"));
  }

  void LookAtDataset(const std::string& name, const std::string& folder) {
    const Result<Dataset> dataset = Dataset::Open(folder);
    const Status holds = dataset.ok() ? dataset->Verify() : dataset.status();
    found_.n_files += 1;
    if (holds.ok()) return;
    Add(Str("dataset \"", name, "\": ", holds.message()),
        holds.code() == Code::kPermissionDenied
            ? Str("give this user the right to read ", folder)
            : Str("import it again from its texts, or put ", folder, " back from a copy"));
  }

  void LookAtWorkerId(const std::string& path) {
    if (!PathExists(path)) return;
    found_.n_files += 1;
    const Status holds = ReadWorkerId(path).status();
    if (!holds.ok()) Add(holds.message(), kNoWorkerUntilThen);
  }

  void LookAtFolderId(const std::string& path) {
    if (!PathExists(path)) return;
    found_.n_files += 1;
    const Status holds = ReadFolderId(path).status();
    if (holds.ok()) return;
    Add(holds.message(), holds.code() == Code::kDataLoss
                             ? "nothing to do: the worker replaces it when it starts"
                             : kNoWorkerUntilThen);
  }

  // Journals and checkpoints of the attempts that are kept here.
  void LookAtAttempts(const std::string& attempts) {
    if (!PathExists(attempts)) return;
    const Result<std::vector<std::string>> ids = ListFolder(attempts);
    for (const std::string& id : ids.ok() ? *ids : std::vector<std::string>()) {
      const std::string folder = JoinPath(attempts, id);
      LookAtJournal(JoinPath(folder, kJournalName));
      const std::string checkpoints = CheckpointsFolder(folder);
      const Result<std::vector<std::string>> steps =
          PathExists(checkpoints) ? ListFolder(checkpoints) : std::vector<std::string>();
      for (const std::string& step : steps.ok() ? *steps : std::vector<std::string>()) {
        if (!step.starts_with('.')) LookAtFolder(JoinPath(checkpoints, step), "", kAttemptRemedy);
      }
    }
  }

  void LookAtJournal(const std::string& path) {
    if (!PathExists(path)) return;
    found_.n_files += 1;
    JournalReader reader(path);
    while (true) {
      const auto lines = reader.Next(kRecordsAtOnce, kBytesAtOnce);
      if (!lines.ok()) return Add(lines.status().message(), kAttemptRemedy);
      if (lines->empty()) return;
    }
  }

  static std::vector<std::string> DigestsIn(const std::string& folder) {
    const Result<std::vector<std::string>> names =
        PathExists(folder) ? ListFolder(folder) : std::vector<std::string>();
    std::vector<std::string> digests;
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
      if (IsSha256Hex(name)) digests.push_back(name);
    }
    return digests;
  }

  static std::string FetchedAgain(const std::string& path) {
    return Str("remove it (`rm -r ", path, "`): the worker fetches it again");
  }

  // What was fetched: checkpoints, datasets, and files of evaluations, each named by its digest.
  void LookAtCache(const std::string& cache) {
    for (const std::string& digest : DigestsIn(cache)) {
      const std::string path = JoinPath(cache, digest);
      LookAtFolder(path, digest, FetchedAgain(path));
    }
    const std::string datasets = JoinPath(cache, "datasets");
    for (const std::string& digest : DigestsIn(datasets)) {
      const std::string path = JoinPath(datasets, digest);
      const Result<Dataset> dataset = Dataset::Open(path);
      AddCached(path, dataset.ok() ? dataset->Verify() : dataset.status());
    }
    const std::string files = JoinPath(cache, "files");
    for (const std::string& digest : DigestsIn(files)) {
      const std::string path = JoinPath(files, digest);
      const Result<std::string> found = Sha256OfFile(path);
      AddCached(path, !found.ok() ? found.status()
                      : *found != digest
                          ? Status(Code::kDataLoss, Str(path, " has the SHA-256 ", *found))
                          : Status());
    }
  }

  void AddCached(const std::string& path, const Status& holds) {
    if (!PathExists(path)) return;  // removed meanwhile
    found_.n_files += 1;
    if (!holds.ok()) Add(holds.message(), FetchedAgain(path));
  }

  void LookAtFolder(const std::string& folder, const std::string& sha256,
                    const std::string& remedy) {
    const Result<VerifiedFolder> holds = VerifyFolder(folder, sha256);
    if (!PathExists(folder)) return;  // removed meanwhile
    // A manifest of another form is its writer's; it is the one that was fetched.
    const Result<std::string> manifest = ReadFile(JoinPath(folder, kFolderManifestName));
    const bool is_fetched = manifest.ok() && Sha256Hex(*manifest) == sha256;
    if (is_fetched && !ParseFolderManifest(*manifest).ok()) return;
    found_.n_files += holds.ok() ? static_cast<std::int64_t>(holds->files.size()) : 1;
    if (!holds.ok()) Add(holds.status().message(), remedy);
  }

  const std::string state_;
  const bool repairs_;
  DeepFindings found_;
};

}  // namespace

Result<DeepFindings> LookDeep(const std::string& state, bool repairs) {
  return Looker(state, repairs).Look();
}

}  // namespace longrun::client
