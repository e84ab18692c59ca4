#include "model/data/manifest.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/check.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// Limit for dataset.json and tokenizer.json.
constexpr std::size_t kJsonBytesMax = std::size_t{64} << 20;

Result<std::string> GetSha256(const Json& object, std::string_view key, const std::string& path) {
  ASSIGN_OR_RETURN(std::string hex, GetString(object, key, path));
  if (!IsSha256Hex(hex)) {
    return Status(Code::kDataLoss,
                  Str(path, ".", key, ": expected 64 hex digits, found \"", hex, "\""));
  }
  return hex;
}

Result<std::int64_t> GetPositive(const Json& object, std::string_view key,
                                 const std::string& path) {
  ASSIGN_OR_RETURN(const std::int64_t number, GetInt(object, key, path));
  if (number <= 0 || number > (std::int64_t{1} << 56)) {
    return Status(Code::kDataLoss, Str(path, ".", key, ": expected 1 to 2^56, found ", number));
  }
  return number;
}

Result<Json> GetArray(const Json& object, std::string_view key, const std::string& path) {
  ASSIGN_OR_RETURN(Json list, GetMember(object, key, path));
  if (!list.is_array() || list.empty()) {
    return Status(Code::kDataLoss,
                  Str(path.empty() ? "" : path + ".", key, ": expected a list that is not empty"));
  }
  return list;
}

Result<ManifestShard> ParseShard(const Json& json, const std::string& path) {
  ManifestShard shard;
  ASSIGN_OR_RETURN(shard.file, GetString(json, "file", path));
  if (!IsSafeName(shard.file)) {
    return Status(Code::kDataLoss,
                  Str(path, ".file: \"", shard.file, "\" is not a plain file name"));
  }
  ASSIGN_OR_RETURN(shard.n_tokens, GetPositive(json, "n_tokens", path));
  ASSIGN_OR_RETURN(shard.n_documents, GetPositive(json, "n_documents", path));
  ASSIGN_OR_RETURN(shard.bytes, GetPositive(json, "bytes", path));
  ASSIGN_OR_RETURN(shard.sha256, GetSha256(json, "sha256", path));
  return shard;
}

Result<ManifestSplit> ParseSplit(const Json& json, const std::string& path) {
  ManifestSplit split;
  SplitIdentity& identity = split.identity;
  ASSIGN_OR_RETURN(identity.name, GetString(json, "name", path));
  ASSIGN_OR_RETURN(identity.n_tokens, GetPositive(json, "n_tokens", path));
  ASSIGN_OR_RETURN(identity.n_documents, GetPositive(json, "n_documents", path));
  ASSIGN_OR_RETURN(identity.tokens_sha256, GetSha256(json, "tokens_sha256", path));
  ASSIGN_OR_RETURN(identity.documents_sha256, GetSha256(json, "documents_sha256", path));
  ASSIGN_OR_RETURN(const Json shards, GetArray(json, "shards", path));
  std::int64_t n_tokens = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    ASSIGN_OR_RETURN(ManifestShard shard, ParseShard(shards[i], Str(path, ".shards[", i, "]")));
    // Each is at most 2^56, and the sum is checked as it grows, so it cannot overflow.
    n_tokens += shard.n_tokens;
    if (n_tokens > identity.n_tokens) break;
    split.shards.push_back(std::move(shard));
  }
  if (n_tokens != identity.n_tokens) {
    return Status(Code::kDataLoss, Str(path, ".n_tokens is ", identity.n_tokens,
                                       ", but its shards have ", n_tokens));
  }
  return split;
}

// Of a manifest without a seal: one of them may be the seal, under a damaged name.
constexpr int kUnknownSha256Max = 4;

std::string DigestWithout(Json manifest, std::string_view key) {
  manifest.erase(std::string(key));
  return Sha256Hex(CanonicalJson(manifest));
}

}  // namespace

std::string SealedManifest(Json manifest) {
  const std::string sha256 = DigestWithout(manifest, kSealKey);
  manifest[std::string(kSealKey)] = sha256;
  return CanonicalJson(manifest);
}

bool IsSealed(const Json& manifest) { return manifest.contains(std::string(kSealKey)); }

Status CheckSeal(const Json& manifest) {
  if (!manifest.is_object()) return Status(Code::kDataLoss, "expected a JSON object");
  if (IsSealed(manifest)) {
    ASSIGN_OR_RETURN(const std::string sha256, GetString(manifest, kSealKey));
    const std::string found = DigestWithout(manifest, kSealKey);
    if (found == sha256) return Status();
    return Status(Code::kDataLoss, Str("the SHA-256 of its other members is ", found, ", but ",
                                       kSealKey, " says ", sha256));
  }
  // Damage to the name of the digest must not make this look like a manifest of an earlier release.
  // Each comparison hashes the whole manifest, so a foreign one must not ask for many.
  int n_compared = 0;
  for (const auto& [key, value] : manifest.items()) {
    if (!value.is_string() || key == "digest" || key == "spec_sha256") continue;
    const auto& sha256 = value.get_ref<const std::string&>();
    if (!IsSha256Hex(sha256)) continue;
    if (++n_compared > kUnknownSha256Max) {
      return Status(Code::kDataLoss,
                    Str("it has no ", kSealKey, ", but more than ", kUnknownSha256Max,
                        " members that are a SHA-256 and that no release of longrun writes"));
    }
    if (sha256 != DigestWithout(manifest, key)) continue;
    return Status(Code::kDataLoss,
                  Str("its member \"", ToUtf8(key), "\" must be named ", kSealKey));
  }
  return Status();
}

