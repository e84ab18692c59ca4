#include "base/utf8.h"

#include <algorithm>
#include <string>

#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kCharacterBytesMax = 4;
constexpr std::size_t kCutWordBytesMax = 24;  // of the word that is cut off

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

// The first character, if it has several bytes and is not a control character (such as U+0080 to
// U+009F); else "".
std::string_view LongCharacter(std::string_view bytes) {
  for (std::size_t n = 2; n <= std::min(kCharacterBytesMax, bytes.size()); ++n) {
    const std::string_view first = bytes.substr(0, n);
    if (!IsUtf8(first)) continue;
    const bool is_shown = first >= "\xc2\xa0" && !IsBreakOrDirection(first);
    return is_shown ? first : std::string_view();
  }
  return {};
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Whether the bytes are the beginning of a character: some continuation bytes would complete it.
// Which may come second depends on the first byte, but one of 80 and bf always may.
bool IsBeginningOfCharacter(std::string_view bytes) {
  for (std::size_t n_more = 1; bytes.size() + n_more <= kCharacterBytesMax; ++n_more) {
    for (const char rest : {'\x80', '\xbf'}) {
      if (IsUtf8(Str(bytes, std::string(n_more, rest)))) return true;
    }
  }
  return false;
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

bool IsOneLine(std::string_view bytes) { return PrintableBytes(bytes) == bytes; }

std::string_view CutAt(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  const std::size_t end_min = bytes_max - std::min(bytes_max, kCharacterBytesMax - 1);
  while (end > end_min && IsContinuation(text[end])) --end;
  return text.substr(0, end);
}

std::string Shortened(std::string_view text, std::size_t bytes_max, std::string_view mark) {
  std::string_view shown = CutAt(text, bytes_max);
  if (shown.size() == text.size()) return std::string(shown);
  if (text[shown.size()] != ' ') {
    const std::size_t space = std::min(shown.rfind(' '), shown.size());
    const std::string_view words = shown.substr(0, space);
    const bool has_word = words.find_first_not_of(' ') != std::string_view::npos;
    if (has_word && shown.size() - space <= kCutWordBytesMax) shown = words;
  }
  shown = shown.substr(0, shown.find_last_not_of(' ') + 1);
  return Str(shown, mark);
}

std::string Quoted(std::string_view given) {
  const std::string_view shown = CutAt(given, kQuotedBytesMax);
  return Str('"', PrintableBytes(shown), shown.size() < given.size() ? "…" : "", '"');
}

std::string_view WithoutCutCharacter(std::string_view bytes) {
  for (std::size_t n = 1; n < kCharacterBytesMax && n <= bytes.size(); ++n) {
    const std::string_view last = bytes.substr(bytes.size() - n);
    if (IsContinuation(last[0])) continue;
    return bytes.substr(0, bytes.size() - (IsBeginningOfCharacter(last) ? n : 0));
  }
  return bytes;
}

}  // namespace longrun
