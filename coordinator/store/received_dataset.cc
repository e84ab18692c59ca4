// See received_dataset.h.
#include "coordinator/store/received_dataset.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/prepare.h"

namespace longrun::coordinator {
namespace {

// The status without the path of `folder`, which is of no use on another machine.
Status WithoutPath(const Status& status, const std::string& folder) {
  if (status.ok()) return status;
  std::string message = status.message();
  for (std::size_t at = 0; (at = message.find(folder, at)) != std::string::npos;) {
    const bool is_file = message.compare(at + folder.size(), 1, "/") == 0;
    const std::string instead = is_file ? "" : "the folder";
    message.replace(at, folder.size() + (is_file ? 1 : 0), instead);
    at += instead.size();
  }
  return Status(status.code(), std::move(message));
}

// A second name for the artifact, so that the store may forget it. On another disk, a copy. Its
// bytes are checked later, with those of the other files.
Status Link(ArtifactStore& artifacts, const ArtifactFile& file, const std::string& path) {
  if (!artifacts.Has(file.sha256)) return NotSent(file);
  ASSIGN_OR_RETURN(const ArtifactStore::Found found, artifacts.Find(file.sha256));
  if (link(found.path.c_str(), path.c_str()) == 0) return Status();
  if (errno == ENOENT) return NotSent(file);
  if (errno != EXDEV) return ErrnoStatus(errno, Str("cannot make ", path));
  std::error_code error;
  if (!std::filesystem::copy_file(found.path, path, error)) {
    return ErrnoStatus(error.value(), Str("cannot make ", path));
  }
  return SyncFile(path);
}

// Also checks that the listing is the one of the folder: the sizes that it names count for the
// dataset's owner.
Status CheckDataset(const std::string& folder, const DatasetListing& listing,
                    const std::function<Status()>& go_on) {
  RETURN_IF_ERROR(CheckListed(folder, listing));
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
  if (dataset.digest() != listing.digest) {
    return Status(Code::kFailedPrecondition, Str(folder, " holds another dataset"));
  }
  return dataset.Verify(go_on);
}

// Drops the artifacts that were linked into `folder` and are damaged, such as those that shared
// their files with a dataset when it was damaged. NotSent if there are any: a new copy may be sent.
Status DropDamaged(ArtifactStore& artifacts, const DatasetListing& listing,
                   const std::string& folder, const std::function<Status()>& go_on) {
  Status not_sent;
  for (const ArtifactFile& file : listing.files) {
    RETURN_IF_ERROR(go_on());
    const std::string link = JoinPath(folder, file.name);
    ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(link));
    if (sha256 == file.sha256 || !artifacts.DropDamaged(file.sha256, link)) continue;
    if (not_sent.ok()) not_sent = NotSent(file);
  }
  return not_sent;
}

Status Fill(ArtifactStore& artifacts, const DatasetListing& listing, const std::string& folder,
            const std::function<Status()>& go_on) {
  for (const ArtifactFile& file : listing.files) {
    RETURN_IF_ERROR(go_on());
    RETURN_IF_ERROR(Link(artifacts, file, JoinPath(folder, file.name)));
  }
  RETURN_IF_ERROR(SyncFolder(folder));
  Status checked = CheckDataset(folder, listing, go_on);
  if (checked.code() != Code::kDataLoss) return checked;
  RETURN_IF_ERROR(DropDamaged(artifacts, listing, folder, go_on));
  return checked;
}

// Makes STATE/datasets/.NAME.receiving of the listing, and calls `publish` with its path.
Status Receive(ArtifactStore& artifacts, const std::string& datasets, const std::string& name,
               const DatasetListing& listing, const std::function<Status()>& go_on,
               const std::function<Status(const std::string& received)>& publish) {
  const std::string unfinished = JoinPath(datasets, Str(".", name, ".receiving"));
  RETURN_IF_ERROR(MakeFolders(datasets, 0700));
  RETURN_IF_ERROR(RemoveAll(unfinished));  // of a coordinator that was killed
  RETURN_IF_ERROR(MakeFolder(unfinished, 0700));
  Status status = Fill(artifacts, listing, unfinished, go_on);
  if (status.ok()) Failpoint("dataset_before_publish");
  if (status.ok()) status = publish(unfinished);
  RETURN_IF_ERROR(RemoveAll(unfinished));
  return status.ok() ? status : WithoutPath(status, unfinished);
}

}  // namespace

