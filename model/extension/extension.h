// An extension: how a rotary model reads texts longer than those it was trained on. It learns
// nothing. One file and one line of registry.cc each. Extensions of the first kind change the
// frequencies and a magnitude:
//
//   q, k are rotated by p * frequency'[c], and their rotated channels are multiplied by `magnitude`
//
// Extensions of the second kind keep the frequencies. They change the positions of queries and
// keys, or which keys a query sees (reading.h).
//
// Notation: d rotary channels of a head, base, frequency[c] = base^(-2c/d), c = 0 .. d/2 - 1; s
// factor, L0 original_length, L tokens of the text. Torch-free.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/extension/reading.h"
#include "model/param.h"

namespace longrun {

struct ModelConfig;

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
  std::string_view meaning;
  std::vector<ParamSpec> params;
  // For parameters that `given` lacks, writes the defaults that depend on other parameters. Usually
  // null.
  void (*refine_defaults)(const Json& given, Json& params) = nullptr;
  // The rotation for a text of n_tokens. An error names the parameter ("method" for the extension
  // itself) that does not fit the model's rotation.
  // Null: the model's own rotation.
  ParamResult<ExtendedRotation> (*rotation)(const Json& params, const RopeShape& shape,
                                            std::int64_t n_tokens) = nullptr;
  // Whether a text of more than params.original_length tokens is read differently at each length.
  // Null: never.
  bool (*by_length)(const Json& params) = nullptr;
  // Whether a model may be trained under it, at the frequencies with which it is read afterwards.
  bool trains = false;
  // Whether params.original_length must be given or known.
  bool needs_original_length = false;
  // The plan for a stretch of a text. Null: every key is at its own position, and is seen.
  Reading (*read)(const Json& params, const Stretch& stretch) = nullptr;
  // The number of tokens to read at once after n_read tokens (at least 1). Each gets the position
  // that it has once the whole piece is there. Null: any number may be read at once, with the same
  // result.
  std::int64_t (*piece)(const Json& params, std::int64_t n_read) = nullptr;
  // When a text grows from n_before to n_now tokens: the number of leading keys whose rows in all
  // key sets stay the same. Null: n_before.
  std::int64_t (*keys_kept)(const Json& params, std::int64_t n_before,
                            std::int64_t n_now) = nullptr;
  // `read` and `keys_kept` for single tokens after cached keys: the same scores by a plan in which
  // more keys keep their rows. Null, both: those above.
  Reading (*read_token)(const Json& params, const Stretch& token) = nullptr;
  std::int64_t (*keys_kept_by_tokens)(const Json& params, std::int64_t n_before,
                                      std::int64_t n_now) = nullptr;
  // Why the kernels cannot express all of its readings (Reading::IsForKernels): "the kernels add no
  // noise to scores"; "" if they can. Null: they can.
  std::string (*why_not_by_kernels)(const Json& params) = nullptr;
  // Returns an error if the extension is meant to avoid distances that texts of
  // params.original_length do not have, but a text of n_tokens still has some. Null: never.
  std::optional<ParamError> (*check_length)(const Json& params, std::int64_t n_tokens) = nullptr;
  // What a user should know about a text of n_tokens that is read with these parameters: the name
  // of a parameter, and a message with the remedy. It is not an error. Null: nothing.
  std::optional<ParamError> (*warn)(const Json& params, std::int64_t n_tokens) = nullptr;
  // Returns an error if the positions of a text of n_tokens, in steps of Reading::steps, do not fit
  // into 32 bits. Null: steps is 1.
  std::optional<ParamError> (*check_positions)(const Json& params, std::int64_t n_tokens) = nullptr;
  // Checks what parameter types cannot express, for example that one parameter must not exceed
  // another. Usually null.
  std::optional<ParamError> (*check)(const Json& params) = nullptr;
};

// All extensions, in listing order.
std::span<const Extension* const> Extensions();
std::vector<std::string> ExtensionNames();
// kNotFound with the nearest name and the list.
Result<const Extension*> FindExtension(std::string_view name);

