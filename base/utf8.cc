#include "base/utf8.h"

#include <algorithm>
#include <string>

#include "base/str.h"

namespace longrun {
namespace {

void AppendEscaped(std::string& text, char c) {
  constexpr char kHex[] = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
}

bool IsPlainAscii(char c) { return c >= 0x20 && c < 0x7f; }

// Escapes the bytes as a shell does: $'caf\xe9'.
std::string WithBytesEscaped(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    if (IsPlainAscii(c)) {
      text += c;
    } else {
      AppendEscaped(text, c);
    }
  }
  return text;
}

// The first character, if it has several bytes and is not a control character (U+0080 to U+009F); else "".
std::string_view LongCharacter(std::string_view bytes) {
  constexpr std::size_t kBytesMax = 4;
  for (std::size_t n = 2; n <= std::min(kBytesMax, bytes.size()); ++n) {
    const std::string_view first = bytes.substr(0, n);
    if (IsUtf8(first)) return first >= "\xc2\xa0" ? first : std::string_view();
  }
  return {};
}

}  // namespace

Status CheckUtf8(std::string_view bytes, std::string_view what, std::string_view remedy) {
  if (IsUtf8(bytes)) return Status();
  return Status(Code::kInvalidArgument,
                Str(what, " (\"", WithBytesEscaped(bytes),
                    "\") is not UTF-8, which names and paths must be: ", remedy));
}

std::string PrintableBytes(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::string_view character =
        IsPlainAscii(bytes[0]) ? bytes.substr(0, 1) : LongCharacter(bytes);
    text += character;
    if (character.empty()) AppendEscaped(text, bytes[0]);
    bytes.remove_prefix(std::max<std::size_t>(character.size(), 1));
  }
  return text;
}

}  // namespace longrun
