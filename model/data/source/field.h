// Finds a value in a JSON object by its path, "meta.config", and tests a condition on a value,
// "PATH==VALUE".
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
  std::string value;  // text as it is; numbers and booleans as in JSON
};

// "a.b" -> {"a", "b"}; kInvalidArgument names the option and an empty name in the path.
Result<std::vector<std::string>> ParseFieldPath(std::string_view option, std::string_view text);
Result<FieldFilter> ParseFieldFilter(std::string_view text);
// Checks both options, if given.
Status CheckFieldOptions(const SourceOptions& options);

// Null if there is nothing at the path. Text in place of an object is parsed as JSON, since exports
// often store `meta` in this way; `parsed` then holds the object into which the result points.
const Json* FindField(const Json& object, const std::vector<std::string>& path, Json& parsed);
bool Matches(const FieldFilter& filter, const Json& object);

}  // namespace longrun
