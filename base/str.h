// Str("step ", 3, " of ", 10): text from parts. Numbers are written in shortest round-trip form.
#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

namespace longrun {

inline void StrAppend(std::string& out, std::string_view part) { out += part; }
inline void StrAppend(std::string& out, const char* part) { out += part; }
inline void StrAppend(std::string& out, char part) { out += part; }
inline void StrAppend(std::string& out, bool part) { out += part ? "true" : "false"; }

template <typename T>
requires(std::integral<T> || std::floating_point<T>) void StrAppend(std::string& out, T number) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number);
  out.append(buffer, end.ptr);
}

template <typename... Parts>
std::string Str(const Parts&... parts) {
  std::string out;
  (StrAppend(out, parts), ...);
  return out;
}

// "a, b, c"
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
// Empty parts are kept: Split("a,,b", ',') has three.
std::vector<std::string> Split(std::string_view text, char separator);
std::string_view Trim(std::string_view text);

// For "did you mean": the candidate nearest to `word`, by Damerau-Levenshtein distance (2 at most), or
// the only one that shares most letters with it, as "validation" with "val"; "" when none is near.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

// The shortest prefix length, at least `least`, that tells `id` from all `others`.
std::size_t UnambiguousPrefix(std::string_view id, const std::vector<std::string>& others,
                              std::size_t least);

bool IsUtf8(std::string_view text);
// Each byte that is not part of a UTF-8 character becomes U+FFFD: for text of unknown origin (a
// program's output, a file name) on its way into JSON or a message.
std::string ToUtf8(std::string_view bytes);
// ToUtf8, with control characters but newlines written as \x1b (or as \t, \r): what an input holds may
// stand in a message without a terminal obeying it.
std::string Printable(std::string_view bytes);
// With newlines as \n: for a list of messages, one a line, that quote what an input holds.
std::string OneLine(std::string_view text);

}  // namespace longrun
