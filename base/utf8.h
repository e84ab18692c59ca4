// Names and paths from outside must be UTF-8: they go into JSON, Protobuf and the database, which
// hold only UTF-8. Also finds the places where text may be cut.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

// kInvalidArgument for bytes that are not UTF-8, with the message: WHAT ("caf\xe9.yaml") is not
// UTF-8, which names and paths must be: REMEDY.
Status CheckUtf8(std::string_view bytes, std::string_view what, std::string_view remedy);

// The text on one line. Control characters, and bytes that belong to no character, are written like
// \x1b and \xff. For the name of something damaged, whose bytes may tell what it was.
std::string PrintableBytes(std::string_view bytes);
// Whether the bytes are UTF-8 without control characters, so that a list can show them in a row:
// PrintableBytes() would change nothing. Line separators and marks that change the direction of
// what follows (str.h: IsBreakOrDirection) are control characters as well.
bool IsOneLine(std::string_view bytes);

// The beginning of the text, at most `bytes_max` bytes, that does not end inside a character.
std::string_view CutAt(std::string_view text, std::size_t bytes_max);
// The text; if it is longer than `bytes_max`, it is cut and `mark` is added. It is cut between
// words if the beginning of the last one is at most 24 bytes long, else as by CutAt().
std::string Shortened(std::string_view text, std::size_t bytes_max, std::string_view mark = " ...");

// What a user gave, in quotes and on one line, for a message: PrintableBytes(), of which at most
// kQuotedBytesMax are shown.
inline constexpr std::size_t kQuotedBytesMax = 80;
std::string Quoted(std::string_view given);

// The bytes without an incomplete character at their end: the next piece of a stream may hold the
// rest of it.
std::string_view WithoutCutCharacter(std::string_view bytes);

}  // namespace longrun
