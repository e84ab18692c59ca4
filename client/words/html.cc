#include "client/words/html.h"

#include <cstdint>

#include "base/hash.h"
#include "base/str.h"

namespace longrun::client {

bool AppendEntity(char c, std::string& out) {
  switch (c) {
    case '&':
      out += "&amp;";
      return true;
    case '<':
      out += "&lt;";
      return true;
    case '>':
      out += "&gt;";
      return true;
    case '"':
      out += "&quot;";
      return true;
    case '\'':
      out += "&#39;";
      return true;
    default:
      return false;
  }
}

std::string HtmlText(std::string_view text) {
  std::string out;
  for (const char c : ToUtf8(text)) {
    if (AppendEntity(c, out)) continue;
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      out += "\xef\xbf\xbd";
    } else {
      out += c;
    }
  }
  return out;
}

std::string HtmlJson(const Json& json) {
  std::string out;
  for (const char c : CanonicalJson(json)) {
    if (c == '<') {
      out += "\\u003c";  // only text can contain '<', and this is the same text
    } else {
      out += c;
    }
  }
  return out;
}

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const std::uint32_t byte =
          i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u;
      group = (group << 8) | byte;
    }
    for (std::size_t k = 0; k < 4; ++k) {
      const bool is_padding = i + k > bytes.size();
      out += is_padding ? '=' : kDigits[(group >> (18 - 6 * k)) & 63];
    }
  }
  return out;
}

std::string ScriptHash(std::string_view script) {
  const std::string hex = Sha256Hex(script);
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  }
  return Str("'sha256-", Base64(bytes), "'");
}

}  // namespace longrun::client
