// -o markdown: a GitHub-flavoured table.
#pragma once

#include <string>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun::client {

std::string RenderTablesMarkdown(const std::vector<PivotTable>& tables);

}  // namespace longrun::client
