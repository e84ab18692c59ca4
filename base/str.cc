// Text: joining, splitting, similarity, UTF-8.
#include "base/str.h"

#include <algorithm>

#include "base/edit_distance.h"
#include "base/letter_case.h"

namespace longrun {
namespace {

// Bytes of the well-formed UTF-8 character that `text` starts with (Unicode 15, table 3-7), or 0.
std::size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  unsigned low = 0x80, high = 0xbf;  // bounds of the second byte
  std::size_t n = 0;
  if (lead >= 0xc2 && lead <= 0xdf) {
    n = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    n = 3;
    if (lead == 0xe0) low = 0xa0;   // not overlong
    if (lead == 0xed) high = 0x9f;  // no surrogates
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    n = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;  // at most U+10FFFF
  }
  if (n == 0 || text.size() < n || byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < n; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return n;
}

}  // namespace

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

namespace {

// The number of letters that a word and a candidate share at their start, or the shorter one's
// length if the longer contains it; 0 if that is too little to confuse the two.
std::size_t SharedLetters(std::string_view word, std::string_view candidate) {
  const std::size_t n_shorter = std::min(word.size(), candidate.size());
  const std::size_t n_longer = std::max(word.size(), candidate.size());
  std::size_t n = 0;
  while (n < n_shorter && word[n] == candidate[n]) ++n;
  if (n >= 3 && (n == word.size() || 2 * n >= n_longer)) return n;
  const bool holds = candidate.find(word) != std::string_view::npos ||
                     word.find(candidate) != std::string_view::npos;
  return n_shorter >= 4 && holds ? n_shorter : 0;
}

// Returns "" if two candidates share equally many.
std::string NearestByShared(std::string_view word, const std::vector<std::string>& candidates) {
  std::size_t n_best = 0;
  std::string best;
  for (const std::string& candidate : candidates) {
    const std::size_t n = SharedLetters(word, candidate);
    if (n > 0 && n == n_best) best.clear();
    if (n <= n_best) continue;
    n_best = n;
    best = candidate;
  }
  return best;
}

}  // namespace

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  // No name is so long, and comparing takes as many steps as both have letters, multiplied.
  constexpr std::size_t kWordBytesMax = 256;
  if (word.size() > kWordBytesMax) return "";
  // In the spelling of a paper, such as RoPE.
  for (const std::string& candidate : candidates) {
    if (candidate != word && std::ranges::equal(candidate, word, {}, &ToLower, &ToLower)) {
      return candidate;
    }
  }
  std::size_t distance_best = std::min<std::size_t>(3, word.size());
  std::string best;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = EditDistance(word, candidate);
    if (distance < distance_best) {
      distance_best = distance;
      best = candidate;
    }
  }
  return best.empty() ? NearestByShared(word, candidates) : best;
}

std::size_t UnambiguousPrefix(std::string_view id, const std::vector<std::string>& others,
                              std::size_t least) {
  std::size_t length = least;
  for (const std::string& other : others) {
    if (other == id) continue;
    const auto [a, b] = std::mismatch(id.begin(), id.end(), other.begin(), other.end());
    length = std::max(length, static_cast<std::size_t>(a - id.begin()) + 1);
  }
  return std::min(length, id.size());
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = CharacterBytes(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string ToUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::size_t n = CharacterBytes(bytes);
    if (n == 0) {
      out += "\xef\xbf\xbd";
    } else {
      out += bytes.substr(0, n);
    }
    bytes.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

bool IsBreakOrDirection(std::string_view character) {
  return (character >= "\xe2\x80\xa8" && character <= "\xe2\x80\xae") ||
         (character >= "\xe2\x81\xa6" && character <= "\xe2\x81\xa9");
}

std::string Printable(std::string_view bytes) {
  const auto is_plain = [](char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); };
  if (std::ranges::all_of(bytes, is_plain)) return std::string(bytes);
  constexpr char kHex[] = "0123456789abcdef";
  const std::string text = ToUtf8(bytes);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, two bytes from c2, are control characters as well.
    const bool is_c1 = byte == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    const std::string_view three = std::string_view(text).substr(i, 3);
    if (byte == 0xe2 && IsBreakOrDirection(three)) {
      const auto last = static_cast<unsigned char>(three[2]);
      out += three[1] == '\x80' ? "\\u202" : "\\u206";
      out += kHex[last & 15];
      i += 2;
    } else if (byte == '\t' || byte == '\r') {
      out += byte == '\t' ? "\\t" : "\\r";
    } else if (is_c1 || byte == 0x7f || (byte < 0x20 && byte != '\n')) {
      const unsigned code = is_c1 ? static_cast<unsigned char>(text[++i]) : byte;
      out += {'\\', 'x', kHex[code >> 4], kHex[code & 15]};
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace longrun
