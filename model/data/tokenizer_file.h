// The tokenizer in the folder of a dataset.
//
//   FOLDER/tokenizer.json        which tokenizer the ids are of, and what a reader of the tokens must
//                                know without having it: special ids, bytes of text for each id
//   FOLDER/vocabulary.tiktoken   the tokens, where they are more than single bytes
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
  std::int64_t vocab_size = 0;  // rows of an embedding
  std::int64_t n_tokens = 0;    // of the tokenizer: the rows behind them are padding
  std::int32_t eot_id = -1;
  std::int32_t bos_id = -1;
  std::int32_t mask_id = -1;
  std::vector<std::int32_t> token_bytes;
};

// Writes what OpenTokenizerOf needs, in place of what was there; the SHA-256 of tokenizer.json.
Result<std::string> SaveTokenizer(const Vocabulary& vocabulary, const std::string& folder);
// kDataLoss names the file and what does not hold; `sha256` is what dataset.json says of it.
Result<TokenizerFacts> ReadTokenizerFacts(const std::string& folder, const std::string& sha256);
// The tokenizer itself, for text out of ids, and for further text in the same ids. Also of a folder
// that an earlier release made. kDataLoss when the vocabulary has not the fingerprint beside it, or
// tokenizer.json not the SHA-256 that the folder's manifest says.
Result<std::unique_ptr<Tokenizer>> OpenTokenizerOf(const std::string& folder);

}  // namespace longrun
