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

// Writes to stdout: data for programs, unchanged.
void Print(const std::string& text);
// The same for people: suggested commands (suggestion.h) get the option that they need.
void PrintText(const std::string& text);

// Writes to stderr, from any thread; suggested commands get the option that they need. SaidLines()
// then grows, so that redrawn output starts again below the text.
void SayText(const std::string& text);
void SayLine(const std::string& line);
std::int64_t SaidLines();

}  // namespace longrun::client
