// `-o FORMAT` of a verb.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/console/arguments.h"

namespace longrun::client {

// Adds -o/--output with the first format as the default; anything else is refused by the parser.
std::shared_ptr<std::string> AddOutput(Verb& verb, const std::vector<std::string>& formats);

// Writes to stdout.
void Print(const std::string& text);

// Writes a line to stderr, from any thread. SaidLines() then grows, so that redrawn output starts
// again below the line.
void SayLine(const std::string& line);
std::int64_t SaidLines();

}  // namespace longrun::client
