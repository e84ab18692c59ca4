// Str("step ", 3, " of ", 10) joins its arguments as text. Numbers are written in shortest
// round-trip form.
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

// For "did you mean": the candidate nearest to `word` by Damerau-Levenshtein distance (at most 2),
// else the only one that shares the most letters with it, like "validation" and "val";
// "" if there is none.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

// The length of the shortest prefix of `id`, at least `least`, that no id in `others` shares.
std::size_t UnambiguousPrefix(std::string_view id, const std::vector<std::string>& others,
                              std::size_t least);

bool IsUtf8(std::string_view text);
// Replaces each byte that is not part of a UTF-8 character by U+FFFD: for text of unknown origin (a
// program's output, a file name) that goes into JSON or a message.
std::string ToUtf8(std::string_view bytes);
// Whether the character ends a line (U+2028, U+2029), or changes the direction in which a terminal
// writes what follows (U+202A to U+202E, U+2066 to U+2069): text could then look like another one.
bool IsBreakOrDirection(std::string_view character);
// ToUtf8, with control characters other than newlines written as \x1b (or as \t, \r, \u202e), so
// that a message may quote input without a terminal obeying it.
std::string Printable(std::string_view bytes);
// Writes newlines as \n: for lists with one message per line, where messages quote input.
std::string OneLine(std::string_view text);

}  // namespace longrun
