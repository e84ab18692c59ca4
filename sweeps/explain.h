// What a name of the language means: a key of the sweep file, a position method, an evaluation, one
// of their parameters, a failure class. Everything comes from the tables that the parser, the
// registries and the scheduler read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// "spec.train.optimizer.lr" (also without "spec."), "position.cable", "position.cable.variant",
// "evaluate.perplexity", "failure.lost"; "position", "evaluate" and "failure" list what there is.
//   {"path", "kind": key | position | evaluation | parameter | failure | list, "meaning", and where
//    they apply: "type", "value", "default", "required", "axis", "source", "example", "members"}
// kNotFound carries the nearest name.
Result<Json> Explain(std::string_view path);

// The same for people.
std::string ExplainText(const Json& explained);

// Every path that Explain knows, for completion.
std::vector<std::string> ExplainPaths();

}  // namespace longrun
