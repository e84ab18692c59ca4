// The only file that includes yaml-cpp; its exceptions are caught here.
#include "sweeps/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "base/utf8.h"
#include "sweeps/limits.h"

namespace longrun {
namespace {

constexpr std::size_t kKeyBytesMax = 256;  // the longest of our keys have some tens

// The length of the name of a key at the start of a text.
std::size_t NameLength(std::string_view text) {
  return std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_."),
                  text.size());
}

// "...}" or "...]" after a bracket, else the text itself: what to write after a key.
std::string ShowValue(std::string_view value) {
  if (value.starts_with('{')) return "{...}";
  return value.starts_with('[') ? "[...]" : std::string(value);
}

std::string ColonMissing(std::string_view key, std::string_view value) {
  return Str("a colon is missing after \"", key, "\": write `", key, ":", value.empty() ? "" : " ",
             ShowValue(value), "`");
}

std::string SpaceMissing(std::string_view key, std::string_view value) {
  return Str("a space is missing after \"", key, ":\": write `", key, ": ", ShowValue(value), "`");
}

// Thrown through yaml-cpp's parser when parsing on would only cost memory.
struct Refused {
  Place place;
  std::string message;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(int source, std::vector<Problem>& problems) : source_(source), problems_(problems) {}

  std::optional<YamlNode> TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++n_documents_ > 1) {
      throw Refused{PlaceOf(mark), "a second document begins here; a sweep is one document"};
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    CheckAnchor(mark, anchor);
    Add(Node(mark, YamlNode::Kind::kNothing));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Report(PlaceOf(mark), "aliases are refused: write the value out");
    YamlNode node = Node(mark, YamlNode::Kind::kNothing);
    node.refused = true;
    Add(std::move(node));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckAnchor(mark, anchor);
    CheckTag(mark, tag);
    YamlNode node = Node(mark, YamlNode::Kind::kScalar);
    node.text = value;
    node.quoted = tag == "!";
    Add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    Open(mark, tag, anchor, YamlNode::Kind::kMap);
    frames_.back().in_brackets = style == YAML::EmitterStyle::Flow;
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Frame {
    YamlNode node;
    std::optional<YamlNode> key = std::nullopt;  // of a map, until its value comes
    std::map<std::string, Place> keys = {};      // of a map: the keys seen so far
    bool in_brackets = false;                    // of a map: {..}
  };

  Place PlaceOf(const YAML::Mark& mark) const {
    return {.source = source_, .line = mark.line + 1, .column = mark.column + 1};
  }

  void Report(Place place, std::string message) {
    problems_.push_back({.place = place, .message = std::move(message)});
  }

  void CheckAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) Report(PlaceOf(mark), "anchors (&name) are refused: write the value out");
  }

  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    Report(PlaceOf(mark), Str("tag \"", tag, "\" is refused: types come from the schema"));
  }

  YamlNode Node(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (++n_nodes_ > kYamlNodesMax) {
      throw Refused{PlaceOf(mark), Str("the file has more than ", kYamlNodesMax,
                                       " keys and values: shorten its lists, or divide it into "
                                       "several files")};
    }
    YamlNode node;
    node.kind = kind;
    node.place = PlaceOf(mark);
    return node;
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    CheckAnchor(mark, anchor);
    CheckTag(mark, tag);
    if (frames_.size() >= static_cast<std::size_t>(kYamlDepthMax)) {
      throw Refused{PlaceOf(mark), Str("nested more than ", kYamlDepthMax, " levels deep")};
    }
    frames_.push_back({.node = Node(mark, kind)});
  }

  void Close() {
    LR_CHECK(!frames_.empty());
    YamlNode node = std::move(frames_.back().node);
    frames_.pop_back();
    Add(std::move(node));
  }

  void Add(YamlNode node) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == YamlNode::Kind::kList) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.key) {
      frame.key = std::move(node);
    } else {
      AddEntry(frame, std::move(node));
    }
  }

  void AddEntry(Frame& frame, YamlNode value) {
    const YamlNode key = *std::exchange(frame.key, std::nullopt);
    if (key.kind != YamlNode::Kind::kScalar) {
      return Report(key.place, "a key must be text");
    }
    if (key.text.empty()) return Report(key.place, "a key is empty: name it, or remove it");
    if (key.text.size() > kKeyBytesMax || !IsOneLine(key.text)) {
      return Report(key.place, Str(Quoted(key.text), " cannot be a key: keys have at most ",
                                   kKeyBytesMax, " bytes of text without control characters"));
    }
    if (key.text == "<<" && !key.quoted) {
      return Report(key.place, "merge keys (<<) are refused: write the keys out");
    }
    if (!key.quoted) RefuseKeyWithValue(key, value, frame.in_brackets);
    const auto [first, is_new] = frame.keys.emplace(key.text, key.place);
    if (!is_new) {
      return Report(key.place, Str("duplicate key \"", key.text, "\"; it was already given at ",
                                   first->second.line, ":", first->second.column));
    }
    // An empty value has no place of its own: yaml-cpp gives that of the next token.
    if (value.kind == YamlNode::Kind::kNothing) value.place = key.place;
    frame.node.entries.push_back({.key = key.text, .place = key.place, .value = std::move(value)});
  }

  // YAML reads "model {size: micro}" as the key "model {size", "model:{size: micro}" as the key
  // "model:{size", and in {size micro} or {size:micro} it finds a key without a value.
  static void RefuseKeyWithValue(const YamlNode& key, const YamlNode& value, bool in_brackets) {
    const std::string_view text = key.text;
    const std::size_t end = NameLength(text);
    if (end == 0 || end + 1 >= text.size()) return;
    const std::string_view word = text.substr(0, end);
    const std::string_view rest = text.substr(end + 1);
    const bool has_bracket = rest[0] == '{' || rest[0] == '[';
    const bool is_alone = in_brackets && value.kind == YamlNode::Kind::kNothing;
    if (!has_bracket && !is_alone) return;
    if (text[end] == ' ') throw Refused{key.place, ColonMissing(word, rest)};
    if (text[end] == ':') throw Refused{key.place, SpaceMissing(word, rest)};
  }

  const int source_;
  std::vector<Problem>& problems_;
  std::vector<Frame> frames_;
  std::optional<YamlNode> root_;
  int n_nodes_ = 0;
  int n_documents_ = 0;
};

