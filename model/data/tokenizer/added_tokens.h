// Tokens that are found in a text before it is cut into words: those of Hugging Face's
// `added_tokens` that are not special, such as GPT-NeoX's sequences of spaces. The leftmost is
// taken, and of those that begin there the longest (as in their Aho-Corasick search,
// MatchKind::LeftmostLongest).
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "model/data/tokenizer.h"

namespace longrun {

class AddedTokens {
 public:
  // Those of kind kAdded. Refers to their bytes: `tokens` must outlive it.
  explicit AddedTokens(const std::vector<Token>& tokens);

  struct Match {
    std::size_t begin = 0, end = 0;  // bytes of the text; begin == end: no token follows
    std::int32_t id = -1;
  };
  // The first token in `text` at or after `from`.
  Match Next(std::string_view text, std::size_t from) const;

 private:
  struct Entry {
    std::string_view bytes;
    std::int32_t id = -1;
  };
  // By first byte: its tokens, the longest first, and the bytes that may follow.
  struct Beginning {
    std::vector<Entry> tokens;
    std::bitset<256> second;
    bool has_single = false;  // the first byte itself is a token
  };
  std::array<Beginning, 256> by_first_;
};

}  // namespace longrun
