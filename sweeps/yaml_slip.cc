#include "sweeps/yaml_slip.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/str.h"
#include "base/utf8.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/claim.h"
#include "sweeps/schema.h"

namespace longrun {
namespace {

// A text of the file, for a message: a line may have any length.
std::string Shown(std::string_view text) {
  constexpr std::size_t kBytesMax = 60;
  return Shortened(text, kBytesMax);
}

// "...}" or "...]" after a bracket, else the text itself: what to write after a key.
std::string ShowValue(std::string_view value) {
  if (value.starts_with('{')) return "{...}";
  return value.starts_with('[') ? "[...]" : Shown(value);
}

// Characters that look like a space, or like nothing, and are neither for YAML.
struct OddSpace {
  std::string_view bytes;
  std::string_view name;
  bool has_width = true;
};

constexpr OddSpace kOddSpaces[] = {
    {"\u00a0", "a no-break space (U+00A0)"},
    {"\u2002", "an en space (U+2002)"},
    {"\u2003", "an em space (U+2003)"},
    {"\u2007", "a figure space (U+2007)"},
    {"\u2009", "a thin space (U+2009)"},
    {"\u200b", "a space without width (U+200B)", false},
    {"\u202f", "a narrow no-break space (U+202F)"},
    {"\u3000", "an ideographic space (U+3000)"},
    {"\ufeff", "a byte order mark (U+FEFF)", false},
};

std::string InsteadOf(const OddSpace& space) {
  return space.has_width ? ", which YAML does not take for a space: write ordinary spaces instead"
                         : ", which cannot be seen: remove it";
}

// Null if there is none.
const OddSpace* OddSpaceAt(std::string_view text, std::size_t at) {
  const auto found = std::ranges::find_if(
      kOddSpaces, [&](const OddSpace& space) { return text.substr(at).starts_with(space.bytes); });
  return found == std::end(kOddSpaces) ? nullptr : found;
}

struct NumberedLine {
  int number = 0;
  std::string_view text;  // without its end
};

// The lines of a text that is not YAML.
struct FileLines {
  std::vector<NumberedLine> all;
  // Those that have keys: not empty ones, comments, those that start inside brackets, and the text
  // below `key: |`.
  std::vector<NumberedLine> with_keys;
  int last = 0;  // the line at which the parser stopped
};

// Calls `what(line, number)` for the lines up to `last`, until it returns a slip.
template <typename What>
std::optional<YamlSlip> FirstLine(const std::vector<NumberedLine>& lines, int last,
                                  const What& what) {
  for (const auto& [number, line] : lines) {
    if (number > last) break;
    if (std::optional<YamlSlip> slip = what(line, number)) return slip;
  }
  return std::nullopt;
}

// Where the content of a line begins, after its indentation and its dashes.
std::size_t ContentAt(std::string_view line) {
  std::size_t at = 0;
  while (at < line.size()) {
    const bool is_dash =
        line[at] == '-' && (at + 1 == line.size() || line[at + 1] == ' ' || line[at + 1] == '\t' ||
                            OddSpaceAt(line, at + 1) != nullptr);
    if (const OddSpace* const space = OddSpaceAt(line, at)) {
      at += space->bytes.size();
    } else if (line[at] == ' ' || line[at] == '\t' || is_dash) {
      at += 1;
    } else {
      break;
    }
  }
  return at;
}

// The first tab in the indentation of a line.
std::optional<YamlSlip> FirstTab(const FileLines& file) {
  const auto in_line = [](std::string_view line, int number) -> std::optional<YamlSlip> {
    const std::size_t tab = line.substr(0, ContentAt(line)).find('\t');
    if (tab == std::string_view::npos) return std::nullopt;
    return YamlSlip{.line = number,
                    .column = static_cast<int>(tab) + 1,
                    .message =
                        "this line is indented with a tab, but YAML allows only spaces: "
                        "write spaces instead of tabs"};
  };
  return FirstLine(file.all, file.last, in_line);
}

std::string_view WithoutComment(std::string_view line) { return line.substr(0, line.find(" #")); }

// Whether the text of a line's value follows in the lines below it: "key: |", "- >-".
bool BeginsBlockText(std::string_view line) {
  const std::string_view content = Trim(WithoutComment(line));
  const std::size_t mark = content.find_last_of("|>");
  if (mark == std::string_view::npos || mark < 2 || content[mark - 1] != ' ') return false;
  const bool opens = content[mark - 2] == ':' || content[mark - 2] == '-';
  return opens && content.find_first_not_of("+-123456789", mark + 1) == std::string_view::npos;
}

// Knows the lines of the texts below "key: |" as the lines of a file pass.
class BlockTexts {
 public:
  // Whether the next line belongs to such a text.
  bool Has(std::string_view line) {
    const std::size_t column = line.find_first_not_of(' ');
    if (column == std::string_view::npos) return key_ != kNone;
    if (key_ != kNone && column > key_) return true;
    key_ = !line.substr(column).starts_with('#') && BeginsBlockText(line) ? column : kNone;
    return false;
  }

