// What a task says that a paused sweep holds.
#pragma once

#include <string>

namespace longrun::coordinator {

// "paused: `longrun resume SWEEP` continues it"
std::string PausedText(const std::string& sweep);

}  // namespace longrun::coordinator
