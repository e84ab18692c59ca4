// The tokenizer of a Hugging Face folder. An imported model keeps the files of any tokenizer
// (model/hugging_face/content.h); longrun itself reads only tokenizer.json
// (model/data/tokenizer/hugging_face.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun::client {

// FOLDER/tokenizer.json, for a model with `vocab_size` ids. kNotFound if there is no such file;
// kInvalidArgument says why longrun cannot read or use it.
Result<std::unique_ptr<Tokenizer>> OpenFolderTokenizer(const std::string& folder,
                                                       std::int64_t vocab_size);

}  // namespace longrun::client