 private:
  static constexpr std::size_t kNone = std::string_view::npos;
  std::size_t key_ = kNone;  // the column of the key of the text
};

// The first character that only looks like a space where YAML needs one: in the indentation of a
// line, or after a colon, a dash or a comma. Not in comments, quoted texts and texts of lines.
std::optional<YamlSlip> FirstOddSpace(const FileLines& file) {
  BlockTexts texts;
  const auto in_line = [&](std::string_view line, int number) -> std::optional<YamlSlip> {
    if (texts.Has(line)) return std::nullopt;
    const std::size_t content = ContentAt(line);
    if (line.substr(content).starts_with('#')) return std::nullopt;
    line = WithoutComment(line);
    line = line.substr(0, line.find_first_of("\"'"));
    for (std::size_t at = 0; at < line.size(); ++at) {
      const OddSpace* const space = OddSpaceAt(line, at);
      const bool is_byte_order_mark = number == 1 && at == 0;
      if (space == nullptr || is_byte_order_mark) continue;
      const bool separates =
          at < content || std::string_view(":-,").find(line[at - 1]) != std::string_view::npos;
      if (!separates) continue;
      return YamlSlip{.line = number,
                      .column = static_cast<int>(at) + 1,
                      .message = Str("here is ", space->name, InsteadOf(*space))};
    }
    return std::nullopt;
  };
  return FirstLine(file.all, file.last, in_line);
}

// Lines that other programs put around or into a file.
std::optional<YamlSlip> FirstForeignLine(const FileLines& file) {
  const auto in_line = [](std::string_view line, int number) -> std::optional<YamlSlip> {
    const bool is_fence = line.starts_with("```");
    const bool is_conflict =
        line.starts_with("<<<<<<<") || line.starts_with(">>>>>>>") || line.starts_with("=======");
    if (!is_fence && !is_conflict) return std::nullopt;
    return YamlSlip{.line = number,
                    .message = is_fence ? "this line belongs to Markdown, not to YAML: remove it"
                                        : "this line marks a conflict of a merge: choose one of "
                                          "the two versions, and remove the marks"};
  };
  return FirstLine(file.all, file.last, in_line);
}

// A key at the start of a line: "  - name: value" is `name` at column 4 (0-based), with a value.
struct LineKey {
  std::size_t column = 0;
  std::string name;        // as Shown(): no key of a sweep file is longer
  std::string value = {};  // "": none
  int line = 0;
  bool is_item = false;  // after a dash

  bool has_value() const { return !value.empty(); }
};

std::optional<LineKey> KeyOfLine(std::string_view line, int number) {
  std::size_t column = line.find_first_not_of(' ');
  const std::size_t begin = column;
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
      .name = Shown(name),
      .value = has_value ? std::string(Trim(WithoutComment(line.substr(value)))) : std::string(),
      .line = number,
      .is_item = column > begin};
}

FileLines LinesOf(std::string_view text, int last) {
  FileLines lines = {.all = {}, .with_keys = {}, .last = last};
  BlockTexts texts;
  int brackets = 0;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin = end + 1;
    number += 1;
    lines.all.push_back({.number = number, .text = line});
    const std::size_t column = line.find_first_not_of(' ');
    if (texts.Has(line) || column == std::string_view::npos || line[column] == '#') continue;
    const bool in_brackets = brackets > 0;
    for (const char c : WithoutComment(line)) {
      brackets += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    }
    brackets = std::max(0, brackets);  // a bracket of a text may close nothing
    if (!in_brackets) lines.with_keys.push_back({.number = number, .text = line});
  }
  return lines;
}

// "-perplexity: ..." or "-cable": a list's entry without a space after the dash.
std::optional<YamlSlip> FirstTightDash(const FileLines& file) {
  std::optional<LineKey> above;
  const auto in_line = [&above](std::string_view line, int number) -> std::optional<YamlSlip> {
    const std::size_t dash = std::min(line.find_first_not_of(' '), line.size());
    // A text may go on in the lines below its key.
    const bool goes_on = above && above->has_value() && dash > above->column;
    if (std::optional<LineKey> key = KeyOfLine(line, number)) above = std::move(key);
    if (goes_on || !IsTightDash(line.substr(dash))) return std::nullopt;
    return YamlSlip{.line = number,
                    .column = static_cast<int>(dash) + 1,
                    .message = DashSpaceMissing(line.substr(dash))};
  };
  return FirstLine(file.with_keys, file.last, in_line);
}

