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

}  // namespace longrun
