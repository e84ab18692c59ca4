#include "model/hugging_face/manifest.h"

#include <set>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

namespace longrun {
namespace {

Status Damaged(std::string_view message) { return Status(Code::kDataLoss, message); }

Status CheckFile(const std::string& folder, const FolderFile& file) {
  const std::string path = JoinPath(folder, file.name);
  if (!PathExists(path)) return Damaged(Str(path, " is missing; choose another checkpoint"));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(path));
  if (n_bytes != file.n_bytes) {
    return Damaged(Str(path, " has ", n_bytes, " bytes, but its manifest says ", file.n_bytes,
                       ": it is truncated or damaged; choose another checkpoint"));
  }
  ASSIGN_OR_RETURN(const std::string found, Sha256OfFile(path));
  if (found == file.sha256) return Status();
  return Damaged(Str(path, ": its SHA-256 is ", found, ", but its manifest says ", file.sha256,
                     ": it is damaged; choose another checkpoint"));
}

}  // namespace

std::string FolderManifest(std::span<const FolderFile> files) {
  Json list = Json::array();
  for (const FolderFile& file : files) {
    list.push_back({{"name", file.name}, {"sha256", file.sha256}, {"bytes", file.n_bytes}});
  }
  return CanonicalJson({{"format", 1}, {"files", std::move(list)}});
}

Result<std::vector<FolderFile>> ParseFolderManifest(std::string_view text) {
  Result<Json> json = ParseJson(text);
  if (!json) return Damaged(json.status().message());
  if (!json->is_object() || json->value("format", Json()) != 1 || !json->contains("files") ||
      !(*json)["files"].is_array()) {
    return Damaged("not a manifest of format 1");
  }
  if ((*json)["files"].size() > kFolderFilesMax) {
    return Damaged(Str("a manifest with ", (*json)["files"].size(), " files; at most ",
                       kFolderFilesMax, " are allowed"));
  }
  std::vector<FolderFile> files;
  std::set<std::string> names;
  files.reserve((*json)["files"].size());
  for (const Json& entry : (*json)["files"]) {
    const Result<std::string> name = GetString(entry, "name");
    const Result<std::string> sha256 = GetString(entry, "sha256");
    const Result<std::int64_t> n_bytes = GetInt(entry, "bytes");
    if (!name || !sha256 || !n_bytes || !IsSafeName(*name) || !IsSha256Hex(*sha256) ||
        *n_bytes < 0 || !names.insert(*name).second) {
      return Damaged(Str("a broken entry: ", entry.dump()));
    }
    files.push_back({.name = *name, .sha256 = *sha256, .n_bytes = *n_bytes});
  }
  return files;
}

Result<VerifiedFolder> VerifyFolder(const std::string& folder, const std::string& sha256) {
  const std::string path = JoinPath(folder, kFolderManifestName);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFolderManifestBytesMax));
  VerifiedFolder verified = {.sha256 = Sha256Hex(text), .files = {}};
  if (!sha256.empty() && verified.sha256 != sha256) {
    return Damaged(Str(path, ": its SHA-256 is ", verified.sha256, ", expected ", sha256));
  }
  Result<std::vector<FolderFile>> files = ParseFolderManifest(text);
  if (!files) return std::move(files).status().In(path);
  verified.files = std::move(files).value();
  for (const FolderFile& file : verified.files) RETURN_IF_ERROR(CheckFile(folder, file));
  verified.files.push_back({.name = kFolderManifestName,
                            .sha256 = verified.sha256,
                            .n_bytes = static_cast<std::int64_t>(text.size())});
  return verified;
}

}  // namespace longrun