// Marks that are written instead of a colon.
constexpr std::string_view kNotColons = "=;";

// A line that is only a word: "  train", "- perplexity", "matrix;".
std::optional<LineKey> BareWord(std::string_view line, int number) {
  const std::size_t begin = line.find_first_not_of(" -");
  if (begin == std::string_view::npos) return std::nullopt;
  std::string_view word = Trim(WithoutComment(line.substr(begin)));
  if (!word.empty() && kNotColons.find(word.back()) != std::string_view::npos) {
    word = Trim(word.substr(0, word.size() - 1));
  }
  if (word.empty() || KeyNameLength(word) < word.size()) return std::nullopt;
  return LineKey{.column = begin,
                 .name = Shown(word),
                 .line = number,
                 .is_item = line.substr(0, begin).find('-') != std::string_view::npos};
}

// Whether `first` and at least one more key are indented like a map of their own.
bool BeginsAMap(const FileLines& file, const LineKey& first) {
  int n_keys = 0;
  for (const auto& [number, line] : file.with_keys) {
    if (number < first.line) continue;
    if (line.find_first_not_of(' ') < first.column) break;
    const std::optional<LineKey> key = KeyOfLine(line, number);
    if (key && key->column == first.column) n_keys += 1;
  }
  return n_keys > 1;
}

std::string Indented(std::size_t column) {
  return column == 0 ? "not indented"
                     : Str("indented by ", column, column == 1 ? " space" : " spaces");
}

std::string IndentBy(std::size_t column) {
  return column == 0 ? "do not indent it" : Str("indent it by ", column);
}

// Follows the indentation of a file's keys and lists, line by line, up to the first that fits
// nowhere: the parser's own message would speak of tokens, or of another line.
class Indentation {
 public:
  explicit Indentation(const FileLines& file) : file_(file) {}

  std::optional<YamlSlip> Next(std::string_view line, int number) {
    const std::size_t begin = line.find_first_not_of(' ');
    const bool is_item = line[begin] == '-' && (begin + 1 == line.size() || line[begin + 1] == ' ');
    const std::optional<LineKey> key = KeyOfLine(line, number);
    // A bare word above a key that is indented further has lost its colon.
    const std::optional<LineKey> word = std::exchange(word_above_, BareWord(line, number));
    if (key && word && word->column < key->column) {
      return YamlSlip{.line = word->line,
                      .column = static_cast<int>(word->column) + 1,
                      .message = ColonMissing(word->name, "")};
    }
    if (is_item) {
      const Dash dash = {.column = begin, .line = number};
      if (key) {
        if (std::optional<YamlSlip> slip = DashBeforeKey(dash, *key)) return slip;
      }
      if (std::optional<YamlSlip> slip = NextItem(dash)) return slip;
    } else if (!key && word_above_ && IsEntryWithoutDash(*word_above_)) {
      return YamlSlip{.line = number,
                      .column = static_cast<int>(begin) + 1,
                      .message = DashMissing(word_above_->name)};
    } else if (key) {
      while (!lists_.empty() && lists_.back().column >= key->column) lists_.pop_back();
    }
    std::optional<YamlSlip> slip;
    if (key) slip = NextKey(*key);
    key_above_ = key;
    return slip;
  }

 private:
  // A key that is open at a line, and the keys whose maps ended at its line, innermost first.
  struct Level {
    LineKey key;
    std::vector<LineKey> left = {};
    bool has_list = false;  // below the key
  };

  // The dash of the first entry of a list.
  struct Dash {
    std::size_t column = 0;
    int line = 0;
  };

  // The number of open keys that are indented by less than `column`.
  std::size_t ParentsOf(std::size_t column) const {
    std::size_t n = 0;
    while (n < open_.size() && open_[n].key.column < column) n += 1;
    return n;
  }

  // Whether the value of the innermost of the first `n` open keys is a map.
  bool IsMap(std::size_t n) const {
    std::string path;
    for (std::size_t i = 0; i < n; ++i) path += Str(i > 0 ? "." : "", open_[i].key.name);
    const KeyRow* const row = FindKey(path);
    return n == 0 || (row != nullptr && row->kind == KeyRow::Kind::kMap);
  }

