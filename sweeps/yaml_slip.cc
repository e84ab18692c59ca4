#include "sweeps/yaml_slip.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/str.h"

namespace longrun {
namespace {

// "...}" or "...]" after a bracket, else the text itself: what to write after a key.
std::string ShowValue(std::string_view value) {
  if (value.starts_with('{')) return "{...}";
  return value.starts_with('[') ? "[...]" : std::string(value);
}

// The first line, up to `last`, that is indented with a tab; 0 if there is none.
int FirstTabbedLine(std::string_view text, int last) {
  int line = 1;
  for (std::size_t begin = 0; begin < text.size() && line <= last; ++line) {
    const std::size_t content = std::min(text.find_first_not_of(" \t", begin), text.size());
    if (text.substr(begin, content - begin).find('\t') != std::string_view::npos) return line;
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) break;
    begin = end + 1;
  }
  return 0;
}

// A key at the start of a line: "  - name: value" is `name` at column 4 (0-based), with a value.
struct LineKey {
  std::size_t column = 0;
  std::string name;
  std::string value = {};  // "": none
  int line = 0;

  bool has_value() const { return !value.empty(); }
};

std::string_view WithoutComment(std::string_view line) { return line.substr(0, line.find(" #")); }

std::optional<LineKey> KeyOfLine(std::string_view line, int number) {
  std::size_t column = line.find_first_not_of(' ');
  while (column != std::string_view::npos && line.substr(column).starts_with("- ")) {
    column = line.find_first_not_of(' ', column + 2);
  }
  if (column == std::string_view::npos) return std::nullopt;
  const std::size_t colon = line.find(':', column);
  if (colon == std::string_view::npos || colon == column) return std::nullopt;
  const std::string_view name = line.substr(column, colon - column);
  const auto is_of_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
  };
  const std::size_t value = line.find_first_not_of(' ', colon + 1);
  const bool is_key = std::ranges::all_of(name, is_of_name) && value != colon + 1;
  if (!is_key) return std::nullopt;
  const bool has_value = value != std::string_view::npos && line[value] != '#';
  return LineKey{
      .column = column,
      .name = std::string(name),
      .value = has_value ? std::string(Trim(WithoutComment(line.substr(value)))) : std::string(),
      .line = number};
}

struct NumberedLine {
  int number = 0;
  std::string text;
};

// The lines up to `last` that do not start inside brackets.
std::vector<NumberedLine> LinesOutsideBrackets(std::string_view text, int last) {
  std::vector<NumberedLine> outside;
  int brackets = 0;
  int number = 0;
  for (std::string& line : Split(text, '\n')) {
    if (++number > last) break;
    const bool in_brackets = brackets > 0;
    for (const char c : WithoutComment(line)) {
      brackets += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    }
    if (!in_brackets) outside.push_back({.number = number, .text = std::move(line)});
  }
  return outside;
}

// A line that is only a word: "  train", "- perplexity".
std::optional<LineKey> BareWord(std::string_view line, int number) {
  const std::size_t begin = line.find_first_not_of(" -");
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string_view word = Trim(WithoutComment(line.substr(begin)));
  if (word.empty() || KeyNameLength(word) < word.size()) return std::nullopt;
  return LineKey{.column = begin, .name = std::string(word), .line = number};
}

// Whether `first` and at least one more key are indented like a map of their own.
bool BeginsAMap(std::string_view text, const LineKey& first) {
  int n_keys = 0;
  for (const auto& [number, line] : LinesOutsideBrackets(text, std::numeric_limits<int>::max())) {
    if (number < first.line || Trim(line).empty() || Trim(line).starts_with('#')) continue;
    if (line.find_first_not_of(' ') < first.column) break;
    if (KeyOfLine(line, number)) n_keys += 1;
  }
  return n_keys > 1;
}

