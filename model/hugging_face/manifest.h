// manifest.json: the files of a model folder, each by its SHA-256, and so a name for all of them together.
//
//   {"format":1,"files":[{"name","sha256","bytes"}, ...]}
//
// canonical JSON, whose own SHA-256 names the folder wherever it lies.
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
// kDataLoss for what is none: names are safe and differ, digests are digests.
Result<std::vector<FolderFile>> ParseFolderManifest(std::string_view text);

struct VerifiedFolder {
  std::string sha256;             // of manifest.json
  std::vector<FolderFile> files;  // all, manifest.json last
};
// Compares every file with the manifest, and the manifest with `sha256` ("": any). kDataLoss names the
// file that is missing or changed.
Result<VerifiedFolder> VerifyFolder(const std::string& folder, const std::string& sha256);

}  // namespace longrun
