// Questions to a person at the terminal.
#pragma once

#include <string>

#include "base/status.h"

namespace longrun::client {

// Whether standard input is a terminal, so that somebody can answer.
bool CanAsk();

// Writes `question` to stderr and reads one line. `is_secret`: the terminal does not show what is
// typed. kCancelled at the end of the input.
Result<std::string> Ask(const std::string& question, bool is_secret);

}  // namespace longrun::client
