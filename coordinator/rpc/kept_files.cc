// See kept_files.h.
#include "coordinator/rpc/kept_files.h"

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

}  // namespace

Status KeepNamedFiles(CoordinatorParts& parts, const Sweep& sweep) {
  const std::string folder = JoinPath(parts.core.store().folder(), "files");
  for (const auto& [id, named] : NamedBy(sweep)) {
    if (PathExists(KeptFilePath(id, folder))) continue;
    RETURN_IF_ERROR(Keep(parts, id, named, folder));
  }
  return Status();
}

}  // namespace longrun::coordinator
