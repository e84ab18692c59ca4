// The steps of a tests/cli/*.test file that make, damage and look at files (runner.h has the list).
// Paths are relative to the folder of the test.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

struct FileStep {
  std::string_view name;
  bool takes_body = false;  // the lines below the command are its input, not expected output
  // What it prints; an error is a failure of the test.
  Result<std::vector<std::string>> (*run)(const std::string& folder,
                                          const std::vector<std::string>& words,
                                          const std::vector<std::string>& body) = nullptr;
};

// Null when no file step has the name.
const FileStep* FindFileStep(std::string_view name);

// Unpacks tests/golden/NAME.tar.zst into folder `to`, which is made.
Status UnpackGolden(const std::string& name, const std::string& to);

// "\n", "\\", "\xHH", and "\*N*" for N bytes of zero, as the bytes that they stand for.
Result<std::string> UnescapeBytes(std::string_view text);

}  // namespace longrun
