// What the next attempt of an evaluate task gets of its earlier ones.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "coordinator/store/store.h"
#include "sweeps/earlier_results.h"

namespace longrun::coordinator {

// Of the rows that equal programs measured for one cell, the newest is enough. Leaves out lines
// that cannot be read, and rows with a file that is gone: `has_file` is asked by its SHA-256.
std::vector<EarlierResults> ReadEarlierResults(
    const std::vector<EarlierLines>& earlier,
    const std::function<bool(const std::string& sha256)>& has_file);

}  // namespace longrun::coordinator
