#include "model/net/checkpoint.h"

#include <algorithm>
#include <utility>

#include "base/absent.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/hugging_face/config_file.h"
#include "model/net/tensor_file.h"

namespace longrun {
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";
constexpr std::size_t kJsonBytesMax = std::size_t{1} << 20;

Result<FolderFile> WriteText(const std::string& folder, const char* name, const std::string& text) {
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, name), text));
  return FolderFile{
      .name = name, .sha256 = Sha256Hex(text), .n_bytes = static_cast<std::int64_t>(text.size())};
}

Result<FolderFile> WriteTensorFile(const std::string& folder, const char* name,
                                   const std::map<std::string, at::Tensor>& tensors) {
  ASSIGN_OR_RETURN(const WrittenFile written,
                   WriteTensors(JoinPath(folder, name), tensors, {{"format", "pt"}}));
  return FolderFile{.name = name, .sha256 = written.sha256, .n_bytes = written.n_bytes};
}

Result<CheckpointSummary> WriteInto(const std::string& folder, const CheckpointContent& content) {
  CheckpointSummary summary;
  ASSIGN_OR_RETURN(FolderFile config,
                   WriteText(folder, kConfig, CanonicalJson(ModelConfigJson(content.config))));
  summary.files.push_back(std::move(config));
  ASSIGN_OR_RETURN(FolderFile model, WriteTensorFile(folder, kModel, content.parameters));
  summary.files.push_back(std::move(model));
  Failpoint("trainer_mid_checkpoint");
  ASSIGN_OR_RETURN(FolderFile optimizer, WriteTensorFile(folder, kOptimizer, content.optimizer));
  summary.files.push_back(std::move(optimizer));
  ASSIGN_OR_RETURN(FolderFile state, WriteText(folder, kState, CanonicalJson(content.state)));
  summary.files.push_back(std::move(state));

  ASSIGN_OR_RETURN(FolderFile last,
                   WriteText(folder, kFolderManifestName, FolderManifest(summary.files)));
  summary.sha256 = last.sha256;
  summary.files.push_back(std::move(last));
  RETURN_IF_ERROR(SyncFolder(folder));
  return summary;
}

}  // namespace

Result<CheckpointSummary> WriteCheckpoint(const std::string& folder,
                                          const CheckpointContent& content) {
  const std::string parent = FolderOf(folder);
  const std::string temporary = JoinPath(parent, Str(".", BaseName(folder), ".tmp"));
  RETURN_IF_ERROR(MakeFolder(parent));
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeFolder(temporary));
  Result<CheckpointSummary> summary = WriteInto(temporary, content);
  Status status = summary.status();
  if (status.ok()) status = RenameSync(temporary, folder);
  if (!status.ok()) {
    // If only the sync of the rename failed, the folder has its name already, and would be in the
    // way of another try. Report only the first error; the next attempt removes what cannot be
    // removed now.
    const bool is_renamed = summary.ok() && IsAbsent(temporary);
    static_cast<void>(RemoveAll(is_renamed ? folder : temporary));
    return std::move(status).In(Str("writing checkpoint ", folder));
  }
  return summary;
}

Result<CheckpointSummary> VerifyCheckpointFolder(const std::string& folder,
                                                 const std::string& sha256) {
  ASSIGN_OR_RETURN(VerifiedFolder verified, VerifyFolder(folder, sha256));
  for (const char* name : {kConfig, kModel, kOptimizer, kState}) {
    if (std::ranges::find(verified.files, name, &FolderFile::name) == verified.files.end()) {
      return Status(Code::kDataLoss,
                    Str(JoinPath(folder, kFolderManifestName), ": ", name, " is not listed"));
    }
  }
  return verified;
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

Result<std::int64_t> FolderTrainedLength(const std::string& folder, const Json& config) {
  const std::int64_t length = TrainedLength(config);
  const std::string path = JoinPath(folder, kState);
  if (length > 0 || !PathExists(path)) return length;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonBytesMax));
  Result<Json> state = ParseJson(text);
  if (!state.ok()) return std::move(state).status().In(path);
  if (!state->is_object() || !state->contains("train_length")) return 0;
  return GetInt(*state, "train_length", path);
}

}  // namespace longrun
