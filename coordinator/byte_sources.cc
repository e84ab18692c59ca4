// See byte_sources.h.
#include "coordinator/byte_sources.h"

#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/manifest.h"
#include "model/evaluation/input_file.h"

namespace longrun::coordinator {
namespace {

// Changes whenever the file is replaced or written.
struct Stamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t n_bytes = 0;
  std::int64_t changed_ns = 0;
  bool operator==(const Stamp&) const = default;
};

Result<Stamp> StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", path));
  return Stamp{
      .device = info.st_dev,
      .inode = info.st_ino,
      .n_bytes = info.st_size,
      .changed_ns = std::int64_t{info.st_ctim.tv_sec} * 1'000'000'000 + info.st_ctim.tv_nsec};
}

// The size of a regular file that is not a symbolic link: a link could lead anywhere. Errors go to
// other machines, to which our folders are of no use.
Result<std::int64_t> BytesOfFile(const std::string& path) {
  struct stat info {};
  const std::string name = BaseName(path);
  if (::lstat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", name));
  if (S_ISREG(info.st_mode)) return std::int64_t{info.st_size};
  return Status(Code::kFailedPrecondition,
                Str(name, " is not a regular file: only regular files are sent to other machines"));
}

}  // namespace

struct ByteSources::Listed {
  Stamp manifest;
  DatasetListing listing;
  std::map<std::string, std::size_t> by_sha256;  // index in listing.files
};

ByteSources::ByteSources(const ArtifactStore& artifacts, std::string state_folder)
    : artifacts_(artifacts), files_folder_(JoinPath(state_folder, "files")) {}

void ByteSources::SetDatasetFolders(std::vector<std::string> folders) {
  const std::lock_guard lock(mutex_);
  dataset_folders_ = std::move(folders);
  listed_.clear();
}

Result<ByteSources::Found> ByteSources::Find(const std::string& sha256) const {
  const Result<ArtifactStore::Found> artifact = artifacts_.Find(sha256);
  if (artifact.ok()) return Found{.path = artifact->path, .n_bytes = artifact->n_bytes};
  if (artifact.status().code() != Code::kNotFound) return artifact.status();
  std::vector<std::string> folders;
  {
    const std::lock_guard lock(mutex_);
    folders = dataset_folders_;
  }
  Status problem;
  const auto look_at = [&](const std::string& path) -> std::optional<Found> {
    const Result<std::int64_t> n_bytes = BytesOfFile(path);
    if (n_bytes.ok()) return Found{.path = path, .n_bytes = *n_bytes};
    problem = n_bytes.status();
    return std::nullopt;
  };
  for (const std::string& folder : folders) {
    const Result<std::shared_ptr<const Listed>> listed = ListedAt(folder);
    if (!listed.ok()) continue;  // whoever wants this dataset was told when it was listed
    const auto file = (*listed)->by_sha256.find(sha256);
    if (file == (*listed)->by_sha256.end()) continue;
    if (auto found = look_at(JoinPath(folder, (*listed)->listing.files[file->second].name))) {
      return *std::move(found);
    }
  }
  if (const std::string path = JoinPath(files_folder_, sha256); PathExists(path)) {
    if (auto found = look_at(path)) return *std::move(found);
  }
  if (!problem.ok()) return problem;
  return Status(Code::kNotFound,
                Str("the coordinator has no bytes with the SHA-256 ", sha256,
                    ", neither in its artifact store, nor in the folder of a registered dataset, "
                    "nor among the files that sweeps named: restore a backup, import the dataset "
                    "again, or submit the sweep again with its files"));
}

Result<DatasetListing> ByteSources::List(const std::string& folder) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Listed> listed, ListedAt(folder));
  return listed->listing;
}

ArtifactFile ByteSources::InputFile(const std::string& id) const {
  const std::string path = KeptFilePath(id, files_folder_);
  const Result<std::int64_t> n_bytes = BytesOfFile(path);
  return {.name = BaseName(path), .sha256 = BaseName(path), .n_bytes = n_bytes.ok() ? *n_bytes : 0};
}

Result<std::shared_ptr<const ByteSources::Listed>> ByteSources::ListedAt(
    const std::string& folder) const {
  // ListDataset says it better than the error of stat.
  const Result<Stamp> stamp = StampOf(JoinPath(folder, kManifestName));
  if (stamp.ok()) {
    const std::lock_guard lock(mutex_);
    const auto known = listed_.find(folder);
    if (known != listed_.end() && known->second->manifest == *stamp) return known->second;
  }
  ASSIGN_OR_RETURN(DatasetListing listing, ListDataset(folder));
  auto listed = std::make_shared<Listed>();
  if (stamp.ok()) listed->manifest = *stamp;
  for (std::size_t i = 0; i < listing.files.size(); ++i) {
    listed->by_sha256.emplace(listing.files[i].sha256, i);
  }
  listed->listing = std::move(listing);
  const std::lock_guard lock(mutex_);
  listed_[folder] = listed;
  return std::shared_ptr<const Listed>(listed);
}

}  // namespace longrun::coordinator
