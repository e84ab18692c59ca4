// -o latex: a tabular with the rules of the package booktabs.
#pragma once

#include <string>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun::client {

std::string RenderTablesLatex(const std::vector<PivotTable>& tables);  // booktabs

}  // namespace longrun::client
