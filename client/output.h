// `-o FORMAT` of a verb.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace longrun {

// Adds -o/--output with the first format as the default; anything else is refused by the parser.
std::shared_ptr<std::string> AddOutput(CLI::App& verb, const std::vector<std::string>& formats);

// What stands at the end of the verb's --help: one or two lines to copy. A test parses each.
void AddExamples(CLI::App& verb, const std::vector<std::string>& lines);

// Writes to stdout.
void Print(const std::string& text);

// A line on stderr, from any thread. What is redrawn there begins anew below it: SaidLines() has grown.
void SayLine(const std::string& line);
std::int64_t SaidLines();

}  // namespace longrun
