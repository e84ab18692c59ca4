// The files of a dataset's folder by digest, so that the dataset can travel to another machine:
//
//   SPLIT-00000.lrtk ...   the shards, in the order of dataset.json
//   tokenizer.json
//   vocabulary.tiktoken    unless the tokens are single bytes
//   dataset.json           last: without it, a folder is an unfinished dataset
//
// The digest of a dataset does not cover dataset.json itself, whose sources and tool version differ
// between two imports of the same text. So one dataset may have several such lists.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/artifact_file.h"
#include "base/status.h"
#include "model/data/manifest.h"

namespace longrun {

// The most files of a dataset that can travel: of 128 Mi tokens each, they hold 10^12 tokens.
inline constexpr std::size_t kDatasetFilesMax = 8192;

struct DatasetListing {
  std::string digest;  // of the dataset
  std::vector<ArtifactFile> files;
};

// The files of the dataset in `folder`, all of which must be there as regular files. Hashes the
// small ones. Of shards, it checks only the size, and takes the SHA-256 from dataset.json: whoever
// gets the bytes must hash them. kNotFound if the folder holds no dataset; kDataLoss names the file
// that is missing or differs from dataset.json.
Result<DatasetListing> ListDataset(const std::string& folder);

// Checks that each shard is there, with the size that the manifest of `folder` states. Reads none.
// kDataLoss names the file.
Status CheckShardSizes(const std::string& folder, const Manifest& manifest);

// Checks a listing that another machine sent, before anything of it is used: digests, sizes, and
// names, which must be plain and different. kInvalidArgument names the entry.
Status CheckListing(const DatasetListing& listing);

// Checks that `folder`, whose files have the digests of the listing, is the dataset of the listing,
// without further files. kDataLoss.
Status CheckListed(const std::string& folder, const DatasetListing& listing);

std::int64_t BytesOf(std::span<const ArtifactFile> files);

}  // namespace longrun
