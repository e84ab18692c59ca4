// The kinds of tokenizers, each in its own file; model/data/tokenizer.cc lists and finds them. Each
// takes the spec as given: a name, or the path of a file.
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
