// A text that a user gives and lists show in a row: a note, the value of a label.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/status.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun::coordinator {

// Whether the text is one line of at most bytes_max bytes.
inline bool IsShortLine(std::string_view text, std::size_t bytes_max) {
  return text.size() <= bytes_max && IsOneLine(text);
}

// kInvalidArgument if the text ("the note") is longer than bytes_max, or is not one line.
inline Status CheckOneLine(std::string_view what, std::string_view text, std::size_t bytes_max) {
  if (text.size() > bytes_max) {
    return Status(Code::kInvalidArgument,
                  Str(what, " has ", text.size(), " bytes: expected at most ", bytes_max));
  }
  if (IsOneLine(text)) return Status();
  return Status(Code::kInvalidArgument,
                Str(what, " ", Quoted(text),
                    " has a line break, another control character, or bytes that are not UTF-8: "
                    "expected one line of text"));
}

}  // namespace longrun::coordinator
