// dataset.json, the manifest of a dataset's folder: the identity of its splits (which the digest
// covers) and their files. Nothing in it is trusted until the files agree with it.
//
// Its member manifest_sha256 is the SHA-256 of the canonical JSON of all other members: the seal.
// It protects the members that neither the digest nor another file repeats (sources, packing, the
// tokenizer's name). A manifest of an earlier release has no seal and stays valid;
// `longrun data verify NAME --seal` adds it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "base/status.h"

namespace longrun {

inline constexpr std::string_view kManifestName = "dataset.json";
inline constexpr int kManifestFormat = 1;
inline constexpr std::string_view kSealKey = "manifest_sha256";
inline constexpr std::array<std::string_view, 3> kSplitNames = {"train", "validation", "test"};

// The identity of a split, apart from its layout in files.
struct SplitIdentity {
  std::string name;
  std::int64_t n_tokens = 0;
  std::int64_t n_documents = 0;
  std::string tokens_sha256;
  std::string documents_sha256;
};

struct ManifestShard {
  std::string file;
  std::int64_t n_tokens = 0;
  std::int64_t n_documents = 0;  // entries of its document table
  std::int64_t bytes = 0;
  std::string sha256;
};

struct ManifestSplit {
  SplitIdentity identity;
  std::vector<ManifestShard> shards;
};

struct Manifest {
  std::string digest;
  std::string tokenizer_fingerprint;
  std::string tokenizer_sha256;  // of tokenizer.json in the folder
  std::string spec_sha256;
  std::vector<ManifestSplit> splits;  // in the order of kSplitNames
};

// The formula of dataset.h; the splits in the order of kSplitNames.
std::string DatasetDigest(const std::string& tokenizer_fingerprint,
                          const std::vector<SplitIdentity>& splits);
// Adds ids, which must not be negative, as u32.
void HashTokens(Sha256& hash, std::span<const std::int32_t> tokens);
// The SHA-256 over the document starts and the split's end.
std::string DocumentsSha256(std::span<const std::int64_t> starts);

// True if there is nothing at `path`. Something that exists but cannot be examined
// (permissions) is not missing.
bool IsMissing(const std::string& path);
bool HoldsManifest(const std::string& folder);

// The bytes of a manifest with its seal; `manifest` has all other members.
std::string SealedManifest(Json manifest);
bool IsSealed(const Json& manifest);
// kDataLoss if the seal does not match the rest. A manifest without a seal passes.
Status CheckSeal(const Json& manifest);

// The manifest of a folder as JSON, after checking its seal: kNotFound if there is none,
// kDataLoss names the file.
Result<Json> ReadManifestJson(const std::string& folder);
bool IsOfNewerRelease(const Json& manifest);  // unreadable for this release, but not damaged
// kDataLoss names the fault; the digest is checked too.
Result<Manifest> ParseManifest(const Json& json);
// ReadManifestJson and ParseManifest; kDataLoss names the file and the remedy.
Result<Manifest> ReadManifest(const std::string& folder);
// Adds the seal to the manifest of an earlier release. The caller must have verified the dataset.
Status SealManifest(const std::string& folder);

// Reads a small file of a dataset's folder. Only a regular file is read: a pipe would block its
// reader, and a device would never end.
Result<std::string> ReadPlainFile(const std::string& path);
// "PATH: WHAT: the dataset is damaged; import it again"
Status DatasetDamaged(const std::string& path, const std::string& what);
std::array<std::uint8_t, 32> BytesOfSha256Hex(std::string_view hex);

}  // namespace longrun