Status CheckSent(ArtifactStore& artifacts, const std::string& state, const std::string& name,
                 const DatasetListing& listing) {
  if (PathExists(JoinPath(JoinPath(state, "datasets"), name))) return Status();
  for (const ArtifactFile& file : listing.files) {
    RETURN_IF_ERROR(artifacts.FindSent(file).status());
  }
  return Status();
}

Result<ReceivedDataset> ReceiveDataset(ArtifactStore& artifacts, const std::string& state,
                                       const std::string& name, const DatasetListing& listing,
                                       const std::function<Status()>& go_on) {
  RETURN_IF_ERROR(CheckListing(listing));
  const std::string datasets = JoinPath(state, "datasets");
  const std::string folder = JoinPath(datasets, name);
  if (PathExists(folder)) {
    if (CheckDataset(folder, listing, go_on).ok()) return ReceivedDataset{.folder = folder};
    RETURN_IF_ERROR(go_on());
    if (IsUsersOwn(folder)) {
      return Status(Code::kAlreadyExists,
                    Str("the coordinator's folder \"", name,
                        "\" for this dataset has files that no import made: choose another name"));
    }
    return Status(Code::kAlreadyExists,
                  Str("the coordinator has the remains of another import of \"", name,
                      "\": choose another name, or remove them first with `longrun data rm ", name,
                      "`, for which the role operator is needed"));
  }
  RETURN_IF_ERROR(
      Receive(artifacts, datasets, name, listing, go_on,
              [&](const std::string& received) { return RenameSync(received, folder); }));
  return ReceivedDataset{.folder = folder, .is_new = true};
}

Status CheckStored(const std::string& folder, const std::string& digest,
                   const std::function<Status()>& go_on) {
  const auto check = [&]() -> Status {
    const Status listed = ListDataset(folder).status();
    if (!listed.ok() && listed.code() != Code::kOutOfRange) return listed;  // too many to be sent
    ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
    if (dataset.digest() != digest) {
      return Status(Code::kDataLoss, Str(folder, " holds another dataset"));
    }
    return dataset.Verify(go_on);
  };
  const Status status = WithoutPath(check(), folder);
  // A file that is missing, or a folder and a file in place of each other.
  constexpr Code kDamage[] = {Code::kNotFound, Code::kInvalidArgument, Code::kFailedPrecondition};
  const bool is_damage = std::ranges::find(kDamage, status.code()) != std::end(kDamage);
  return is_damage ? Status(Code::kDataLoss, status.message()) : status;
}

Result<ReceivedDataset> ReceiveAgain(ArtifactStore& artifacts, const std::string& state,
                                     const std::string& name, const DatasetListing& listing,
                                     const std::function<Status()>& go_on) {
  RETURN_IF_ERROR(CheckListing(listing));
  const std::string datasets = JoinPath(state, "datasets");
  const std::string folder = JoinPath(datasets, name);
  if (!PathExists(folder)) return ReceiveDataset(artifacts, state, name, listing, go_on);
  const Result<Removal> held = Removal::Begin(folder);  // so that no import begins there
  if (held.status().code() == Code::kFailedPrecondition) {
    return Status(Code::kUnavailable,
                  Str("an import of \"", name,
                      "\" is running on the coordinator's machine: try again when it has ended"));
  }
  if (!held.ok()) return WithoutPath(held.status(), folder);
  RETURN_IF_ERROR(WithoutPath(held->CheckForeign(), folder));
  RETURN_IF_ERROR(
      Receive(artifacts, datasets, name, listing, go_on,
              [&](const std::string& received) { return ExchangeFolders(received, folder); }));
  return ReceivedDataset{.folder = folder};
}

}  // namespace longrun::coordinator