// Whether the text is UTF-8 without NUL; otherwise reports the first line that is not.
bool IsText(std::string_view text, int source, std::vector<Problem>& problems) {
  if (IsUtf8(text) && text.find('\0') == std::string_view::npos) return true;
  Place place = {.source = source, .line = 1, .column = 1};
  std::string message = "this line is not UTF-8 text";
  while (!text.empty()) {
    const std::size_t n = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view first = text.substr(0, n);
    if (!IsUtf8(first)) break;
    if (const std::size_t nul = first.find('\0'); nul != std::string_view::npos) {
      place.column = static_cast<int>(nul) + 1;
      message = "a NUL byte is here, which no text has: remove it, or save the file as UTF-8";
      break;
    }
    text.remove_prefix(n);
    ++place.line;
  }
  problems.push_back({.place = place, .message = std::move(message)});
  return false;
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
  if (word.empty() || NameLength(word) < word.size()) return std::nullopt;
  return LineKey{.column = begin, .name = std::string(word), .line = number};
}

struct Misplaced {
  int line = 0;
  int column = 1;
  std::string message;
};

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
std::optional<Misplaced> FirstMisplacedKey(std::string_view text, int last) {
  std::vector<LineKey> open;
  std::optional<LineKey> above;  // the line above, if it is a bare word
  for (const auto& [number, line] : LinesOutsideBrackets(text, last)) {
    if (Trim(line).empty() || Trim(line).starts_with('#')) continue;
    const std::optional<LineKey> key = KeyOfLine(line, number);
    const std::optional<LineKey> word = std::exchange(above, BareWord(line, number));
    if (!key) continue;
    if (word && word->column < key->column) {
      return Misplaced{.line = word->line,
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
      return Misplaced{
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
    return Misplaced{
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
std::optional<Misplaced> FirstWithoutColon(std::string_view text, int last) {
  bool goes_on = false;  // the line above has a key whose text may continue
  for (const auto& [number, line] : LinesOutsideBrackets(text, last)) {
    const std::string_view content = WithoutComment(line);
    const std::size_t begin = content.find_first_not_of(' ');
    if (begin == std::string_view::npos || content[begin] == '#') continue;
    const std::string_view words = content.substr(begin);
    const std::size_t end = NameLength(words);
    const bool has_colon = words.find(": ") != std::string_view::npos || words.ends_with(':');
    const bool is_key_and_value = end > 0 && end + 1 < words.size();
    if (is_key_and_value && !goes_on) {
      const std::string_view key = words.substr(0, end);
      const std::string_view value = Trim(words.substr(end + 1));
      const bool opens = value.starts_with('{') || value.starts_with('[');
      const int column = static_cast<int>(begin) + 1;
      if (words[end] == ' ' && !has_colon) {
        return Misplaced{.line = number, .column = column, .message = ColonMissing(key, value)};
      }
      if (words[end] == ':' && words[end + 1] != ' ' && (!has_colon || opens)) {
        return Misplaced{.line = number, .column = column, .message = SpaceMissing(key, value)};
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
std::optional<Misplaced> SecondKeyOnLine(std::string_view text, int number) {
  for (const auto& [at, line] : LinesOutsideBrackets(text, number)) {
    if (at != number) continue;
    std::string_view words = Trim(WithoutComment(line));
    while (words.starts_with("- ")) words = Trim(words.substr(2));
    const std::size_t first = words.find(": ");
    if (first == std::string_view::npos) return std::nullopt;
    const std::string_view key = words.substr(0, first);
    const std::string_view value = Trim(words.substr(first + 2));
    const std::size_t end = NameLength(value);
    if (end == 0 || !value.substr(end).starts_with(": ")) return std::nullopt;
    return Misplaced{.line = number,
                     .column = static_cast<int>(value.data() - line.data()) + 1,
                     .message = Str("a second key on the line of \"", key, "\": write `", key,
                                    ": {", value, "}`, or \"", value.substr(0, end),
                                    "\" on a line of its own, indented further")};
  }
  return std::nullopt;
}

// "{position [cable]}": the word before the bracket at which the parser stopped.
std::optional<Misplaced> WordBeforeBracket(std::string_view text, const YAML::Mark& mark) {
  const std::vector<std::string> lines = Split(text, '\n');
  const auto at = static_cast<std::size_t>(mark.line);
  if (at >= lines.size()) return std::nullopt;
  const std::string_view line = lines[at];
  const auto column = static_cast<std::size_t>(mark.column);
  const bool is_bracket = column < line.size() && (line[column] == '[' || line[column] == '{');
  if (!is_bracket) return std::nullopt;
  const std::string_view before = line.substr(0, column);
  const std::size_t begin = before.find_last_of("{,") + 1;
  const std::size_t word_at = before.find_first_not_of(' ', begin);
  if (begin == 0 || word_at == std::string_view::npos) return std::nullopt;
  const std::string_view word = Trim(before.substr(word_at));
  if (NameLength(word) < word.size()) return std::nullopt;
  return Misplaced{.line = mark.line + 1,
                   .column = static_cast<int>(word_at) + 1,
                   .message = ColonMissing(word, line.substr(column))};
}

}  // namespace

const YamlNode::Entry* YamlNode::Find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

std::optional<YamlNode> ParseYaml(std::string_view text, int source,
                                  std::vector<Problem>& problems) {
  const auto refuse = [&](Place place, std::string message) {
    problems.push_back({.place = place, .message = std::move(message)});
    return std::nullopt;
  };
  const Place start = {.source = source, .line = 1, .column = 1};
  if (text.size() > kSweepBytesMax) {
    return refuse(
        start, Str("the text has ", text.size(), " bytes; at most ", kSweepBytesMax, " are read"));
  }
  if (!IsText(text, source, problems)) return std::nullopt;
  TreeBuilder builder(source, problems);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& refused) {
    return refuse(refused.place, refused.message);
  } catch (const YAML::Exception& error) {
    if (const int line = FirstTabbedLine(text, error.mark.line + 1); line > 0) {
      return refuse({.source = source, .line = line, .column = 1},
                    "this line is indented with a tab: YAML allows only spaces");
    }
    if (const std::optional<Misplaced> key = FirstMisplacedKey(text, error.mark.line + 1)) {
      return refuse({.source = source, .line = key->line, .column = key->column}, key->message);
    }
    if (const std::optional<Unclosed> open = FirstUnclosed(text)) {
      return refuse({.source = source, .line = open->line, .column = open->column},
                    WhatToClose(open->what));
    }
    std::optional<Misplaced> key = FirstWithoutColon(text, error.mark.line + 1);
    if (!key) key = SecondKeyOnLine(text, error.mark.line + 1);
    if (!key) key = WordBeforeBracket(text, error.mark);
    if (key) {
      return refuse({.source = source, .line = key->line, .column = key->column}, key->message);
    }
    return refuse({.source = source, .line = error.mark.line + 1, .column = error.mark.column + 1},
                  Str("this is not YAML: ", error.msg));
  }
  std::optional<YamlNode> root = builder.TakeRoot();
  if (!root) return refuse(start, "there is nothing here");
  return root;
}

}  // namespace longrun
