#include "base/utf8.h"

#include <string>

#include "base/str.h"

namespace longrun {
namespace {

// Escapes the bytes as a shell does: $'caf\xe9'.
std::string WithBytesEscaped(std::string_view bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text;
}

}  // namespace

Status CheckUtf8(std::string_view bytes, std::string_view what, std::string_view remedy) {
  if (IsUtf8(bytes)) return Status();
  return Status(Code::kInvalidArgument,
                Str(what, " (\"", WithBytesEscaped(bytes),
                    "\") is not UTF-8, which names and paths must be: ", remedy));
}

}  // namespace longrun
