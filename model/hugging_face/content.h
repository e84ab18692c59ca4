// What of a folder is its model: config.json, the weights, and the tokenizer that came with them. Cards and
// other formats of the same weights are not.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/hugging_face/folder.h"
#include "model/hugging_face/manifest.h"

namespace longrun {

// The files by which transformers reads a model's tokenizer.
bool IsTokenizerFile(std::string_view name);
// The names of those in the folder.
std::vector<std::string> TokenizerFilesIn(const std::string& folder);
// The one of `names` (any files of a folder) that holds the ids: "tokenizer.json"; "" where none does.
std::string TokenizerWord(const std::vector<std::string>& names);

struct FolderContent {
  std::vector<FolderFile> files;
  std::string manifest;  // text
  std::string digest;    // its SHA-256, which names the model
  std::int64_t n_bytes = 0;
};

// Reads every file to its end. `progress` is told before each file how many bytes of how many are read.
// kInvalidArgument for more files than a manifest takes.
using ContentProgress = std::function<void(std::int64_t done, std::int64_t of)>;
Result<FolderContent> ReadFolderContent(const std::string& folder, const WeightFolder& checked,
                                        const ContentProgress& progress = nullptr);

}  // namespace longrun
