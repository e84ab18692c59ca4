// The datasets of this machine, found by digest: those in the worker's own folder, and the
// registered folder of a dataset, if this machine can see it.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::agent {

// The digests in datasets_dir/*/dataset.json. Ignores anything that is not a dataset.
std::vector<std::string> DatasetDigests(const std::string& datasets_dir);

// The folder in datasets_dir that holds the dataset with this digest; "": none.
std::string FindDataset(const std::string& digest, const std::string& datasets_dir);

// Whether the manifest in `folder` has the digest; the trainer checks the tokens themselves.
// kNotFound says what is there instead, or why it cannot be read.
Status CheckDatasetFolder(const std::string& digest, const std::string& folder);

}  // namespace longrun::agent
