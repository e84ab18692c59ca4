// Finds a value in a JSON object by its path, "meta.config", and tests a condition on a value,
// "PATH==VALUE".
#pragma once

#include <optional>
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

// What is at a path. Of an object and a list, only the type is kept.
struct FoundField {
  Json::value_t type = Json::value_t::null;
  Json value = {};  // of text, a number, a boolean

  std::string_view TypeName() const;  // "string", in nlohmann's words
};

// Nullopt: there is nothing at the path.
using FoundFields = std::vector<std::optional<FoundField>>;

// Reads a JSON object, and keeps only what is at `paths`: memory depends on that, on the number of
// keys of the objects that are open at the same time, and on the longest text, not on the rest.
// Refuses what ParseJson() refuses, and a value that is not an object.
//
// Text in place of an object is parsed as JSON, since exports often store `meta` in this way.
Result<FoundFields> ReadFields(std::string_view text,
                               const std::vector<std::vector<std::string>>& paths,
                               const JsonLimits& limits);
bool Matches(const FieldFilter& filter, const std::optional<FoundField>& found);

}  // namespace longrun
