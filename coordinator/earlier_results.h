// What the next attempt of an evaluate task gets of its earlier ones.
#pragma once

#include <functional>
#include <vector>

#include "coordinator/store/reader.h"
#include "sweeps/earlier_results.h"
#include "sweeps/record.h"

namespace longrun::coordinator {

// Of the rows that equal programs measured for one cell, the newest is enough. Leaves out lines
// that cannot be read or would be too long for a journal, rows without a value, and rows with a
// file of which `has_file` says that it is gone.
std::vector<EarlierResults> ReadEarlierResults(
    const std::vector<EarlierLines>& earlier,
    const std::function<bool(const ArtifactRecord& file)>& has_file);

}  // namespace longrun::coordinator
