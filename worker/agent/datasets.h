// The datasets of this machine, found by digest: those in the worker's own folder, and the folder
// where a dataset was registered, when this machine sees it.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

// Digests of datasets_dir/*/dataset.json. What is no dataset is passed over.
std::vector<std::string> DatasetDigests(const std::string& datasets_dir);

// The folder that holds the dataset with this digest: of datasets_dir's, else registered_path when
// its manifest says so. kNotFound names both places. The trainer checks the tokens themselves.
Result<std::string> FindDataset(const std::string& digest, const std::string& datasets_dir,
                                const std::string& registered_path);

}  // namespace longrun
