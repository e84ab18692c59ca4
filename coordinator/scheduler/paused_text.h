// What a task says that a paused sweep holds.
#pragma once

#include <string>
#include <string_view>

namespace longrun::coordinator {

// "paused: `longrun resume SWEEP` continues it"
std::string PausedText(const std::string& sweep);
bool IsPausedText(std::string_view text);

}  // namespace longrun::coordinator
