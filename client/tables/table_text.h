// -o table and -o wide: columns for people.
#pragma once

#include <string>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun::client {

std::string RenderTablesText(const std::vector<PivotTable>& tables);
std::string RenderTablesWide(const std::vector<PivotTable>& tables);  // with seeds, runs, digits

}  // namespace longrun::client