  // "- train: ..." between the other keys of spec.
  std::optional<YamlSlip> DashBeforeKey(Dash dash, const LineKey& key) const {
    const bool is_path = key.name.find('.') != std::string::npos;
    const std::size_t by_dash = ParentsOf(dash.column);
    const std::size_t n = IsKeyOf(key.name, by_dash) ? by_dash : ParentsOf(key.column);
    if (is_path || !IsKeyOf(key.name, n)) return std::nullopt;
    const bool is_first = n == open_.size();
    const std::size_t column = !is_first      ? open_[n].key.column
                               : n == by_dash ? dash.column
                                              : key.column;
    return YamlSlip{.line = dash.line,
                    .column = static_cast<int>(dash.column) + 1,
                    .message = Str("\"", key.name, "\" is a key of ",
                                   n == 0 ? std::string("the file")
                                          : Str("\"", open_[n - 1].key.name, "\" (line ",
                                                open_[n - 1].key.line, ")"),
                                   ", not an entry of a list: remove the dash, and ",
                                   column == 0 ? std::string("do not indent the key")
                                               : Str("indent the key by ", column))};
  }

  bool IsKeyOf(std::string_view name, std::size_t n) const {
    return IsMap(n) && MayHave(name, n, {});
  }

  // Whether a bare word is indented like the dashes of the list above it.
  bool IsEntryWithoutDash(const LineKey& word) const {
    return !lists_.empty() && lists_.back().column == word.column &&
           !MayHave(word.name, ParentsOf(word.column), {});
  }

  std::optional<YamlSlip> NextItem(Dash dash) {
    std::optional<Dash> other;
    while (!lists_.empty() && lists_.back().column > dash.column) {
      other = lists_.back();
      lists_.pop_back();
    }
    const bool goes_on = !lists_.empty() && lists_.back().column == dash.column;
    const bool is_below_key = key_above_ && !key_above_->has_value();
    const bool begins = is_below_key && dash.column >= key_above_->column;
    if (!goes_on && !begins) {
      const bool is_of_key = is_below_key && !key_above_->is_item;
      if (!other && !is_of_key && !lists_.empty()) other = lists_.back();
      if (other) {
        return YamlSlip{.line = dash.line,
                        .column = static_cast<int>(dash.column) + 1,
                        .message = DashUnlike(dash.column, other->line, other->column)};
      }
      if (is_of_key) {
        return YamlSlip{
            .line = dash.line,
            .column = static_cast<int>(dash.column) + 1,
            .message = Str("this list belongs to \"", key_above_->name, "\" (line ",
                           key_above_->line, "), but its dash is ", Indented(dash.column),
                           ": indent its dashes by ", key_above_->column + 2)};
      }
    }
    const std::size_t n = ParentsOf(dash.column);
    if (!goes_on && n < open_.size() && open_[n].key.column == dash.column && !IsMap(n) &&
        MayHave(open_[n].key.name, n, {})) {
      return YamlSlip{.line = open_[n].key.line,
                      .column = static_cast<int>(dash.column) + 1,
                      .message = DashMissing(Str(open_[n].key.name, ": ..."))};
    }
    if (!goes_on) lists_.push_back(dash);
    // The keys of the entry above end here.
    while (!open_.empty() && open_.back().key.column > dash.column) open_.pop_back();
    if (!open_.empty()) open_.back().has_list = true;
    return std::nullopt;
  }

  std::optional<YamlSlip> NextKey(const LineKey& key) {
    std::vector<LineKey> closed;
    while (!open_.empty() && open_.back().key.column > key.column) {
      closed.push_back(open_.back().key);
      open_.pop_back();
    }
    const bool is_beside = !open_.empty() && open_.back().key.column == key.column;
    if (is_beside) {
      closed.push_back(open_.back().key);
      open_.back() = {.key = key, .left = std::move(closed)};
      return std::nullopt;
    }
    const bool is_below_list = !open_.empty() && open_.back().has_list && !key.is_item;
    const bool is_below =
        closed.empty() && !is_below_list && (open_.empty() || !open_.back().key.has_value());
    if (is_below) {
      open_.push_back({.key = key});
      return std::nullopt;
    }
    if (is_below_list && MayHave(key.name, open_.size(), {})) {
      return YamlSlip{.line = key.line,
                      .column = static_cast<int>(key.column) + 1,
                      .message = DashMissing(Str(key.name, ": ..."))};
    }
    if (std::optional<YamlSlip> slip = KeyAboveLeftItsMap(key)) return slip;
    if (std::optional<YamlSlip> slip = OfAClosedMap(key, closed)) return slip;
    if (!closed.empty()) return BetweenColumns(key, closed.back());
    if (is_below_list) return Unlike(key, open_.back().key, ParentAt(open_.size() - 1));
    return BelowAValue(key);
  }

