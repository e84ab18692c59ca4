#include "model/net/checkpoint.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/net/tensor_file.h"

namespace longrun {
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kManifest = "manifest.json";
constexpr std::size_t kJsonBytesMax = std::size_t{1} << 20;

Result<CheckpointFile> WriteText(const std::string& folder, const char* name,
                                 const std::string& text) {
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, name), text));
  return CheckpointFile{
      .name = name, .sha256 = Sha256Hex(text), .n_bytes = static_cast<std::int64_t>(text.size())};
}

Result<CheckpointFile> WriteTensorFile(const std::string& folder, const char* name,
                                       const std::map<std::string, at::Tensor>& tensors) {
  ASSIGN_OR_RETURN(const WrittenFile written,
                   WriteTensors(JoinPath(folder, name), tensors, {{"format", "pt"}}));
  return CheckpointFile{.name = name, .sha256 = written.sha256, .n_bytes = written.n_bytes};
}

Result<CheckpointSummary> WriteInto(const std::string& folder, const CheckpointContent& content) {
  CheckpointSummary summary;
  ASSIGN_OR_RETURN(CheckpointFile config,
                   WriteText(folder, kConfig, CanonicalJson(ModelConfigJson(content.config))));
  summary.files.push_back(std::move(config));
  ASSIGN_OR_RETURN(CheckpointFile model, WriteTensorFile(folder, kModel, content.parameters));
  summary.files.push_back(std::move(model));
  Failpoint("trainer_mid_checkpoint");
  ASSIGN_OR_RETURN(CheckpointFile optimizer,
                   WriteTensorFile(folder, kOptimizer, content.optimizer));
  summary.files.push_back(std::move(optimizer));
  ASSIGN_OR_RETURN(CheckpointFile state, WriteText(folder, kState, CanonicalJson(content.state)));
  summary.files.push_back(std::move(state));

  Json files = Json::array();
  for (const CheckpointFile& file : summary.files) {
    files.push_back({{"name", file.name}, {"sha256", file.sha256}, {"bytes", file.n_bytes}});
  }
  const Json manifest = {{"format", 1}, {"files", std::move(files)}};
  ASSIGN_OR_RETURN(CheckpointFile last, WriteText(folder, kManifest, CanonicalJson(manifest)));
  summary.sha256 = last.sha256;
  summary.files.push_back(std::move(last));
  RETURN_IF_ERROR(SyncFolder(folder));
  return summary;
}

Status Damaged(std::string_view message) { return Status(Code::kDataLoss, message); }

Result<std::vector<CheckpointFile>> ParseManifest(const std::string& text) {
  Result<Json> json = ParseJson(text);
  if (!json) return Damaged(json.status().message());
  if (!json->is_object() || json->value("format", Json()) != 1 || !json->contains("files") ||
      !(*json)["files"].is_array()) {
    return Damaged("no manifest of format 1");
  }
  std::vector<CheckpointFile> files;
  for (const Json& entry : (*json)["files"]) {
    CheckpointFile file;
    const Result<std::string> name = GetString(entry, "name");
    const Result<std::string> sha256 = GetString(entry, "sha256");
    const Result<std::int64_t> n_bytes = GetInt(entry, "bytes");
    if (!name || !sha256 || !n_bytes || !IsSafeName(*name) || !IsSha256Hex(*sha256)) {
      return Damaged(Str("a broken entry: ", entry.dump()));
    }
    files.push_back({.name = *name, .sha256 = *sha256, .n_bytes = *n_bytes});
  }
  return files;
}

}  // namespace

Result<CheckpointSummary> WriteCheckpoint(const std::string& folder,
                                          const CheckpointContent& content) {
  const std::string parent = FolderOf(folder);
  const std::string temporary = JoinPath(parent, Str(".", BaseName(folder), ".tmp"));
  RETURN_IF_ERROR(MakeFolders(parent));
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeFolders(temporary));
  Result<CheckpointSummary> summary = WriteInto(temporary, content);
  Status status = summary.status();
  if (status.ok()) status = RenameSync(temporary, folder);
  if (!status.ok()) {
    // The first error is the one to tell; the next attempt removes what cannot be removed now.
    static_cast<void>(RemoveAll(temporary));
    return std::move(status).In(Str("writing checkpoint ", folder));
  }
  return summary;
}

Result<CheckpointSummary> VerifyCheckpointFolder(const std::string& folder,
                                                 const std::string& sha256) {
  const std::string path = JoinPath(folder, kManifest);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonBytesMax));
  CheckpointSummary summary;
  summary.sha256 = Sha256Hex(text);
  if (!sha256.empty() && summary.sha256 != sha256) {
    return Damaged(Str(path, ": its SHA-256 is ", summary.sha256, ", expected ", sha256));
  }
  Result<std::vector<CheckpointFile>> files = ParseManifest(text);
  if (!files) return std::move(files).status().In(path);
  summary.files = std::move(files).value();
  for (const char* name : {kConfig, kModel, kOptimizer, kState}) {
    if (std::none_of(summary.files.begin(), summary.files.end(),
                     [&](const CheckpointFile& file) { return file.name == name; })) {
      return Damaged(Str(path, ": ", name, " is not listed"));
    }
  }
  for (const CheckpointFile& file : summary.files) {
    const std::string file_path = JoinPath(folder, file.name);
    if (!PathExists(file_path))
      return Damaged(Str(file_path, " is missing; choose another checkpoint"));
    ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(file_path));
    if (n_bytes != file.n_bytes) {
      return Damaged(Str(file_path, " has ", n_bytes, " bytes, its manifest says ", file.n_bytes,
                         ": it is truncated or damaged; choose another checkpoint"));
    }
    ASSIGN_OR_RETURN(const std::string found, Sha256OfFile(file_path));
    if (found != file.sha256) {
      return Damaged(Str(file_path, ": its SHA-256 is ", found, ", its manifest says ", file.sha256,
                         ": it is damaged; choose another checkpoint"));
    }
  }
  summary.files.push_back({.name = kManifest,
                           .sha256 = summary.sha256,
                           .n_bytes = static_cast<std::int64_t>(text.size())});
  return summary;
}

Result<LoadedCheckpoint> LoadCheckpoint(const std::string& folder, const std::string& sha256) {
  RETURN_IF_ERROR(VerifyCheckpointFolder(folder, sha256).status());
  LoadedCheckpoint loaded;
  ASSIGN_OR_RETURN(loaded.model, LoadModelFolder(folder));
  ASSIGN_OR_RETURN(const SafetensorsFile optimizer,
                   SafetensorsFile::Open(JoinPath(folder, kOptimizer)));
  for (const auto& [name, stored] : optimizer.tensors()) {
    loaded.optimizer[name] = ToTensor(stored);
  }
  ASSIGN_OR_RETURN(const std::string state, ReadFile(JoinPath(folder, kState), kJsonBytesMax));
  ASSIGN_OR_RETURN(loaded.state, ParseJson(state));
  return loaded;
}

}  // namespace longrun
