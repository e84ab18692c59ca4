// The tokenizer of a Hugging Face folder: the files that transformers reads one from, which an imported
// model keeps as they are. longrun itself reads tokenizer.json (model/data/tokenizer/hugging_face.h).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

bool IsTokenizerFile(std::string_view name);
// The names of those in the folder.
std::vector<std::string> TokenizerFilesIn(const std::string& folder);
// The one of `names` (any files of a folder) that holds the ids: "tokenizer.json"; "" where none does.
std::string TokenizerWord(const std::vector<std::string>& names);

// FOLDER/tokenizer.json for a model of so many ids. kNotFound without such a file; kInvalidArgument says
// what keeps longrun from reading or using it.
Result<std::unique_ptr<Tokenizer>> OpenFolderTokenizer(const std::string& folder,
                                                       std::int64_t vocab_size);

}  // namespace longrun