  // Whether a sweep file may have the key `name` below the first `n` open keys and `further`.
  bool MayHave(std::string_view name, std::size_t n, std::span<const LineKey> further) const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < n; ++i) names.push_back(open_[i].key.name);
    for (auto above = further.rbegin(); above != further.rend(); ++above) {
      names.push_back(above->name);
    }
    const std::string path = Join(names, ".");
    if (path == "spec.evaluate") return FindEvaluation(name).ok();
    if (path == "spec.claims") return FindClaimKind(name) != nullptr;
    if (names.size() == 3 && path.starts_with("spec.evaluate.")) {
      const Result<const Evaluation*> evaluation = FindEvaluation(names[2]);
      return evaluation.ok() && IsParam((*evaluation)->params, name);
    }
    if (names.size() == 3 && path.starts_with("spec.claims.")) {
      const ClaimKind* const kind = FindClaimKind(names[2]);
      return kind != nullptr && IsParam(kind->params, name);
    }
    return FindKey(names.empty() ? std::string(name) : Str(path, ".", name)) != nullptr ||
           (path == "spec.matrix" && FindAxis(name) != nullptr);
  }

  static bool IsParam(std::span<const ParamSpec> params, std::string_view name) {
    return std::ranges::find(params, name, &ParamSpec::name) != params.end();
  }

  // The innermost of the first `n` open keys; null for the file itself.
  const LineKey* ParentAt(std::size_t n) const { return n == 0 ? nullptr : &open_[n - 1].key; }

  // A key that belongs into one of the maps that are closed at its line, since it is not indented
  // enough. `closed` has their last keys, innermost first.
  std::optional<YamlSlip> OfAClosedMap(const LineKey& key, std::span<const LineKey> closed) const {
    if (closed.empty()) return std::nullopt;
    if (!closed[0].has_value() && MayHave(key.name, open_.size(), closed)) {
      return YamlSlip{.line = key.line,
                      .column = static_cast<int>(key.column) + 1,
                      .message = Str("\"", key.name, "\" is ", Indented(key.column),
                                     ", but it belongs below \"", closed[0].name, ":\" (line ",
                                     closed[0].line, "): indent it by ", closed[0].column + 2)};
    }
    for (std::size_t i = 0; i + 1 < closed.size(); ++i) {
      if (!MayHave(key.name, open_.size(), closed.subspan(i + 1))) continue;
      return Unlike(key, closed[i], &closed[i + 1]);
    }
    return std::nullopt;
  }

  // `train:` at the margin, between the keys of spec: the line below it shows where it belongs.
  std::optional<YamlSlip> KeyAboveLeftItsMap(const LineKey& key) const {
    if (open_.empty()) return std::nullopt;
    const LineKey& above = open_.back().key;
    const std::vector<LineKey>& left = open_.back().left;
    if (MayHave(above.name, open_.size() - 1, {})) return std::nullopt;
    for (std::size_t i = 0; i < left.size(); ++i) {
      const bool is_beside = left[i].column == key.column && i + 1 < left.size();
      const bool is_below = i == 0 && left[i].column < key.column && !left[i].has_value();
      if (!is_beside && !is_below) continue;
      const std::span<const LineKey> parents = std::span(left).subspan(is_beside ? i + 1 : i);
      if (!MayHave(above.name, open_.size() - 1, parents)) continue;
      return YamlSlip{
          .line = above.line,
          .column = static_cast<int>(above.column) + 1,
          .message =
              Str("\"", above.name, "\" is ", Indented(above.column), ", but it belongs below \"",
                  parents[0].name, ":\" (line ", parents[0].line, "): indent it by ", key.column,
                  is_beside ? Str(", like \"", left[i].name, "\" (line ", left[i].line, ")") : "")};
    }
    return std::nullopt;
  }

  // Indented below a key that already has a value.
  YamlSlip BelowAValue(const LineKey& key) const {
    const LineKey& beside = open_.back().key;
    if (!BeginsAMap(file_, key)) return Unlike(key, beside, ParentAt(open_.size() - 1));
    return {.line = beside.line,
            .column = static_cast<int>(beside.column) + 1,
            .message = Str("\"", beside.name, "\" has the value \"", ShowValue(beside.value),
                           "\", but keys are indented below it, from \"", key.name, "\" (line ",
                           key.line, ") on: remove the value, or ",
                           beside.column == 0 ? std::string("do not indent these keys,")
                                              : Str("indent these keys by ", beside.column),
                           " to put them beside \"", beside.name, "\"")};
  }

  // Indented further than the open key, but not as far as the keys below that one.
  YamlSlip BetweenColumns(const LineKey& key, const LineKey& closed) const {
    const bool fits_above = !open_.empty() && MayHave(key.name, open_.size() - 1, {}) &&
                            !MayHave(key.name, open_.size(), {});
    if (fits_above) return Unlike(key, open_.back().key, ParentAt(open_.size() - 1));
    return Unlike(key, closed, ParentAt(open_.size()));
  }

  // The remedy is to put the key beside another one, which is below `parent`.
  static YamlSlip Unlike(const LineKey& key, const LineKey& beside, const LineKey* parent) {
    return {.line = key.line,
            .message = Str("\"", key.name, "\" is ", Indented(key.column),
                           ", unlike any key above it: ", IndentBy(beside.column), " to put it ",
                           parent == nullptr ? "" : Str("below \"", parent->name, ":\" and "),
                           "beside \"", beside.name, "\" (line ", beside.line, ")")};
  }

  const FileLines& file_;
  std::vector<Level> open_;
  std::vector<Dash> lists_;
  std::optional<LineKey> key_above_;   // the line above, if it has a key
  std::optional<LineKey> word_above_;  // the line above, if it is a bare word
};

