// See kept_files.h.
#include "coordinator/rpc/kept_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"

namespace longrun::coordinator {
namespace {

struct NamedFile {
  const FileParam* param;
  Json params;  // of the evaluation that names it
};

// By id. The runs of a sweep mostly name the same few.
std::map<std::string, NamedFile> NamedBy(const Sweep& sweep) {
  std::map<std::string, NamedFile> named;
  for (const PlannedRun& run : sweep.runs) {
    for (const PlannedEvaluation& planned : run.evaluations) {
      const auto evaluation = planned.evaluation.begin();
      const Result<const Evaluation*> known = FindEvaluation(evaluation.key());
      if (!known.ok()) continue;
      for (const FileParam& param : (*known)->files) {
        const auto value = evaluation.value().find(param.name);
        if (value == evaluation.value().end() || !value->is_string()) continue;
        const auto& id = value->get_ref<const std::string&>();
        if (named.contains(id)) continue;
        named.emplace(id, NamedFile{.param = &param, .params = evaluation.value()});
      }
    }
  }
  return named;
}

// A client on this machine puts a file there, and submits its sweep within seconds.
constexpr std::int64_t kYoungMs = 600'000;

std::string FolderOfFiles(const CoordinatorParts& parts) {
  return JoinPath(parts.core.store().folder(), "files");
}

Status Keep(CoordinatorParts& parts, const std::string& id, const NamedFile& named,
            const std::string& folder) {
  const std::string digest = BaseName(KeptFilePath(id, folder));
  const Result<ArtifactStore::Found> found = parts.artifacts.Find(digest);
  if (!found.ok()) {
    return Status(Code::kNotFound, Str("the coordinator has no file with SHA-256 ", digest,
                                       ": give the path of the file instead of its SHA-256"));
  }
  ASSIGN_OR_RETURN(std::string bytes, ReadFile(found->path, kInputFileBytesMax));
  if (Sha256Hex(bytes) != digest) {
    return Status(Code::kDataLoss, Str("the stored bytes of file ", id,
                                       " are damaged: give the path of the file to send it again"));
  }
  RETURN_IF_ERROR(named.param->check(ShortInputFileId(id), bytes, named.params));
  RETURN_IF_ERROR(KeepInputFile({.id = id, .bytes = std::move(bytes)}, folder));
  parts.core.NoteUnreferenced({digest});
  return Status();
}

std::int64_t BytesOf(const CoordinatorParts& parts, const std::string& id,
                     const std::string& folder) {
  const std::string path = KeptFilePath(id, folder);
  const Result<std::int64_t> kept = FileBytes(path);
  if (kept.ok()) return *kept;
  const Result<ArtifactStore::Found> sent = parts.artifacts.Find(BaseName(path));
  return sent.ok() ? sent->n_bytes : 0;
}

Status CheckOwner(const Call& call, const Sweep& sweep, const std::string& owner,
                  const std::map<std::string, NamedFile>& named, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<EvaluationRow> rows, call.reader.EvaluationsWithFiles(owner));
  std::set<std::string> before;
  for (const EvaluationRow& row : rows) before.merge(InputFileIdsIn(row.evaluation_json));
  std::int64_t n_before = 0, n_new = 0;
  for (const std::string& id : before) n_before += BytesOf(call.parts, id, folder);
  for (const auto& [id, file] : named) {
    if (!before.contains(id)) n_new += BytesOf(call.parts, id, folder);
  }
  const std::int64_t limit = call.parts.kept_file_bytes_max;
  if (n_new == 0 || n_before + n_new <= limit) return Status();
  return Status(
      Code::kResourceExhausted,
      Str("the files that sweep \"", sweep.name, "\" names have ", n_new,
          " bytes, in addition to the ", n_before, " bytes that tasks of ", owner, " read; ", limit,
          " are kept for one owner (--kept-file-bytes of longrun-coordinator): name smaller "
          "files, or remove sweeps that have ended (`longrun rm`), and have an operator collect "
          "what they left (`longrun gc`)"));
}

}  // namespace

NewlyKept::~NewlyKept() {
  for (const std::string& path : paths_) (void)RemoveAll(path);
}

Status KeepNamedFiles(const Call& call, const Sweep& sweep, const std::string& owner,
                      NewlyKept& kept) {
  const std::string folder = FolderOfFiles(call.parts);
  const std::map<std::string, NamedFile> named = NamedBy(sweep);
  if (!owner.empty() && !named.empty()) {
    RETURN_IF_ERROR(CheckOwner(call, sweep, owner, named, folder));
  }
  for (const auto& [id, file] : named) {
    const std::string path = KeptFilePath(id, folder);
    // Made young: `gc` must not remove it before the sweep is stored.
    if (utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0) continue;
    RETURN_IF_ERROR(Keep(call.parts, id, file, folder));
    kept.Add(path);
  }
  return Status();
}

Result<std::vector<UnneededFile>> UnneededFiles(const CoordinatorParts& parts, StoreReader& reader,
                                                const std::set<std::string>& left) {
  std::vector<UnneededFile> unneeded;
  const std::string folder = FolderOfFiles(parts);
  if (!PathExists(folder)) return unneeded;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  if (names.empty()) return unneeded;
  ASSIGN_OR_RETURN(const std::vector<EvaluationRow> rows, reader.EvaluationsWithFiles(""));
  std::set<std::string> needed;
  for (const EvaluationRow& row : rows) {
    if (!left.contains(row.task)) needed.merge(InputFileIdsIn(row.evaluation_json));
  }
  for (const std::string& name : names) {
    const std::string path = JoinPath(folder, name);
    struct stat info = {};
    if (!IsSha256Hex(name) || needed.contains(InputFileIdOf(path))) continue;
    if (stat(path.c_str(), &info) != 0) continue;
    const std::int64_t changed_ms =
        std::int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000;
    if (parts.artifacts.NowMs() - changed_ms < kYoungMs) continue;
    unneeded.push_back({.sha256 = name, .path = path, .n_bytes = info.st_size});
  }
  return unneeded;
}

}  // namespace longrun::coordinator
