// The tokenizer files in a dataset's folder.
//
//   FOLDER/tokenizer.json        which tokenizer the ids are from, and what a reader of the tokens
//                                must know without having the tokenizer: special ids,
//                                bytes of text for each id
//   FOLDER/vocabulary.tiktoken   the tokens, unless they are single bytes
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
inline constexpr std::string_view kVocabularyFile = "vocabulary.tiktoken";

struct TokenizerFacts {
  std::int64_t vocab_size = 0;  // rows of an embedding
  std::int64_t n_tokens = 0;    // the tokenizer's tokens; further rows are padding
  std::int32_t eot_id = -1;
  std::int32_t bos_id = -1;
  std::int32_t mask_id = -1;
  std::vector<std::int32_t> token_bytes;
};

// Writes what OpenTokenizerOf needs, replacing what was there;
// returns the SHA-256 of tokenizer.json.
Result<std::string> SaveTokenizer(const Vocabulary& vocabulary, const std::string& folder);
// Whether the folder's tokenizer.json was written by SaveTokenizer: a model's folder has a file of
// the same name.
bool IsSavedTokenizer(const std::string& folder);
// Whether the tokenizer in the folder needs vocabulary.tiktoken. kDataLoss names the file.
Result<bool> HasVocabularyFile(const std::string& folder);
// kDataLoss names the file and the fault; `sha256` is the one in dataset.json.
Result<TokenizerFacts> ReadTokenizerFacts(const std::string& folder, const std::string& sha256);
// The tokenizer itself, to turn ids into text or further text into the same ids. Also opens folders
// of earlier releases. kDataLoss if the vocabulary does not match the fingerprint beside it, or if
// tokenizer.json does not match the SHA-256 in the folder's manifest.
Result<std::unique_ptr<Tokenizer>> OpenTokenizerOf(const std::string& folder);

}  // namespace longrun