// The first line whose key or dash does not line up with those above it.
std::optional<YamlSlip> FirstMisplaced(const FileLines& file) {
  Indentation indentation(file);
  return FirstLine(file.with_keys, file.last, [&](std::string_view line, int number) {
    return indentation.Next(line, number);
  });
}

struct Unclosed {
  int line = 0;
  int column = 0;
  char what = ' ';  // [ { " or '
  // Of a quotation mark that another one, lines below, closes by mistake.
  int closed_line = 0;
  int closed_column = 0;
};

// Whether a line of the text has a key, except the first.
bool HasKeyBelow(std::string_view text) {
  const std::vector<std::string> lines = Split(text, '\n');
  return std::any_of(lines.begin() + 1, lines.end(),
                     [](const std::string& line) { return KeyOfLine(line, 0).has_value(); });
}

// The innermost bracket or quote that is never closed, or the first quote that is closed only below
// the keys of other lines. Lines and columns (in bytes) count from 1.
std::optional<Unclosed> FirstUnclosed(std::string_view text) {
  std::vector<Unclosed> open;
  std::size_t quote_at = 0;
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
        if (HasKeyBelow(text.substr(quote_at, i - quote_at))) {
          open.back().closed_line = line;
          open.back().closed_column = column;
          return open.back();
        }
        open.pop_back();
      }
    } else if (c == '#' && (before == ' ' || before == '\n')) {
      i = std::min(text.find('\n', i), text.size()) - 1;
    } else if (c == '[' || c == '{') {
      open.push_back({.line = line, .column = column, .what = c});
    } else if ((c == '"' || c == '\'') &&
               std::string_view(" \n[{,").find(before) != std::string_view::npos) {
      open.push_back({.line = line, .column = column, .what = c});  // inside a word it is text
      quote_at = i;
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

YamlSlip ToClose(const Unclosed& open) {
  std::string message = QuoteNotClosed();
  if (open.what == '[') message = "this [ is not closed: write ] where the list ends";
  if (open.what == '{') message = "this { is not closed: write } where the map ends";
  if (open.closed_line > 0) {
    message = Str("this quotation mark is closed only in line ", open.closed_line, ", column ",
                  open.closed_column, ": write another one where the text ends");
  }
  return {.line = open.line, .column = open.column, .message = std::move(message)};
}

// "kind Sweep" or "kind:Sweep": the first line, outside of brackets, that starts like a key but has
// no colon or no space after it.
std::optional<YamlSlip> FirstWithoutColon(const FileLines& file) {
  const auto in_line = [](std::string_view line, int number) -> std::optional<YamlSlip> {
    const std::string_view content = WithoutComment(line);
    const std::size_t begin = content.find_first_not_of(' ');
    const std::string_view words = content.substr(begin);
    const std::size_t end = KeyNameLength(words);
    if (end == 0 || end + 1 >= words.size()) return std::nullopt;
    const bool has_colon = words.find(": ") != std::string_view::npos || words.ends_with(':');
    const std::string_view key = words.substr(0, end);
    const std::string_view value = Trim(words.substr(end + 1));
    const bool opens = value.starts_with('{') || value.starts_with('[');
    const int column = static_cast<int>(begin) + 1;
    const bool has_other_mark = kNotColons.find(words[end]) != std::string_view::npos;
    if ((words[end] == ' ' || has_other_mark) && !has_colon) {
      return YamlSlip{
          .line = number, .column = column, .message = ColonMissing(key, words.substr(end))};
    }
    if (words[end] == ':' && words[end + 1] != ' ' && (!has_colon || opens)) {
      return YamlSlip{.line = number, .column = column, .message = SpaceMissing(key, value)};
    }
    return std::nullopt;
  };
  return FirstLine(file.with_keys, file.last, in_line);
}

// "schedule: warmup_tokens: 20480": a second key on the line at which the parser stopped.
std::optional<YamlSlip> SecondKeyOnLine(const FileLines& file) {
  const auto in_line = [&file](std::string_view line, int number) -> std::optional<YamlSlip> {
    if (number != file.last) return std::nullopt;
    std::string_view words = Trim(WithoutComment(line));
    while (words.starts_with("- ")) words = Trim(words.substr(2));
    const std::size_t first = words.find(": ");
    if (first == std::string_view::npos) return std::nullopt;
    const std::string_view key = words.substr(0, first);
    const std::string_view value = Trim(words.substr(first + 2));
    const std::size_t end = KeyNameLength(value);
    if (end == 0 || !value.substr(end).starts_with(": ")) return std::nullopt;
    return YamlSlip{
        .line = number,
        .column = static_cast<int>(value.data() - line.data()) + 1,
        .message = Str(
            "a second key on the line of \"", Shown(key), "\": write `", Shown(key), ": {",
            Shown(value), "}`, or \"", Shown(value.substr(0, end)),
            "\" on a line of its own, indented further; if this is one text, write it in quotes")};
  };
  return FirstLine(file.with_keys, file.last, in_line);
}

// The line at which the parser stopped, and the place in it.
struct StopLine {
  std::string_view line;
  std::size_t at = 0;

  std::string_view rest() const { return line.substr(at); }
};

StopLine LineOf(const FileLines& file, const ParserStop& stop) {
  const auto number = static_cast<std::size_t>(stop.line);
  if (number == 0 || number > file.all.size()) return {};
  const std::string_view line = file.all[number - 1].text;
  return {.line = line, .at = std::min(static_cast<std::size_t>(stop.column) - 1, line.size())};
}

// "{position [cable]}": the word before the bracket at which the parser stopped.
std::optional<YamlSlip> WordBeforeBracket(const FileLines& file, const ParserStop& stop) {
  const auto [line, column] = LineOf(file, stop);
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

// What yaml-cpp says when it stops; each is explained by WhatIsWrong().
constexpr std::string_view kEndOfBracketMap = "end of map flow not found";
constexpr std::string_view kEndOfBracketList = "end of sequence flow not found";
constexpr std::string_view kBracket = "illegal flow end";
constexpr std::string_view kEndOfMap = "end of map not found";
constexpr std::string_view kEndOfList = "end of sequence not found";
constexpr std::string_view kQuestionMark = "illegal map key";
constexpr std::string_view kColon = "illegal map value";
constexpr std::string_view kDash = "illegal block entry";
constexpr std::string_view kCharacter = "unknown token";
constexpr std::string_view kAnchor = "the referenced anchor is not defined";
constexpr std::string_view kEscape = "unknown escape character: ";

std::string_view FirstCharacter(std::string_view text) {
  std::size_t n = std::min<std::size_t>(text.size(), 1);
  while (n < text.size() && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) n += 1;
  return text.substr(0, n);
}

// Inside brackets, the parser stops at what follows an entry without a comma; if that is a key, at
// its colon.
std::optional<YamlSlip> CommaMissing(const FileLines& file, const ParserStop& stop) {
  const bool in_map = stop.message == kEndOfBracketMap;
  if (!in_map && stop.message != kEndOfBracketList) return std::nullopt;
  auto [line, at] = LineOf(file, stop);
  if (line.substr(at).starts_with(':')) {
    while (at > 0 && KeyNameLength(line.substr(at - 1, 1)) > 0) at -= 1;
  }
  const std::string_view rest = line.substr(at);
  if (rest.empty()) return std::nullopt;
  const bool is_quote = rest[0] == '"' || rest[0] == '\'';
  const std::size_t quote_end = is_quote ? rest.find(rest[0], 1) : std::string_view::npos;
  const std::string_view next = quote_end != std::string_view::npos
                                    ? rest.substr(0, quote_end + 1)
                                    : rest.substr(0, KeyNameLength(rest));
  const bool is_bracket = rest[0] == '{' || rest[0] == '[';
  const std::string where = in_map ? "between the keys of {...}" : "between the values of [...]";
  if (next.empty() && !is_bracket) {
    return YamlSlip{.line = stop.line,
                    .column = static_cast<int>(at) + 1,
                    .message = Str("expected a comma or ", in_map ? "}" : "]", " here, found \"",
                                   FirstCharacter(rest), "\": write commas ", where)};
  }
  return YamlSlip{.line = stop.line,
                  .column = static_cast<int>(at) + 1,
                  .message = Str("a comma is missing before ",
                                 is_bracket ? ShowValue(rest)
                                 : is_quote ? Shown(next)
                                            : Str('"', Shown(next), '"'),
                                 ": write commas ", where)};
}

// What YAML would not have at the place where the parser stopped.
std::string WhatIsWrong(const FileLines& file, const ParserStop& stop) {
  const StopLine place = LineOf(file, stop);
  const std::string_view rest = place.rest();
  const std::string_view first = FirstCharacter(rest);
  const std::string_view before = Trim(place.line.substr(0, place.at));
  const bool is_after_value =
      !rest.empty() && !before.empty() &&
      std::string_view("]}\"'").find(before.back()) != std::string_view::npos;
  if (stop.message == kBracket) {
    return Str("this ", first, " closes nothing: remove it, or write ", first == "]" ? "[" : "{",
               " where the ", first == "]" ? "list" : "map", " begins");
  }
  if (stop.message == kEndOfMap && is_after_value) {
    return Str(
        "\"", Shown(rest),
        "\" follows the end of the value: remove it, or write \" #\" before it if it is a comment");
  }
  if (stop.message == kCharacter && !first.empty()) {
    return Str("a text without quotes cannot begin with ", first,
               ": write it in quotes, or leave this character out");
  }
  if (stop.message == kAnchor) {
    return "a text that begins with * is an alias in YAML: write the value itself, or put the text "
           "in quotes";
  }
  if (stop.message == kDash) {
    return "a list cannot begin on the line of its key: write [VALUE, VALUE], or each \"- VALUE\" "
           "on a line of its own, below the key";
  }
  if (stop.message.starts_with(kEscape)) {
    return Str("\"\\", stop.message.substr(kEscape.size()),
               "\" means nothing in a text with double quotes: write \\\\ for a backslash, or use "
               "single quotes");
  }
  if (stop.message == kColon) {
    return "no key is expected here: check how this line and those above it are indented, and put "
           "a text that contains \": \" in quotes";
  }
  if (stop.message == kEndOfMap || stop.message == kQuestionMark) {
    return "expected \"KEY: VALUE\", indented like the keys above";
  }
  if (stop.message == kEndOfList) return "expected \"- VALUE\", indented like the dashes above";
  return Str("this is not YAML: ", stop.message);
}

}  // namespace

std::size_t KeyNameLength(std::string_view text) {
  return std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_."),
                  text.size());
}

