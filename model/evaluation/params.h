// Parameters that several evaluations have, declared once; each evaluation gives its own meaning.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "model/language_model.h"
#include "model/param.h"
#include "model/precision.h"

namespace longrun {

// "context_lengths", which every evaluation has: ascending, from 1 to `max` tokens.
ParamSpec ContextLengthsParam(std::string_view meaning, std::int64_t max = std::int64_t{1} << 30);
// "split", for evaluations that read a dataset; the default is validation.
ParamSpec SplitParam(std::string_view meaning);
// "baseline" of an evaluation that writes: whether a sweep also measures the model with a plain
// window as long as its train length (sweeps/window_baseline.h). Only the sweep reads it: stored
// evaluations do not have it.
ParamSpec WindowBaselineParam();
inline constexpr const char* kBaselineParam = "baseline";
inline constexpr const char* kWindowBaseline = "window";
inline constexpr const char* kNoBaseline = "none";

// "precision": optional, and absent for fp32, so that a cell in fp32 is the same one with or
// without it. Of an evaluation whose model computes in the type that the caller made it with.
ParamSpec PrecisionParam();
// Of an evaluation's resolved parameters; fp32 if they do not have one.
Precision PrecisionOf(const Json& params);
// Of an evaluation {name: parameters}; fp32 if this build does not know the name.
Precision EvaluationPrecision(const Json& evaluation);

// How an evaluation that writes chooses tokens: "temperature", "top_k", "top_p" (model/sampling.h)
// and "min_new_tokens" (Prompt::min_new_tokens). All are optional; without them the most likely
// token is written.
std::vector<ParamSpec> DecodingParams();
// An answer has room for n_new_tokens.
std::optional<ParamError> CheckDecoding(const Json& params, std::int64_t n_new_tokens);
// `seed` belongs to this prompt alone.
void SetDecoding(const Json& params, std::uint64_t seed, Prompt& prompt);
// Those of the parameters above that are given, for rows.
Json DecodingOf(const Json& params);

}  // namespace longrun
