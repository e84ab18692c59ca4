// The files that a sweep file names: an evaluation's questions (Evaluation::files). An
// evaluation depends on their content, so each name is replaced in the sweep by "sha256:HEX"
// through an override, as with `--set`. So a submission does not depend on where files are.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/evaluation/input_file.h"

namespace longrun {

struct NamedFiles {
  // The given overrides, and one more for each file:
  // {"evaluate[0].multiple_choice.file", "sha256:HEX"}.
  std::vector<std::pair<std::string, std::string>> overrides;
  std::vector<InputFile> files;
  std::vector<std::string> ids;  // already given in the sweep as "sha256:HEX"
  std::string sweep = {};        // its name; "" if it has none
  // Names files that cannot be read or are not of the right kind, with their places in the sweep
  // file, one per line, like the errors of ParseSweep. ParseSweep reports all other mistakes; it
  // also refuses such a file at the same place, since the file has no override.
  Status problems = {};
};

// Relative paths start at `folder`.
NamedFiles ReadNamedFiles(std::string_view yaml, std::string_view file_name,
                          const std::string& folder,
                          const std::vector<std::pair<std::string, std::string>>& overrides);

}  // namespace longrun