std::string ColonMissing(std::string_view key, std::string_view value) {
  value = Trim(value);
  if (!value.empty() && kNotColons.find(value[0]) != std::string_view::npos) {
    value = Trim(value.substr(1));
  }
  return Str("a colon is missing after \"", Shown(key), "\": write `", Shown(key), ":",
             value.empty() ? "" : " ", ShowValue(value), "`");
}

std::string SpaceMissing(std::string_view key, std::string_view value) {
  return Str("a space is missing after \"", Shown(key), ":\": write `", Shown(key), ": ",
             ShowValue(value), "`");
}

std::string OddSpaceAround(std::string_view text) {
  for (const OddSpace& space : kOddSpaces) {
    const bool is_first = text.starts_with(space.bytes);
    if (!is_first && !text.ends_with(space.bytes)) continue;
    return Str(is_first ? "here is " : "this text ends with ", space.name, InsteadOf(space));
  }
  return "";
}

bool IsTightDash(std::string_view text) {
  return text.size() > 1 && text[0] == '-' && (text[1] < '0' || text[1] > '9') &&
         KeyNameLength(text.substr(1)) > 0;
}

std::string DashSpaceMissing(std::string_view entry) {
  const std::string_view word = entry.substr(1, KeyNameLength(entry.substr(1)));
  return Str("a space is missing after the dash: write `- ", Shown(word),
             entry.substr(1 + word.size()).starts_with(':') ? ": ..." : "", "`");
}

