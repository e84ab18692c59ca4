// What can stand next on a command line: asked by the scripts that `longrun completion` prints.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace longrun {

// Names that exist now: of sweeps, runs, datasets, labels. An empty list when nobody can tell.
using LiveNames = std::function<std::vector<std::string>(const std::string& kind)>;

// A line that stands for the names of files.
inline constexpr const char* kCompleteFiles = ":files";

// `words` are those behind "longrun", the last one what has been typed of the one in question (""
// when none of it). Candidates that begin so, or kCompleteFiles.
std::vector<std::string> Complete(CLI::App& app, const std::vector<std::string>& words,
                                  const LiveNames& live);

// `longrun __complete WORDS...`: prints them, one a line.
int PrintCompletions(const std::vector<std::string>& words);

}  // namespace longrun
