// Parameters that several evaluations have, declared once; each evaluation gives its own meaning.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/param.h"

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

}  // namespace longrun
