// The values of a sweep file: a YAML node as its row of the table wants it, and the words for what
// was expected and what was found.
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

// A scalar (or pair of numbers) as its row wants it. The error is what stands behind the path:
// "expected a count from 1 to 10, found "fast"".
Result<Json> TypeValue(const KeyRow& row, const YamlNode& node);
Result<Json> TypeValue(const ParamSpec& spec, const YamlNode& node);
// A parameter's value as JSON, read by the parameter's type: what does not fit it stays text, and
// is refused by CheckParams.
Json TypeParam(const ParamSpec& spec, const YamlNode& node);

// "a number from 0 to 10": what a key takes, as messages and the reference say it.
std::string ExpectedValue(const KeyRow& row);

// What a parameter means, behind what it belongs to: "(protocol rolling, last_k) tokens that ...".
std::string ParamMeaning(const ParamSpec& spec);

// "fast" for messages: at most 60 bytes, in quotes; "a list", "a map", "nothing".
std::string ShowNode(const YamlNode& node);
// `; did you mean "buckets"?`, or the names there are.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& names);

}  // namespace longrun
