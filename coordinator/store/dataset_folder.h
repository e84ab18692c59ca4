// The folder of a registered dataset, as the database stores it. A folder within the state folder
// is stored relative to it, so a moved state folder keeps its datasets, and a copy has datasets of
// its own. All other folders are stored as they were given.
#pragma once

#include <string>

namespace longrun::coordinator {

// `folder`: absolute. Follows symbolic links only to find out whether the folder is within `state`.
std::string StoredDatasetFolder(const std::string& state, const std::string& folder);

// The absolute path of a stored folder. An earlier release stored only absolute paths. If such a
// path ends with datasets/NAME, and the folder of this name in `state` holds the dataset with this
// digest, returns the folder in `state`.
std::string CurrentDatasetFolder(const std::string& state, const std::string& name,
                                 const std::string& digest, const std::string& stored);

}  // namespace longrun::coordinator
