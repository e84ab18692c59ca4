// manifest.json: lists the SHA-256 of each file of a model folder,
// and so identifies all of them together:
//
//   {"format":1,"files":[{"name","sha256","bytes"}, ...]}
//
// It is canonical JSON, and its own SHA-256 is the folder's name, independent of its location.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

inline constexpr const char* kFolderManifestName = "manifest.json";
inline constexpr std::size_t kFolderFilesMax = 1024;
inline constexpr std::size_t kFolderManifestBytesMax = std::size_t{1} << 20;

struct FolderFile {
  std::string name;
  std::string sha256;
  std::int64_t n_bytes = 0;
};

std::string FolderManifest(std::span<const FolderFile> files);
// kDataLoss if it is not a manifest: names must be safe and distinct, digests well-formed.
Result<std::vector<FolderFile>> ParseFolderManifest(std::string_view text);

struct VerifiedFolder {
  std::string sha256;             // of manifest.json
  std::vector<FolderFile> files;  // all, manifest.json last
};
// Checks every file against the manifest, and the manifest against `sha256` ("": any). kDataLoss
// names the missing or changed file.
Result<VerifiedFolder> VerifyFolder(const std::string& folder, const std::string& sha256);

}  // namespace longrun
