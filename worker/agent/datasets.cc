// Datasets by digest.
#include "worker/agent/datasets.h"

#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/shortage.h"
#include "base/str.h"
#include "model/data/manifest.h"

namespace longrun::agent {
namespace {

constexpr std::size_t kManifestBytesMax = 64u << 20;

Result<std::string> DigestOf(const std::string& folder) {
  const std::string path = JoinPath(folder, kManifestName);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kManifestBytesMax));
  Result<Json> json = ParseJson(text);
  if (!json) return std::move(json).status().In(path);
  if (Status seal = CheckSeal(*json); !seal.ok()) return std::move(seal).In(path);
  return GetString(*json, "digest", path);
}

std::vector<std::string> DatasetFolders(const std::string& datasets_dir) {
  std::vector<std::string> folders;
  const Result<std::vector<std::string>> names = ListFolder(datasets_dir);
  if (!names) return folders;
  for (const std::string& name : *names) folders.push_back(JoinPath(datasets_dir, name));
  return folders;
}

}  // namespace

std::vector<std::string> DatasetDigests(const std::string& datasets_dir) {
  std::vector<std::string> digests;
  for (const std::string& folder : DatasetFolders(datasets_dir)) {
    if (Result<std::string> digest = DigestOf(folder)) digests.push_back(*std::move(digest));
  }
  return digests;
}

Result<std::string> FindDataset(const std::string& digest, const std::string& datasets_dir,
                                const std::string& registered_path) {
  for (const std::string& folder : DatasetFolders(datasets_dir)) {
    const Result<std::string> found = DigestOf(folder);
    if (found && *found == digest) return folder;
  }
  std::string why = "no path was registered";
  if (!registered_path.empty()) {
    const Result<std::string> found = DigestOf(registered_path);
    if (found && *found == digest) return registered_path;
    // With a shortage, we cannot tell whether the dataset is there.
    if (ShortageOf(found.status())) return found.status();
    why = found ? Str(registered_path, " holds the dataset ", *found) : found.status().message();
  }
  return Status(Code::kNotFound,
                Str("dataset ", digest, " is not on this worker: none in ", datasets_dir,
                    " has this digest, and ", why,
                    "; if it was moved, register its new place with `longrun data register NAME "
                    "FOLDER`; else copy or import the dataset again"));
}

}  // namespace longrun::agent