std::string DashMissing(std::string_view entry) {
  return Str("a dash is missing before this entry of the list: write `- ", Shown(entry), "`");
}

std::string DashUnlike(std::size_t column, int line_other, std::size_t column_other) {
  return Str("this dash is ", Indented(column), ", unlike the dash in line ", line_other,
             " of the same list: ", IndentBy(column_other));
}

std::string QuoteNotClosed() {
  return "this quotation mark is not closed: write another one where the text ends";
}

YamlSlip FindSlip(std::string_view text, const ParserStop& stop) {
  const FileLines file = LinesOf(text, stop.line);
  std::optional<YamlSlip> slip = FirstForeignLine(file);
  if (!slip) slip = FirstTab(file);
  if (!slip) slip = FirstOddSpace(file);
  if (!slip) slip = FirstTightDash(file);
  if (!slip) slip = FirstMisplaced(file);
  if (!slip) {
    if (const std::optional<Unclosed> open = FirstUnclosed(text)) slip = ToClose(*open);
  }
  if (!slip) slip = FirstWithoutColon(file);
  if (!slip) slip = SecondKeyOnLine(file);
  if (!slip) slip = WordBeforeBracket(file, stop);
  if (!slip) slip = CommaMissing(file, stop);
  if (slip) return *std::move(slip);
  return {.line = stop.line, .column = stop.column, .message = WhatIsWrong(file, stop)};
}

}  // namespace longrun