// The first line, up to `last`, whose key does not line up with the keys that are open above it:
// the parser's own message would speak of tokens, or of another line. Skips lines inside brackets.
// A bare word above a key that is indented further has lost its colon.
std::optional<YamlSlip> FirstMisplacedKey(std::string_view text, int last) {
  std::vector<LineKey> open;
  std::optional<LineKey> above;  // the line above, if it is a bare word
  for (const auto& [number, line] : LinesOutsideBrackets(text, last)) {
    if (Trim(line).empty() || Trim(line).starts_with('#')) continue;
    const std::optional<LineKey> key = KeyOfLine(line, number);
    const std::optional<LineKey> word = std::exchange(above, BareWord(line, number));
    if (!key) continue;
    if (word && word->column < key->column) {
      return YamlSlip{.line = word->line,
                      .column = static_cast<int>(word->column) + 1,
                      .message = ColonMissing(word->name, "")};
    }
    std::optional<LineKey> closed;
    while (!open.empty() && open.back().column > key->column) {
      closed = open.back();
      open.pop_back();
    }
    const bool is_beside = !open.empty() && open.back().column == key->column;
    if (is_beside) {
      open.back() = *key;
      continue;
    }
    const bool is_below = !closed && (open.empty() || !open.back().has_value());
    if (is_below) {
      open.push_back(*key);
      continue;
    }
    // Indented below a key that already has a value, or between two columns.
    const LineKey& beside = closed ? *closed : open.back();
    // Below `|` and `>`, lines are text.
    const bool is_text = beside.value.starts_with('|') || beside.value.starts_with('>');
    if (!closed && !is_text && BeginsAMap(text, *key)) {
      return YamlSlip{
          .line = beside.line,
          .column = static_cast<int>(beside.column) + 1,
          .message = Str("\"", beside.name, "\" has the value \"", ShowValue(beside.value),
                         "\", but keys are indented below it, from \"", key->name, "\" (line ",
                         number, ") on: remove the value, or ",
                         beside.column == 0 ? std::string("do not indent these keys,")
                                            : Str("indent these keys by ", beside.column),
                         " to put them beside \"", beside.name, "\"")};
    }
    const std::size_t parent_at = open.size() - (closed ? 0 : 1);
    const std::string parent =
        parent_at == 0 ? "" : Str("below \"", open[parent_at - 1].name, ":\" and ");
    const std::string_view unit = key->column == 1 ? " space" : " spaces";
    return YamlSlip{
        .line = number,
        .column = 1,
        .message = Str("\"", key->name, "\" is indented by ", key->column, unit,
                       ", unlike any key above it: indent it by ", beside.column, " to put it ",
                       parent, "beside \"", beside.name, "\" (line ", beside.line, ")")};
  }
  return std::nullopt;
}

struct Unclosed {
  int line = 0;
  int column = 0;
  char what = ' ';  // [ { " or '
};

// The innermost bracket or quote that is never closed. Lines and columns (in bytes) count from 1.
std::optional<Unclosed> FirstUnclosed(std::string_view text) {
  std::vector<Unclosed> open;
  int line = 1;
  int column = 0;
  char before = ' ';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    column += 1;
    const bool in_quotes = !open.empty() && (open.back().what == '"' || open.back().what == '\'');
    if (in_quotes) {
      if (c == '\\' && open.back().what == '"' && i + 1 < text.size() && text[i + 1] != '\n') {
        ++i;
        column += 1;
      } else if (c == open.back().what) {
        open.pop_back();
      }
    } else if (c == '#' && (before == ' ' || before == '\n')) {
      i = std::min(text.find('\n', i), text.size()) - 1;
    } else if (c == '[' || c == '{') {
      open.push_back({.line = line, .column = column, .what = c});
    } else if ((c == '"' || c == '\'') &&
               std::string_view(" \n[{,").find(before) != std::string_view::npos) {
      open.push_back({.line = line, .column = column, .what = c});  // inside a word it is text
    } else if ((c == ']' || c == '}') && !open.empty()) {
      if (open.back().what != (c == ']' ? '[' : '{')) return open.back();
      open.pop_back();
    }
    if (c == '\n') {
      line += 1;
      column = 0;
    }
    before = c;
  }
  return open.empty() ? std::nullopt : std::optional(open.back());
}

std::string WhatToClose(char what) {
  if (what == '[') return "this [ is not closed: write ] where the list ends";
  if (what == '{') return "this { is not closed: write } where the map ends";
  return "this quotation mark is not closed: write another one where the text ends";
}

