// Vocabularies in .tiktoken files (github.com/openai/tiktoken, tiktoken/load.py): one line per
// token, with its bytes in base64 (RFC 4648, with padding), a blank, and its rank in decimal. The
// rank is the id. Such a file has neither special tokens nor a rule that cuts text: we use GPT-2's
// rule, and `<|endoftext|>` follows the last rank.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace longrun {

struct RankedBytes {
  std::uint32_t rank = 0;
  std::string bytes;
};

// In the order of the lines. kInvalidArgument names the line.
Result<std::vector<RankedBytes>> ParseTiktoken(std::string_view text);
// The bytes of ranks 0, 1, ..., each of which must occur once;
// kInvalidArgument names the first that does not.
Result<std::vector<std::string>> BytesOfRanks(std::vector<RankedBytes> tokens);
std::string TiktokenText(const std::vector<RankedBytes>& tokens);

// Reads a vocabulary file; refuses a pipe, a folder or a giant file.
Result<std::string> ReadVocabularyFile(const std::string& path);

}  // namespace longrun
