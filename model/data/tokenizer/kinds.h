// The kinds of tokenizers, each in a file of its own; the list that finds them is in
// model/data/tokenizer.cc. Each takes the spec as it was given: a name, or a file's path.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

Result<std::unique_ptr<Tokenizer>> MakeBytesTokenizer(const std::string& name);
Result<std::unique_ptr<Tokenizer>> MakeGpt2Tokenizer(const std::string& name);
Result<std::unique_ptr<Tokenizer>> MakeTiktokenTokenizer(const std::string& path);
Result<std::unique_ptr<Tokenizer>> MakeHuggingFaceTokenizer(const std::string& path);

}  // namespace longrun
