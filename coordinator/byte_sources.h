// Where the bytes with a digest are on the coordinator's machine. They are sent from there, without
// a copy:
//
//   STATE/artifacts                  the artifact store
//   folders of registered datasets   the files of a dataset, model/data/dataset_files.h
//   STATE/files                      files that evaluations name, model/evaluation/input_file.h
//
// The last two may change at any time, so whoever receives their bytes must hash them.
//
// The folder of a dataset may be on another machine's disk, which may not answer for as long as it
// likes. So nothing here may be called on the core's thread, and only one caller of Find lists a
// folder at a time; each opens the files that it found. Any other thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/artifact_file.h"
#include "base/clock.h"
#include "base/status.h"
#include "coordinator/store/artifacts.h"
#include "model/data/dataset_files.h"

namespace longrun::coordinator {

class ByteSources {
 public:
  struct Options {
    std::function<std::int64_t()> now_ms = &BootMs;
    std::function<Result<DatasetListing>(const std::string& folder)> list = &ListDataset;
  };
  // `artifacts` must outlive this.
  ByteSources(const ArtifactStore& artifacts, std::string state_folder, Options options);
  ByteSources(const ArtifactStore& artifacts, std::string state_folder)
      : ByteSources(artifacts, std::move(state_folder), Options()) {}
  void SetDatasetFolders(std::vector<std::string> folders);

  struct Found {
    std::string path;  // of a regular file
    std::int64_t n_bytes = 0;
  };
  // Looks into the folders whose listings have the digest; and if none has, into those that were
  // not looked at for some seconds. kNotFound; kInvalidArgument if `sha256` is not a digest;
  // kUnavailable if another thread is looking into a folder that may have it.
  Result<Found> Find(const std::string& sha256) const;

  // Whether a registered dataset or the files of evaluations have the bytes, or may have them.
  bool IsSource(const std::string& sha256) const;

  // The files of the dataset in `folder`. Listed again only after its dataset.json has changed; a
  // folder that could not be listed, also after some seconds. Errors: see ListDataset.
  Result<DatasetListing> List(const std::string& folder) const;

  // The file that an evaluation names as "sha256:HEX", with its digest as its name. 0 bytes if it
  // is not there: whoever asks for its bytes is told so.
  ArtifactFile InputFile(const std::string& id) const;

 private:
  struct Listed;
  struct Folder {
    std::shared_ptr<const Listed> listed;  // null: never looked into
    std::int64_t looked_at_ms = 0;
    int n_looking = 0;  // threads
  };
  struct Stale {
    std::string path;
    std::shared_ptr<const Listed> known;
  };
  // Adds what is wrong with the file to `problem`.
  static std::optional<Found> LookAt(const std::string& path, Status& problem);
  // Looks into no folder that was not listed.
  std::optional<Found> FindKnown(const std::string& sha256, Status& problem) const;
  Result<Found> FindSource(const std::string& sha256) const;
  // The paths under which the listings have the digest.
  std::vector<std::string> ListedPaths(const std::string& sha256) const;
  // Takes a folder into which nobody has looked lately, for a call of LookInto.
  std::optional<Stale> TakeStale(std::set<std::string>& seen, bool& is_being_looked_into) const;
  // Looks into the folder, in whose `n_looking` the caller is counted, and notes what it finds.
  std::shared_ptr<const Listed> LookInto(const std::string& path,
                                         const std::shared_ptr<const Listed>& known) const;
  std::shared_ptr<const Listed> Look(const std::string& path,
                                     const std::shared_ptr<const Listed>& known) const;

  const ArtifactStore& artifacts_;
  const std::string files_folder_;
  const Options options_;
  mutable std::mutex mutex_;  // guards the two below; never held while a folder is looked into
  std::vector<std::string> dataset_folders_;
  mutable std::map<std::string, Folder> folders_;  // by path
};

}  // namespace longrun::coordinator
