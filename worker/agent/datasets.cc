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

std::string FindDataset(const std::string& digest, const std::string& datasets_dir) {
  for (const std::string& folder : DatasetFolders(datasets_dir)) {
    const Result<std::string> found = DigestOf(folder);
    if (found && *found == digest) return folder;
  }
  return "";
}

Status CheckDatasetFolder(const std::string& digest, const std::string& folder) {
  const Result<std::string> found = DigestOf(folder);
  if (found && *found == digest) return Status();
  // With a shortage, we cannot tell whether the dataset is there.
  if (ShortageOf(found.status())) return found.status();
  if (found) return Status(Code::kNotFound, Str(folder, " holds the dataset ", *found));
  return Status(Code::kNotFound, found.status().message());
}

}  // namespace longrun::agent
