// The files that a sweep file names: an evaluation's questions (Evaluation::file_param). What is asked is
// their content, so each is put into the sweep as "sha256:HEX", by an override as `--set` gives them:
// what is submitted does not depend on where files lie.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/evaluation/input_file.h"

namespace longrun {

struct NamedFiles {
  // Those given, and one more for each file: {"evaluate[0].multiple_choice.file", "sha256:HEX"}.
  std::vector<std::pair<std::string, std::string>> overrides;
  std::vector<InputFile> files;
  std::vector<std::string> ids;  // that stood in the sweep as "sha256:HEX" already
};

// Relative paths begin at `folder`. A file that cannot be read, or is none of its kind, is an error
// with the place in the sweep file, as ParseSweep gives them; any other mistake is left to ParseSweep.
Result<NamedFiles> ReadNamedFiles(
    std::string_view yaml, std::string_view file_name, const std::string& folder,
    const std::vector<std::pair<std::string, std::string>>& overrides);

}  // namespace longrun
