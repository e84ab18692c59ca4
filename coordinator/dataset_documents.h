// The documents of registered datasets, which the database does not have: read from their folders.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "coordinator/store/store.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// The number of documents of each split; empty if the folder does not hold the dataset.
std::map<std::string, std::int64_t> SplitDocuments(const DatasetRow& row);

// The dataset's facts with its documents.
DatasetInfo WithDocuments(const DatasetRow& row);

}  // namespace longrun::coordinator
