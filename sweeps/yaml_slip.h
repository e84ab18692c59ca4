// The mistake in a text that is not YAML, in the words of those who write sweep files. The parser
// often stops below the mistake, and its messages speak of tokens and of the ends of maps.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace longrun {

// Lines and columns (in bytes) count from 1.
struct YamlSlip {
  int line = 0;
  int column = 1;
  std::string message;
};

// Where the parser can go no further, and what it says about that.
struct ParserStop {
  int line = 0;
  int column = 0;
  std::string_view message;
};

// The mistake in a text at which the parser stopped.
YamlSlip FindSlip(std::string_view text, const ParserStop& stop);

// The length of the name of a key at the start of a text.
std::size_t KeyNameLength(std::string_view text);

// The messages for `key value` (or `key = value`, `key; value`) and for `key:value`.
std::string ColonMissing(std::string_view key, std::string_view value);
std::string SpaceMissing(std::string_view key, std::string_view value);

// Whether a text begins like "-cable": a dash without its space. Not for numbers.
bool IsTightDash(std::string_view text);
std::string DashSpaceMissing(std::string_view entry);
std::string DashMissing(std::string_view entry);
// For a dash that is indented by `column`, unlike the first one of its list. Columns count from 0.
std::string DashUnlike(std::size_t column, int line_other, std::size_t column_other);

// The message for a text that begins or ends with a character that only looks like a space, such as
// a no-break space; "" for any other text.
std::string OddSpaceAround(std::string_view text);

std::string QuoteNotClosed();

}  // namespace longrun
