#include "model/data/dataset_files.h"

#include <sys/stat.h>

#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "model/data/manifest.h"
#include "model/data/tokenizer_file.h"

namespace longrun {
namespace {

// So that a sum over kDatasetFilesMax files cannot overflow.
constexpr std::int64_t kFileBytesMax = std::int64_t{1} << 48;

// kDataLoss if the file is missing, or is not a regular file.
Result<std::int64_t> BytesOfRegularFile(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (IsMissing(path)) return DatasetDamaged(path, "the file is missing");
    return ErrnoStatus(errno, Str("cannot read ", path));
  }
  if (!S_ISREG(info.st_mode)) return DatasetDamaged(path, "it is not a regular file");
  return std::int64_t{info.st_size};
}

Result<ArtifactFile> Hashed(const std::string& folder, std::string_view name) {
  const std::string path = JoinPath(folder, name);
  RETURN_IF_ERROR(BytesOfRegularFile(path).status());
  ASSIGN_OR_RETURN(const std::string bytes, ReadPlainFile(path));
  return ArtifactFile{.name = std::string(name),
                      .sha256 = Sha256Hex(bytes),
                      .n_bytes = static_cast<std::int64_t>(bytes.size())};
}

}  // namespace

Status CheckShardSizes(const std::string& folder, const Manifest& manifest) {
  for (const ManifestSplit& split : manifest.splits) {
    for (const ManifestShard& shard : split.shards) {
      const std::string path = JoinPath(folder, shard.file);
      ASSIGN_OR_RETURN(const std::int64_t n_bytes, BytesOfRegularFile(path));
      if (n_bytes == shard.bytes) continue;
      return DatasetDamaged(path,
                            Str("it has ", n_bytes, " bytes, but dataset.json says ", shard.bytes));
    }
  }
  return Status();
}

Result<DatasetListing> ListDataset(const std::string& folder) {
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  RETURN_IF_ERROR(CheckShardSizes(folder, manifest));
  DatasetListing listing{.digest = manifest.digest, .files = {}};
  for (const ManifestSplit& split : manifest.splits) {
    for (const ManifestShard& shard : split.shards) {
      listing.files.push_back({.name = shard.file, .sha256 = shard.sha256, .n_bytes = shard.bytes});
    }
  }
  ASSIGN_OR_RETURN(ArtifactFile tokenizer, Hashed(folder, kTokenizerFile));
  if (tokenizer.sha256 != manifest.tokenizer_sha256) {
    return DatasetDamaged(JoinPath(folder, kTokenizerFile),
                          Str("SHA-256 is ", tokenizer.sha256, ", but dataset.json says ",
                              manifest.tokenizer_sha256));
  }
  listing.files.push_back(std::move(tokenizer));
  ASSIGN_OR_RETURN(const bool has_vocabulary, HasVocabularyFile(folder));
  if (has_vocabulary) {
    ASSIGN_OR_RETURN(ArtifactFile vocabulary, Hashed(folder, kVocabularyFile));
    listing.files.push_back(std::move(vocabulary));
  }
  ASSIGN_OR_RETURN(ArtifactFile own, Hashed(folder, kManifestName));
  listing.files.push_back(std::move(own));
  if (listing.files.size() > kDatasetFilesMax) {
    return Status(Code::kOutOfRange,
                  Str("the dataset in ", folder, " has ", listing.files.size(), " files; at most ",
                      kDatasetFilesMax,
                      " can be sent to another machine: import it again with larger shards"));
  }
  return listing;
}

Status CheckListing(const DatasetListing& listing) {
  if (!IsSha256Hex(listing.digest)) {
    return Status(Code::kInvalidArgument, Str("\"", listing.digest,
                                              "\" is not the digest of a dataset: expected 64 "
                                              "lower-case hex digits"));
  }
  const std::string where = Str("dataset ", listing.digest);
  if (listing.files.empty() || listing.files.size() > kDatasetFilesMax) {
    return Status(Code::kInvalidArgument, Str(where, " lists ", listing.files.size(),
                                              " files; expected 1 to ", kDatasetFilesMax));
  }
  std::set<std::string_view> names;
  for (const ArtifactFile& file : listing.files) {
    const bool is_valid = IsSafeName(file.name) && IsSha256Hex(file.sha256) && file.n_bytes >= 0 &&
                          file.n_bytes <= kFileBytesMax;
    if (!is_valid || !names.insert(file.name).second) {
      return Status(Code::kInvalidArgument,
                    Str(where, ": the file \"", file.name, "\" with SHA-256 \"", file.sha256,
                        "\" and ", file.n_bytes, " bytes is not a valid entry",
                        is_valid ? ": another one has the same name" : ""));
    }
  }
  if (listing.files.back().name != kManifestName) {
    return Status(Code::kInvalidArgument,
                  Str(where, ": the last file is \"", listing.files.back().name, "\", expected ",
                      kManifestName));
  }
  return Status();
}

Status CheckListed(const std::string& folder, const DatasetListing& listing) {
  ASSIGN_OR_RETURN(const DatasetListing found, ListDataset(folder));
  if (found.digest != listing.digest) {
    return Status(Code::kDataLoss,
                  Str(folder, " holds the dataset ", found.digest, ", expected ", listing.digest));
  }
  if (found.files != listing.files) {
    return Status(Code::kDataLoss, Str("the files of dataset ", listing.digest,
                                       " are not the ones that its dataset.json names"));
  }
  return Status();
}

std::int64_t BytesOf(std::span<const ArtifactFile> files) {
  std::int64_t n_bytes = 0;
  for (const ArtifactFile& file : files) n_bytes += file.n_bytes;
  return n_bytes;
}

}  // namespace longrun
