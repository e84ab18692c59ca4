// The datasets of this machine, found by digest: those in the worker's own folder, and the
// registered folder of a dataset, if this machine can see it.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::agent {

// The digests in datasets_dir/*/dataset.json. Ignores anything that is not a dataset.
std::vector<std::string> DatasetDigests(const std::string& datasets_dir);

// The folder of the dataset with this digest: one in datasets_dir, else registered_path if its
// manifest has the digest. kNotFound names both places. The trainer checks the tokens themselves.
Result<std::string> FindDataset(const std::string& digest, const std::string& datasets_dir,
                                const std::string& registered_path);

}  // namespace longrun::agent
