// Reads the numbers in the stored rows of an attempt, to compare two measurements of the same
// cells.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/scheduler/state.h"

namespace longrun::coordinator {

class Connection;

// Skips rows that cannot be read.
Result<std::vector<MeasuredNumber>> ReadNumbers(Connection& connection, const std::string& attempt);

}  // namespace longrun::coordinator
