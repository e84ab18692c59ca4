// Small vocabularies for tests.
#pragma once

#include <string>
#include <vector>

#include "model/data/tokenizer/bpe.h"

namespace longrun {

// The 256 bytes as the ids 0..255, then `further` in this order.
inline std::vector<std::string> BytesAnd(const std::vector<std::string>& further) {
  std::vector<std::string> bytes_of_rank;
  for (int byte = 0; byte < 256; ++byte) bytes_of_rank.emplace_back(1, static_cast<char>(byte));
  bytes_of_rank.insert(bytes_of_rank.end(), further.begin(), further.end());
  return bytes_of_rank;
}

inline std::vector<Token> TextTokens(const std::vector<std::string>& further) {
  std::vector<Token> tokens;
  for (const std::string& bytes : BytesAnd(further)) tokens.push_back({.bytes = bytes});
  return tokens;
}

}  // namespace longrun
