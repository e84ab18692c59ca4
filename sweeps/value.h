// Values of a sweep file: turns a YAML node into JSON with the type that the table has for its key,
// and words the errors: what was expected, and what was found.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/param.h"
#include "sweeps/schema.h"
#include "sweeps/yaml_tree.h"

namespace longrun {

// A scalar (or pair of numbers) as JSON, with its row's type. An error's message is the part that
// follows the path: "expected a count from 1 to 10, found "fast"".
Result<Json> TypeValue(const KeyRow& row, const YamlNode& node);
Result<Json> TypeValue(const ParamSpec& spec, const YamlNode& node);
// A parameter's value as JSON, read with the parameter's type. A value that does not fit stays
// text, and CheckParams refuses it.
Json TypeParam(const ParamSpec& spec, const YamlNode& node);

// The values that a key accepts, for messages and the reference: "a number from 0 to 10".
std::string ExpectedValue(const KeyRow& row);

// The meaning of a parameter after its conditions: "(protocol rolling, last_k) tokens that ...".
std::string ParamMeaning(const ParamSpec& spec);

// A node for messages: "fast" in quotes, at most 60 bytes; "a list", "a map", "nothing".
std::string ShowNode(const YamlNode& node);
// `; did you mean "buckets"?`, or the list of names.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& names);

}  // namespace longrun
