// An extension: how a rotary model reads texts longer than those it was trained on. It changes the
// frequencies and a magnitude and learns nothing. One file and one line of registry.cc each.
//
//   q, k are rotated by p * frequency'[c], and their rotated channels are multiplied by `magnitude`
//
// Notation: d rotary channels of a head, base, frequency[c] = base^(-2c/d), c = 0 .. d/2 - 1; s
// factor, L0 original_length, L tokens of the text. Torch-free.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/param.h"

namespace longrun {

// The rotation that a model was trained with.
struct RopeShape {
  double base = 10000.0;
  std::int64_t n_rotary = 0;  // d
};

struct ExtendedRotation {
  std::vector<double> frequency;  // d/2
  double magnitude = 1.0;
};

struct Extension {
  std::string_view name;
  std::string_view source;
  std::vector<ParamSpec> params;
  // Names of parameters that are lists of d/2 positive numbers.
  std::span<const std::string_view> lists = {};
  // Writes the defaults that depend on other parameters,
  // for those that `given` lacks. Usually null.
  void (*refine_defaults)(const Json& given, Json& params) = nullptr;
  // The rotation for a text of n_tokens. An error names the parameter ("method" for the extension
  // itself) that does not fit the model's rotation.
  ParamResult<ExtendedRotation> (*rotation)(const Json& params, const RopeShape& shape,
                                            std::int64_t n_tokens);
  // The rotation depends on n_tokens if n_tokens exceeds params.original_length.
  bool by_length = false;
};

// All, in listing order.
std::span<const Extension* const> Extensions();
// kNotFound with the nearest name and the list.
Result<const Extension*> FindExtension(std::string_view name);

// All errors of {"method": "yarn", "factor": 4, "original_length": 4096}, by key: "method" or a
// parameter's name.
std::vector<ParamError> ExtensionErrors(const Json& given);
// Returns the complete parameters with "method", or all errors as "extend.KEY: message".
Result<Json> ResolveExtension(const Json& given);

// base^(-2c/d)
std::vector<double> RopeFrequencies(const RopeShape& shape);

// Parameters that most extensions have.
ParamSpec FactorParam();
ParamSpec OriginalLengthParam(bool required);

}  // namespace longrun
