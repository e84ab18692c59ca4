// The files of an import: found by their patterns, ordered,
// and given keys that change with the files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error_list.h"
#include "base/status.h"
#include "model/data/prepare.h"

namespace longrun {

struct ListedSource {
  std::string path{};           // as it can be opened
  std::string shown{};          // as the user listed it, for messages and the manifest
  std::string split{};          // "" if a rule decides for each document
  std::int64_t bytes = 0;       // of the files, and of the documents that are made from them
  std::int64_t made_bytes = 0;  // of the latter only
  std::string key{};  // names its part: file (place, size, time of change), tokenizer, settings

  // "a.txt (split train)"
  std::string Name() const;
};

// Ordered by split, and within a split as the packing says. Errors name the file (missing, not a
// regular file, empty, listed twice), or the pattern that no file matches, or the split without
// files. Errors of several files are reported together.
Result<std::vector<ListedSource>> ListSources(const PrepareSpec& spec, const SourceFormat& format,
                                              const std::string& tokenizer_fingerprint);

// The first file that a pattern matches, in byte order; the pattern itself if it matches none.
std::string FirstMatch(const std::string& pattern);

// Joins the errors of files. For one file: its error. For several: the code of the first error, and
// a line for each of the first kFileErrorsMax.
inline constexpr std::size_t kFileErrorsMax = 20;
Status Together(const ErrorList& of_files);

}  // namespace longrun