// All errors of {"method": "yarn", "factor": 4, "original_length": 4096}, by key: "method" or a
// parameter's name.
std::vector<ParamError> ExtensionErrors(const Json& given);
// Returns the complete parameters with "method", or all errors as "extend.KEY: message".
Result<Json> ResolveExtension(const Json& given);

// Returns `given` with original_length = trained_length (0: unknown) if the extension needs one and
// `given` has none. What names no known extension is returned as it is: ExtensionErrors() reports
// that.
Json WithOriginalLength(Json given, std::int64_t trained_length);
// Returns resolved parameters as a person would write them, without those that follow from
// trained_length and the defaults. Example: {"method": "yarn", "factor": 4}, or "pi" if only the
// method is left.
Json AsGiven(const Json& resolved, std::int64_t trained_length);

// A resolved extension, or what a person would write for it, in one line: "pi",
// "yarn(factor=4)".
std::string ExtensionText(const Json& extension);

// Returns the reason why the model cannot be read under the resolved extension: an error with its
// key ("method" or a parameter's name). Returns nothing if it can.
std::optional<ParamError> WhyNotExtended(const Json& extension, const ModelConfig& model);
// Returns the reason why the model cannot be trained under the resolved extension, like
// WhyNotExtended().
std::optional<ParamError> WhyNotTrainedUnder(const Json& extension, const ModelConfig& model);
// Returns the reason why a text of n_tokens cannot be read under the resolved extension, or would
// be read at distances that the extension is meant to avoid.
std::optional<ParamError> WhyTooLong(const Json& extension, std::int64_t n_tokens);
// What a user should know about a text of n_tokens under the resolved extension (Extension::warn).
std::optional<ParamError> WarningAt(const Json& extension, std::int64_t n_tokens);
// Why some attention under the resolved extension (null: none) is computed by LibTorch's operators
// even where the kernels are chosen; "" if none is.
std::string WhyNotByKernels(const Json& extension);
// The rotation of a model. Call it only if WhyNotExtended() returned nothing.
RopeShape RopeShapeOf(const ModelConfig& model);

// base^(-2c/d)
std::vector<double> RopeFrequencies(const RopeShape& shape);

// Parameters that most extensions have.
ParamSpec FactorParam();
ParamSpec OriginalLengthParam(bool needed);
// A number of tokens; at least 1, or 0 for a default that depends on other parameters.
ParamSpec LengthParam(std::string_view name, Json default_value, std::string_view meaning);
inline constexpr std::int64_t kGroupMax = 1 << 20;
// A parameter of Su's methods: whether scores grow with the logarithm of the position.
ParamSpec LognParam();
// max(1, ln(p + 1) / ln L0) for each query; empty unless params.logn.
std::vector<double> LogFactors(const Json& params, const Stretch& stretch);
// For a method that divides distances beyond params.window by params[divisor]: an error if the
// distances in a text of n_tokens do not stay below L0. The message names values that would work.
// longest(L0, window, divisor) is the longest text in which they do.
std::optional<ParamError> CheckDivided(
    const char* divisor, const Json& params, std::int64_t n_tokens,
    std::int64_t (*longest)(std::int64_t original, std::int64_t window, std::int64_t divisor));
// For a method whose positions are in steps of 1 / params[key]: the error of check_positions.
std::optional<ParamError> CheckSteps(const char* key, const Json& params, std::int64_t n_tokens);
// An error if the parameter is original_length or more: then nothing would be extended.
std::optional<ParamError> CheckBelowOriginal(const char* name, const Json& params);
// For a method that sees some keys at distances of up to params[name]: an error if that is more
// than `most` in a text of n_tokens, so that the text has distances that texts of original_length
// do not have.
std::optional<ParamError> CheckTrainedDistances(const char* name, const Json& params,
                                                std::int64_t most, std::int64_t n_tokens);

}  // namespace longrun
