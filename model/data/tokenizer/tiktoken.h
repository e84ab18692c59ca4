// Vocabularies in .tiktoken files (github.com/openai/tiktoken, tiktoken/load.py): a line for each
// token, its bytes in base64 (RFC 4648, with padding), a blank, its rank in decimal. The rank is the
// id. Such a file knows neither special tokens nor the rule that cuts a text: the rule is GPT-2's,
// and `<|endoftext|>` comes behind the last rank.
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
// The bytes of the ranks 0, 1, ..., each there once; kInvalidArgument names the first that is not.
Result<std::vector<std::string>> BytesOfRanks(std::vector<RankedBytes> tokens);
std::string TiktokenText(const std::vector<RankedBytes>& tokens);

// Reads a vocabulary; a pipe, a folder or a giant is refused.
Result<std::string> ReadVocabularyFile(const std::string& path);

}  // namespace longrun
