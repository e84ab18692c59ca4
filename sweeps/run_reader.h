// Reads many runs from their canonical JSON. Most runs of a large sweep differ only in the seed,
// and nothing else of a run depends on it. So each group of such runs is parsed once.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/status.h"
#include "sweeps/run.h"

namespace longrun {

class RunReader {
 public:
  // Like Run::FromJson of the parsed text, with the same errors.
  Result<Run> Read(std::string_view text);

 private:
  std::unordered_map<std::string, Run> runs_;  // by text without the digits of the seed
  std::string key_;
};

}  // namespace longrun
