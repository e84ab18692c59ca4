// The files of an import: found by their patterns, put in order, and named so that a changed one is
// another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error_list.h"
#include "base/status.h"
#include "model/data/prepare.h"

namespace longrun {

struct ListedSource {
  std::string path{};   // as it can be opened
  std::string shown{};  // as it was listed, for messages and the manifest
  std::string split{};  // "" where a rule decides by document
  std::int64_t bytes = 0;
  std::string key{};  // names its part: file (place, size, time of change), tokenizer and settings

  // "a.txt (split train)"
  std::string Name() const;
};

// In the order of the splits, and in each in the order of the packing. Errors name the file: missing,
// no regular file, empty, listed twice; or the pattern that no file matches, or the split without
// files. Those of several files are told together.
Result<std::vector<ListedSource>> ListSources(const PrepareSpec& spec, const SourceFormat& format,
                                              const std::string& tokenizer_fingerprint);

// Of one file what is wrong with it; of several the code of the first, and a line for each, of which
// kFileErrorsMax are told.
inline constexpr std::size_t kFileErrorsMax = 20;
Status Together(const ErrorList& of_files);

}  // namespace longrun
