// Reads and checks ModelConfig (config.h), and reports every error instead of only the first: for
// people who write such JSON by hand.
#pragma once

#include "model/config.h"
#include "model/key_errors.h"

namespace longrun {

// Like FromJson. A member with an error keeps its default; a floating-point number becomes NaN. If
// CheckModel then reports a key that already has an error, it repeats that error.
ModelConfig ReadModel(const Json& model, const Json& position, KeyErrors& errors);

// Like Check, but does not report consequences of a value that is itself wrong. `read` has the
// errors of ReadModel: those about unknown words are reported again, in the order of the settings.
void CheckModel(const ModelConfig& model, KeyErrors& errors, const KeyErrors& read = {});

// Adds the errors of a "position" (PositionErrors). Returns true if there are none.
bool CheckGivenPosition(const Json& given, KeyErrors& errors);

}  // namespace longrun
