// Parameters that several evaluations have, declared once; what each means is its own.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/param.h"

namespace longrun {

// "context_lengths", which every evaluation has: ascending, from 1 to `max` tokens.
ParamSpec ContextLengthsParam(std::string_view meaning, std::int64_t max = std::int64_t{1} << 30);
// "split" of those that read a dataset: validation, where it is not given.
ParamSpec SplitParam(std::string_view meaning);

}  // namespace longrun
