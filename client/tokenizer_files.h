// The tokenizer of a Hugging Face folder. An imported model keeps the files of any
// (model/hugging_face/content.h); longrun itself reads tokenizer.json
// (model/data/tokenizer/hugging_face.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

// FOLDER/tokenizer.json for a model of so many ids. kNotFound without such a file; kInvalidArgument says
// what keeps longrun from reading or using it.
Result<std::unique_ptr<Tokenizer>> OpenFolderTokenizer(const std::string& folder,
                                                       std::int64_t vocab_size);

}  // namespace longrun
