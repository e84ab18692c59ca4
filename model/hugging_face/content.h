// The files of a folder that make up its model: config.json, the weights, and the tokenizer that
// came with them, but not cards or other formats of the same weights.
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

// Whether transformers reads a model's tokenizer from this file.
bool IsTokenizerFile(std::string_view name);
// The names of such files in the folder.
std::vector<std::string> TokenizerFilesIn(const std::string& folder);
// The file among `names` (files of a folder) that defines the tokenizer's ids, for example
// "tokenizer.json"; "" if there is none.
std::string TokenizerWord(const std::vector<std::string>& names);

struct FolderContent {
  std::vector<FolderFile> files;
  std::string manifest;  // text
  std::string digest;    // its SHA-256, which names the model
  std::int64_t n_bytes = 0;
};

// Reads every file completely. `progress` is called before each file with the bytes read so far and
// in total. kInvalidArgument if there are more files than a manifest can have.
using ContentProgress = std::function<void(std::int64_t done, std::int64_t of)>;
Result<FolderContent> ReadFolderContent(const std::string& folder, const WeightFolder& checked,
                                        const ContentProgress& progress = nullptr);

}  // namespace longrun
