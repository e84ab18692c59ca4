// The baseline of retrieval: the same model, reading only the last keys, as many as its train
// length has tokens. A key that is hidden further back is out of its sight.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "sweeps/run.h"

namespace longrun {

// The resolved extension `window` under which the run's model is its own baseline. Null if it has
// none: it cannot be read under `window`, or was trained under an extension, which `window` would
// replace.
Json WindowBaseline(const Run& run);

// The window of a resolved extension that is the baseline of a model with this train length; 0 if
// the extension is another one.
std::int64_t BaselineWindow(const Json& extension, std::int64_t train_length);

}  // namespace longrun
