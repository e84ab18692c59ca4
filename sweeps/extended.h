// An evaluation under an extension: {name: parameters} with the parameter "extension", which holds
// the resolved extension (model/extension/). Without it, the model is read as it was trained.
//
// Evaluations are stored and sent in this form. In the keys of cells and tasks, and in task files,
// the extension is a separate member next to the evaluation.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace longrun {

// Null if there is none.
Json ExtensionOf(const Json& evaluation);
Json WithExtension(Json evaluation, const Json& extension);
Json WithoutExtension(Json evaluation);

// The extension's name in tables, for a model that was trained on texts of trained_length tokens
// (0: unknown): "none", "pi", or {"method": "yarn", "factor": 4}, without defaults. If numbers
// depend on the pieces in which a text is read (Extension::piece), their length is always named:
// {"method": "gali", "chunk": 3000}.
Json ExtensionName(const Json& evaluation, std::int64_t trained_length);
// The same for a resolved extension (null: none).
Json NameOfExtension(const Json& extension, std::int64_t trained_length);
// Orders such names in tables: first "none", then the order of Extensions(), then by parameters.
bool IsExtensionBefore(const Json& a, const Json& b);

}  // namespace longrun
