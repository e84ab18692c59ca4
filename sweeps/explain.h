// Explains a name of the sweep language: a key of the sweep file, a position method, an evaluation,
// one of their parameters, a failure class, a published table. Everything comes from the tables
// that the parser, the registries and the scheduler use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// "spec.train.optimizer.lr" (also without "spec."), "position.cable", "position.cable.variant",
// "evaluate.perplexity", "failure.lost", "published.alibi-wikitext103" (published.h), or a planned
// name ("pose", unbuilt.h). The names "position", "evaluate", "failure" and "published" list their
// members.
//   {"path", "kind": key | position | evaluation | parameter | failure | published | list |
//    planned, "meaning"; and those of these that apply: "type", "value", "default", "required",
//    "axis", "source", "notes", "example", "members"}
// A member has "path" and "meaning"; a parameter also "value", "default" and "required".
// kNotFound suggests the nearest name.
Result<Json> Explain(std::string_view path);

// The same as text for people.
std::string ExplainText(const Json& explained);

// Every path that Explain accepts, for completion; without those of unbuilt.h.
std::vector<std::string> ExplainPaths();

}  // namespace longrun