Result<std::string> ReadPlainFile(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", path));
  if (!S_ISREG(info.st_mode)) {
    return Status(Code::kInvalidArgument, Str(path, " is not a regular file"));
  }
  return ReadFile(path, kJsonBytesMax);
}

Status DatasetDamaged(const std::string& path, const std::string& what) {
  return Status(Code::kDataLoss,
                Str(path, ": ", what, ": the dataset is damaged; import it again"));
}

std::array<std::uint8_t, 32> BytesOfSha256Hex(std::string_view hex) {
  LR_CHECK(IsSha256Hex(hex));
  const auto digit = [](char c) {
    return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
  };
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  return bytes;
}

std::string DatasetDigest(const std::string& tokenizer_fingerprint,
                          const std::vector<SplitIdentity>& splits) {
  Json list = Json::array();
  for (const SplitIdentity& split : splits) {
    list.push_back({{"name", split.name},
                    {"n_tokens", split.n_tokens},
                    {"n_documents", split.n_documents},
                    {"tokens_sha256", split.tokens_sha256},
                    {"documents_sha256", split.documents_sha256}});
  }
  return Sha256Hex(CanonicalJson({{"format", kManifestFormat},
                                  {"tokenizer", tokenizer_fingerprint},
                                  {"splits", std::move(list)}}));
}

// ids are not negative, so they have the same bytes as u32.
void HashTokens(Sha256& hash, std::span<const std::int32_t> tokens) {
  hash.Update(tokens.data(), tokens.size_bytes());
}
std::string DocumentsSha256(std::span<const std::int64_t> starts) {
  Sha256 hash;
  hash.Update(starts.data(), starts.size_bytes());
  return hash.FinishHex();
}

bool IsOfNewerRelease(const Json& manifest) {
  const Result<std::int64_t> format = GetInt(manifest, "format");
  return format.ok() && *format > kManifestFormat;
}

Result<Manifest> ParseManifest(const Json& json) {
  ASSIGN_OR_RETURN(const std::int64_t format, GetInt(json, "format"));
  if (format != kManifestFormat) {
    return Status(Code::kDataLoss,
                  Str("format is ", format, ", expected ", kManifestFormat,
                      format > kManifestFormat ? ": it was written by a newer longrun" : ""));
  }
  Manifest manifest;
  ASSIGN_OR_RETURN(manifest.digest, GetSha256(json, "digest", ""));
  ASSIGN_OR_RETURN(manifest.spec_sha256, GetSha256(json, "spec_sha256", ""));
  ASSIGN_OR_RETURN(const Json tokenizer, GetMember(json, "tokenizer"));
  ASSIGN_OR_RETURN(manifest.tokenizer_fingerprint,
                   GetSha256(tokenizer, "fingerprint", "tokenizer"));
  ASSIGN_OR_RETURN(manifest.tokenizer_sha256, GetSha256(tokenizer, "sha256", "tokenizer"));
  ASSIGN_OR_RETURN(const Json splits, GetArray(json, "splits", ""));
  std::vector<SplitIdentity> identities;
  for (const std::string_view name : kSplitNames) {
    for (std::size_t i = 0; i < splits.size(); ++i) {
      ASSIGN_OR_RETURN(ManifestSplit split, ParseSplit(splits[i], Str("splits[", i, "]")));
      if (split.identity.name != name) continue;
      identities.push_back(split.identity);
      manifest.splits.push_back(std::move(split));
    }
  }
  if (manifest.splits.size() != splits.size()) {
    return Status(Code::kDataLoss, "splits: a name is not one of train, validation, test");
  }
  const std::string digest = DatasetDigest(manifest.tokenizer_fingerprint, identities);
  if (digest != manifest.digest) {
    return Status(Code::kDataLoss, Str("digest is ", manifest.digest,
                                       ", but its splits and tokenizer give ", digest));
  }
  return manifest;
}

bool IsMissing(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool HoldsManifest(const std::string& folder) {
  return !IsMissing(JoinPath(folder, kManifestName));
}

Result<Json> ReadManifestJson(const std::string& folder) {
  const std::string path = JoinPath(folder, kManifestName);
  if (!HoldsManifest(folder)) {
    return Status(Code::kNotFound,
                  Str(folder, " holds no ", kManifestName,
                      ": it is not a dataset, or its import did not finish; import it again"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadPlainFile(path));
  Result<Json> json = ParseJson(text);
  if (!json) return DatasetDamaged(path, std::string(json.status().message()));
  if (Status seal = CheckSeal(*json); !seal.ok()) return DatasetDamaged(path, seal.message());
  return json;
}

Result<Manifest> ReadManifest(const std::string& folder) {
  ASSIGN_OR_RETURN(const Json json, ReadManifestJson(folder));
  Result<Manifest> manifest = ParseManifest(json);
  if (manifest.ok()) return manifest;
  const std::string path = JoinPath(folder, kManifestName);
  if (IsOfNewerRelease(json)) {
    return Status(manifest.status().code(), Str(path, ": ", manifest.status().message()));
  }
  return DatasetDamaged(path, manifest.status().message());
}

Status SealManifest(const std::string& folder) {
  ASSIGN_OR_RETURN(const Json json, ReadManifestJson(folder));
  return WriteFileAtomic(JoinPath(folder, kManifestName), SealedManifest(json));
}

}  // namespace longrun
