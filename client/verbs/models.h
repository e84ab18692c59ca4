// The verbs that import and export models; one file each.
#pragma once

#include "client/verb.h"

namespace longrun {

void AddImport(Verbs& verbs);
void AddModels(Verbs& verbs);
void AddExport(Verbs& verbs);

}  // namespace longrun
