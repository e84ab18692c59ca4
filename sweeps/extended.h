// An evaluation under an extension: {name: parameters} with the parameter "extension", which holds
// the resolved extension (model/extension/). Without it, the model is read as it was trained.
//
// Stored and sent in this form. In what identifies cells and tasks, and in task files, the
// extension stands beside the evaluation.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace longrun {

// Null: none.
Json ExtensionOf(const Json& evaluation);
Json WithExtension(Json evaluation, const Json& extension);
Json WithoutExtension(Json evaluation);

// What tables call it for a model that was trained on texts of trained_length tokens (0: unknown):
// "none", "pi", or {"method": "yarn", "factor": 4}, without defaults.
Json ExtensionName(const Json& evaluation, std::int64_t trained_length);
// The order of such names in tables: none, then as Extensions() lists them, then by parameters.
bool IsExtensionBefore(const Json& a, const Json& b);

}  // namespace longrun
