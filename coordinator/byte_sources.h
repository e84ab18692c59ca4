// Where the bytes with a digest are on the coordinator's machine. They are sent from there, without
// a copy:
//
//   STATE/artifacts                  the artifact store
//   folders of registered datasets   the files of a dataset, model/data/dataset_files.h
//   STATE/files                      files that evaluations name, model/evaluation/input_file.h
//
// The last two may change at any time, so whoever receives their bytes must hash them. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/artifact_file.h"
#include "base/status.h"
#include "coordinator/store/artifacts.h"
#include "model/data/dataset_files.h"

namespace longrun::coordinator {

class ByteSources {
 public:
  // `artifacts` must outlive this.
  ByteSources(const ArtifactStore& artifacts, std::string state_folder);
  void SetDatasetFolders(std::vector<std::string> folders);

  struct Found {
    std::string path;  // of a regular file
    std::int64_t n_bytes = 0;
  };
  // kNotFound; kInvalidArgument if `sha256` is not a digest.
  Result<Found> Find(const std::string& sha256) const;

  // The files of the dataset in `folder`. Listed again only after its dataset.json has changed.
  // Errors: see ListDataset.
  Result<DatasetListing> List(const std::string& folder) const;

  // The file that an evaluation names as "sha256:HEX", with its digest as its name. 0 bytes if it
  // is not there: whoever asks for its bytes is told so.
  ArtifactFile InputFile(const std::string& id) const;

 private:
  struct Listed;
  Result<std::shared_ptr<const Listed>> ListedAt(const std::string& folder) const;

  const ArtifactStore& artifacts_;
  const std::string files_folder_;
  mutable std::mutex mutex_;  // guards the two below
  std::vector<std::string> dataset_folders_;
  mutable std::map<std::string, std::shared_ptr<const Listed>> listed_;  // by folder
};

}  // namespace longrun::coordinator
