// See byte_sources.h.
#include "coordinator/byte_sources.h"

#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/manifest.h"
#include "model/evaluation/input_file.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kLookAgainMs = 5'000;

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

// What a look into a folder has found.
struct ByteSources::Listed {
  std::optional<Stamp> manifest;  // of dataset.json; none if it could not be looked at
  std::int64_t at_ms = 0;
  Result<DatasetListing> listing;
  std::map<std::string, std::size_t> by_sha256;  // index in listing.files
};

ByteSources::ByteSources(const ArtifactStore& artifacts, std::string state_folder, Options options)
    : artifacts_(artifacts),
      files_folder_(JoinPath(state_folder, "files")),
      options_(std::move(options)) {}

void ByteSources::SetDatasetFolders(std::vector<std::string> folders) {
  const std::lock_guard lock(mutex_);
  dataset_folders_ = std::move(folders);
  std::erase_if(folders_, [](const auto& entry) { return entry.second.n_looking == 0; });
  for (auto& [path, folder] : folders_) folder.listed = nullptr;
}

std::vector<std::string> ByteSources::ListedPaths(const std::string& sha256) const {
  std::vector<std::string> paths;
  const std::lock_guard lock(mutex_);
  for (const std::string& path : dataset_folders_) {
    const auto folder = folders_.find(path);
    if (folder == folders_.end() || folder->second.listed == nullptr) continue;
    const Listed& listed = *folder->second.listed;
    const auto file = listed.by_sha256.find(sha256);
    if (file == listed.by_sha256.end()) continue;
    paths.push_back(JoinPath(path, listed.listing->files[file->second].name));
  }
  return paths;
}

std::optional<ByteSources::Stale> ByteSources::TakeStale(std::set<std::string>& seen,
                                                         bool& is_being_looked_into) const {
  const std::int64_t now_ms = options_.now_ms();
  const std::lock_guard lock(mutex_);
  for (const std::string& path : dataset_folders_) {
    if (seen.contains(path)) continue;
    Folder& folder = folders_[path];
    if (folder.n_looking > 0) {
      is_being_looked_into = true;
      continue;
    }
    seen.insert(path);
    if (folder.listed != nullptr && now_ms - folder.looked_at_ms < kLookAgainMs) continue;
    folder.n_looking += 1;
    return Stale{.path = path, .known = folder.listed};
  }
  return std::nullopt;
}

std::optional<ByteSources::Found> ByteSources::LookAt(const std::string& path, Status& problem) {
  const Result<std::int64_t> n_bytes = BytesOfFile(path);
  if (n_bytes.ok()) return Found{.path = path, .n_bytes = *n_bytes};
  problem = n_bytes.status();
  return std::nullopt;
}

std::optional<ByteSources::Found> ByteSources::FindKnown(const std::string& sha256,
                                                         Status& problem) const {
  if (const std::string path = JoinPath(files_folder_, sha256); PathExists(path)) {
    if (auto found = LookAt(path, problem)) return found;
  }
  for (const std::string& path : ListedPaths(sha256)) {
    if (auto found = LookAt(path, problem)) return found;
  }
  return std::nullopt;
}

Result<ByteSources::Found> ByteSources::FindSource(const std::string& sha256) const {
  Status problem;
  if (auto known = FindKnown(sha256, problem)) return *std::move(known);
  bool is_being_looked_into = false;
  std::set<std::string> seen;
  while (const std::optional<Stale> stale = TakeStale(seen, is_being_looked_into)) {
    // Whoever wants a dataset that cannot be listed was told when it was listed.
    const std::shared_ptr<const Listed> listed = LookInto(stale->path, stale->known);
    const auto file = listed->by_sha256.find(sha256);
    if (file == listed->by_sha256.end()) continue;
    const std::string& name = listed->listing->files[file->second].name;
    if (auto found = LookAt(JoinPath(stale->path, name), problem)) return *std::move(found);
  }
  // Another thread may have listed it meanwhile.
  if (auto known = FindKnown(sha256, problem)) return *std::move(known);
  if (!problem.ok()) return problem;
  if (is_being_looked_into) {
    return Status(Code::kUnavailable,
                  Str("the coordinator is still looking for the bytes with the SHA-256 ", sha256,
                      " in the folder of a dataset: try again"));
  }
  return Status(Code::kNotFound,
                Str("the coordinator has no bytes with the SHA-256 ", sha256,
                    ", neither in its artifact store, nor in the folder of a registered dataset, "
                    "nor among the files that sweeps named"));
}

Result<ByteSources::Found> ByteSources::Find(const std::string& sha256) const {
  const Result<ArtifactStore::Found> artifact = artifacts_.Find(sha256);
  if (!artifact.ok() && artifact.status().code() != Code::kNotFound) return artifact.status();
  // Whoever asks for a file of a dataset although it is in the shared folder has found it damaged
  // there.
  Status problem;
  if (artifact.ok() && artifacts_.is_shared()) {
    if (auto known = FindKnown(sha256, problem)) return *std::move(known);
  }
  if (artifact.ok()) return Found{.path = artifact->path, .n_bytes = artifact->n_bytes};
  return FindSource(sha256);
}

bool ByteSources::IsSource(const std::string& sha256) const {
  return FindSource(sha256).status().code() != Code::kNotFound;
}

Result<DatasetListing> ByteSources::List(const std::string& folder) const {
  std::shared_ptr<const Listed> known;
  {
    const std::lock_guard lock(mutex_);
    folders_[folder].n_looking += 1;
    known = folders_[folder].listed;
  }
  return LookInto(folder, known)->listing;
}

ArtifactFile ByteSources::InputFile(const std::string& id) const {
  const std::string path = KeptFilePath(id, files_folder_);
  const Result<std::int64_t> n_bytes = BytesOfFile(path);
  return {.name = BaseName(path), .sha256 = BaseName(path), .n_bytes = n_bytes.ok() ? *n_bytes : 0};
}

std::shared_ptr<const ByteSources::Listed> ByteSources::LookInto(
    const std::string& path, const std::shared_ptr<const Listed>& known) const {
  std::shared_ptr<const Listed> found = Look(path, known);
  const std::lock_guard lock(mutex_);
  Folder& folder = folders_[path];
  folder.n_looking -= 1;
  folder.listed = found;
  folder.looked_at_ms = options_.now_ms();
  return found;
}

std::shared_ptr<const ByteSources::Listed> ByteSources::Look(
    const std::string& path, const std::shared_ptr<const Listed>& known) const {
  const Result<Stamp> stamp = StampOf(JoinPath(path, kManifestName));
  const std::int64_t now_ms = options_.now_ms();
  if (stamp.ok() && known != nullptr && known->manifest == *stamp) {
    // A shard may have come back meanwhile.
    const bool may_differ = !known->listing.ok() && now_ms - known->at_ms >= kLookAgainMs;
    if (!may_differ) return known;
  }
  // ListDataset says it better than the error of stat.
  auto listed = std::make_shared<Listed>(
      Listed{.manifest = {}, .at_ms = now_ms, .listing = options_.list(path), .by_sha256 = {}});
  if (stamp.ok()) listed->manifest = *stamp;
  if (!listed->listing.ok()) return listed;
  for (std::size_t i = 0; i < listed->listing->files.size(); ++i) {
    listed->by_sha256.emplace(listed->listing->files[i].sha256, i);
  }
  return listed;
}

}  // namespace longrun::coordinator
