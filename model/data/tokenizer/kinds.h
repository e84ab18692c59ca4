// The kinds of tokenizers, each in a file of its own; the list that finds them by name is in
// model/data/tokenizer.cc.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

// Each takes the spec as it was given.
Result<std::unique_ptr<Tokenizer>> MakeBytesTokenizer(const std::string& spec);

}  // namespace longrun
