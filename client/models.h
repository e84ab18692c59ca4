// The verbs of models that come from elsewhere and go elsewhere; one file each.
#pragma once

#include "client/verb.h"

namespace longrun {

void AddImport(Verbs& verbs);
void AddModels(Verbs& verbs);
void AddExport(Verbs& verbs);

}  // namespace longrun
