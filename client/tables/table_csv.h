// -o csv: one line per cell, for a spreadsheet or a program. The columns and their order do not
// depend on --rows and --cols, except that a key of a run named there becomes a column.
#pragma once

#include <string>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun::client {

std::string RenderTablesCsv(const std::vector<PivotTable>& tables);  // a line per cell, RFC 4180

}  // namespace longrun::client
