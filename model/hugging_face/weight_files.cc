#include "model/hugging_face/weight_files.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr const char* kOneFile = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kPickle = "pytorch_model.bin";
constexpr const char* kPickleIndex = "pytorch_model.bin.index.json";
// Enough for any model: each tensor takes about 100 bytes of the index.
constexpr std::size_t kIndexBytesMax = std::size_t{64} << 20;

Status Damaged(const std::string& message) { return Status(Code::kDataLoss, message); }

// {tensor: file}
Result<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kIndexBytesMax));
  Result<Json> json = ParseJson(text);
  if (!json) return std::move(json).status().In(path);
  if (!json->is_object() || !json->contains("weight_map") || !(*json)["weight_map"].is_object()) {
    return Damaged(Str(path, ": expected a map \"weight_map\" of tensors to files"));
  }
  std::map<std::string, std::string> file_of;
  for (const auto& [tensor, file] : (*json)["weight_map"].items()) {
    if (!file.is_string() || !IsSafeName(file.get<std::string>())) {
      return Damaged(Str(path, ": weight_map: tensor \"", tensor,
                         "\": expected the name of a file ", "in the same folder, found ",
                         file.dump()));
    }
    file_of[tensor] = file.get<std::string>();
  }
  return file_of;
}

}  // namespace

Status WeightFiles::AddFile(const std::string& path) {
  ASSIGN_OR_RETURN(SafetensorsFile opened, SafetensorsFile::Open(path));
  const SafetensorsFile& file = files_.emplace(path, std::move(opened)).first->second;
  for (const auto& [name, tensor] : file.tensors()) {
    if (tensors_.emplace(name, &tensor).second) continue;
    return Damaged(Str(path, ": tensor \"", name, "\" is in another file, too"));
  }
  return Status();
}

Status WeightFiles::OpenIndexed(const std::string& folder) {
  using FileOfTensor = std::map<std::string, std::string>;
  ASSIGN_OR_RETURN(const FileOfTensor file_of, ReadIndex(path_));
  for (const auto& [tensor, file] : file_of) {
    const std::string path = JoinPath(folder, file);
    if (files_.contains(path)) continue;
    if (!PathExists(path)) {
      return Damaged(Str(path, " is missing, although ", path_,
                         " lists it as the file of tensor \"", tensor, "\""));
    }
    RETURN_IF_ERROR(AddFile(path));
  }
  for (const auto& [tensor, file] : file_of) {
    if (files_.at(JoinPath(folder, file)).Find(tensor) != nullptr) continue;
    return Damaged(Str(JoinPath(folder, file), ": tensor \"", tensor, "\" is not in it, although ",
                       path_, " says so"));
  }
  for (const auto& [tensor, stored] : tensors_) {
    if (file_of.contains(tensor)) continue;
    return Damaged(Str(path_, ": tensor \"", tensor, "\" is in the files, but not in weight_map"));
  }
  return Status();
}

std::vector<std::string> WeightFiles::paths() const {
  std::vector<std::string> paths;
  if (!files_.contains(path_)) paths.push_back(path_);
  for (const auto& [path, file] : files_) paths.push_back(path);
  return paths;
}

const std::string& WeightFiles::PathOf(const StoredTensor& tensor) const {
  const auto has_it = [&](const auto& entry) {
    return std::ranges::any_of(entry.second.tensors(),
                               [&](const auto& one) { return &one.second == &tensor; });
  };
  const auto found = std::ranges::find_if(files_, has_it);
  LR_CHECK(found != files_.end());
  return found->first;
}

Result<WeightFiles> WeightFiles::Open(const std::string& folder) {
  WeightFiles weights;
  weights.path_ = JoinPath(folder, kOneFile);
  if (PathExists(weights.path_)) {
    RETURN_IF_ERROR(weights.AddFile(weights.path_));
    return weights;
  }
  if (const std::string index = JoinPath(folder, kIndex); PathExists(index)) {
    weights.path_ = index;
    RETURN_IF_ERROR(weights.OpenIndexed(folder));
    return weights;
  }
  for (const char* name : {kPickle, kPickleIndex}) {
    const std::string pickle = JoinPath(folder, name);
    if (!PathExists(pickle)) continue;
    return Status(Code::kInvalidArgument,
                  Str(pickle,
                      ": a pickle is never opened, since it can run code; save the model with "
                      "safe_serialization=True, as model.safetensors"));
  }
  return Status(Code::kNotFound,
                Str(weights.path_, " is missing: save the model's weights there, as safetensors"));
}

}  // namespace longrun
