// A value in a JSON object by its path, "meta.config", and the condition on one, "PATH==VALUE".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/data/source/source.h"

namespace longrun {

struct FieldFilter {
  std::vector<std::string> path;
  std::string value;  // of text itself, of numbers and booleans as JSON writes them
};

// "a.b" -> {"a", "b"}; kInvalidArgument names the option and an empty name in the path.
Result<std::vector<std::string>> ParseFieldPath(std::string_view option, std::string_view text);
Result<FieldFilter> ParseFieldFilter(std::string_view text);
// Both options, where given.
Status CheckFieldOptions(const SourceOptions& options);

// Null when there is nothing at the path. Where an object is wanted and text is found, the text is
// read as JSON: exports often keep `meta` so. `parsed` then holds what the result points into.
const Json* FindField(const Json& object, const std::vector<std::string>& path, Json& parsed);
bool Matches(const FieldFilter& filter, const Json& object);

}  // namespace longrun
