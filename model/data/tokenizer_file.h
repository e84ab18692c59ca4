// FOLDER/tokenizer.json of a dataset: which tokenizer its ids are of, and what a reader of the
// tokens must know without having it: special ids, and the bytes of text that each id stands for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

inline constexpr std::string_view kTokenizerFile = "tokenizer.json";

struct TokenizerFacts {
  std::int64_t vocab_size = 0;
  std::int32_t eot_id = -1;
  std::vector<std::int32_t> token_bytes;
};

std::string TokenizerFileText(const Vocabulary& vocabulary);
// kDataLoss names the file and what does not hold; `sha256` is what dataset.json says of it.
Result<TokenizerFacts> ReadTokenizerFacts(const std::string& folder, const std::string& sha256);
// The tokenizer itself, for text out of ids: kNotFound when it is not to be had here,
// kFailedPrecondition when the one of that name is another by now.
Result<std::unique_ptr<Tokenizer>> OpenTokenizerOf(const std::string& folder);

}  // namespace longrun
