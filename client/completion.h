// Completes command lines, for the scripts that `longrun completion` prints.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace longrun::client {

// The current names of sweeps, runs, datasets or labels. Empty if they cannot be determined.
using LiveNames = std::function<std::vector<std::string>(const std::string& kind)>;

// A line that means: complete file names.
inline constexpr const char* kCompleteFiles = ":files";

// `words` are those after "longrun"; the last one is the beginning of the word to complete (may be
// ""). Returns candidates with this beginning, or kCompleteFiles.
std::vector<std::string> Complete(CLI::App& app, const std::vector<std::string>& words,
                                  const LiveNames& live);

// `longrun __complete WORDS...`: prints them, one per line.
int PrintCompletions(const std::vector<std::string>& words);

}  // namespace longrun::client