// "kind Sweep" or "kind:Sweep": the first line up to `last`, outside of brackets, that starts like
// a key but has no colon or no space after it, and does not continue a text.
std::optional<YamlSlip> FirstWithoutColon(std::string_view text, int last) {
  bool goes_on = false;  // the line above has a key whose text may continue
  for (const auto& [number, line] : LinesOutsideBrackets(text, last)) {
    const std::string_view content = WithoutComment(line);
    const std::size_t begin = content.find_first_not_of(' ');
    if (begin == std::string_view::npos || content[begin] == '#') continue;
    const std::string_view words = content.substr(begin);
    const std::size_t end = KeyNameLength(words);
    const bool has_colon = words.find(": ") != std::string_view::npos || words.ends_with(':');
    const bool is_key_and_value = end > 0 && end + 1 < words.size();
    if (is_key_and_value && !goes_on) {
      const std::string_view key = words.substr(0, end);
      const std::string_view value = Trim(words.substr(end + 1));
      const bool opens = value.starts_with('{') || value.starts_with('[');
      const int column = static_cast<int>(begin) + 1;
      if (words[end] == ' ' && !has_colon) {
        return YamlSlip{.line = number, .column = column, .message = ColonMissing(key, value)};
      }
      if (words[end] == ':' && words[end + 1] != ' ' && (!has_colon || opens)) {
        return YamlSlip{.line = number, .column = column, .message = SpaceMissing(key, value)};
      }
    }
    const std::size_t colon = words.find(':');
    const std::string_view value =
        colon == std::string_view::npos ? words : Trim(words.substr(colon + 1));
    goes_on = has_colon && (value.starts_with('|') || value.starts_with('>'));
  }
  return std::nullopt;
}

// "schedule: warmup_tokens: 20480": a second key on the line at which the parser stopped.
std::optional<YamlSlip> SecondKeyOnLine(std::string_view text, int number) {
  for (const auto& [at, line] : LinesOutsideBrackets(text, number)) {
    if (at != number) continue;
    std::string_view words = Trim(WithoutComment(line));
    while (words.starts_with("- ")) words = Trim(words.substr(2));
    const std::size_t first = words.find(": ");
    if (first == std::string_view::npos) return std::nullopt;
    const std::string_view key = words.substr(0, first);
    const std::string_view value = Trim(words.substr(first + 2));
    const std::size_t end = KeyNameLength(value);
    if (end == 0 || !value.substr(end).starts_with(": ")) return std::nullopt;
    return YamlSlip{.line = number,
                    .column = static_cast<int>(value.data() - line.data()) + 1,
                    .message = Str("a second key on the line of \"", key, "\": write `", key, ": {",
                                   value, "}`, or \"", value.substr(0, end),
                                   "\" on a line of its own, indented further")};
  }
  return std::nullopt;
}

// "{position [cable]}": the word before the bracket at which the parser stopped.
std::optional<YamlSlip> WordBeforeBracket(std::string_view text, const ParserStop& stop) {
  const std::vector<std::string> lines = Split(text, '\n');
  const auto at = static_cast<std::size_t>(stop.line) - 1;
  if (at >= lines.size()) return std::nullopt;
  const std::string_view line = lines[at];
  const auto column = static_cast<std::size_t>(stop.column) - 1;
  const bool is_bracket = column < line.size() && (line[column] == '[' || line[column] == '{');
  if (!is_bracket) return std::nullopt;
  const std::string_view before = line.substr(0, column);
  const std::size_t begin = before.find_last_of("{,") + 1;
  const std::size_t word_at = before.find_first_not_of(' ', begin);
  if (begin == 0 || word_at == std::string_view::npos) return std::nullopt;
  const std::string_view word = Trim(before.substr(word_at));
  if (KeyNameLength(word) < word.size()) return std::nullopt;
  return YamlSlip{.line = stop.line,
                  .column = static_cast<int>(word_at) + 1,
                  .message = ColonMissing(word, line.substr(column))};
}

}  // namespace

std::size_t KeyNameLength(std::string_view text) {
  return std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_."),
                  text.size());
}

std::string ColonMissing(std::string_view key, std::string_view value) {
  return Str("a colon is missing after \"", key, "\": write `", key, ":", value.empty() ? "" : " ",
             ShowValue(value), "`");
}

std::string SpaceMissing(std::string_view key, std::string_view value) {
  return Str("a space is missing after \"", key, ":\": write `", key, ": ", ShowValue(value), "`");
}

YamlSlip FindSlip(std::string_view text, const ParserStop& stop) {
  if (const int line = FirstTabbedLine(text, stop.line); line > 0) {
    return {.line = line, .message = "this line is indented with a tab: YAML allows only spaces"};
  }
  if (std::optional<YamlSlip> key = FirstMisplacedKey(text, stop.line)) return *std::move(key);
  if (const std::optional<Unclosed> open = FirstUnclosed(text)) {
    return {.line = open->line, .column = open->column, .message = WhatToClose(open->what)};
  }
  std::optional<YamlSlip> key = FirstWithoutColon(text, stop.line);
  if (!key) key = SecondKeyOnLine(text, stop.line);
  if (!key) key = WordBeforeBracket(text, stop);
  if (key) return *std::move(key);
  return {
      .line = stop.line, .column = stop.column, .message = Str("this is not YAML: ", stop.message)};
}

}  // namespace longrun
