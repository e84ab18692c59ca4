// The only file that includes yaml-cpp; its exceptions are caught here.
#include "sweeps/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "base/utf8.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/yaml_slip.h"

namespace longrun {
namespace {

constexpr std::size_t kKeyBytesMax = 256;  // our longest keys have a few dozen

// Thrown through yaml-cpp's parser when parsing on would only cost memory.
struct Refused {
  Place place;
  std::string message;
};

// Whether a list of a sweep file has maps that begin with this key. Other keys, such as those of
// labels, may begin with a dash.
bool IsKnownName(std::string_view name) {
  return FindEvaluation(name).ok() ||
         std::ranges::any_of(SweepKeys(), [&](const KeyRow& row) { return row.name() == name; });
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, int source, std::vector<Problem>& problems)
      : text_(text), source_(source), problems_(problems) {}

  std::optional<YamlNode> TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++n_documents_ > 1) {
      throw Refused{PlaceOf(mark),
                    "a second document begins here: a sweep is one document, so remove the line "
                    "\"---\" and what follows it, or put that into a file of its own"};
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
    YamlNode node = Node(mark, YamlNode::Kind::kScalar);
    node.refused = !CheckTag(mark, tag);
    node.text = value;
    node.quoted = tag == "!";
    if (node.quoted) RefuseWithoutEnd(mark);
    if (!node.quoted) RefuseDashBelow(mark, value);
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

  bool CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return true;
    Report(PlaceOf(mark), Str("tag \"", tag, "\" is refused: types come from the schema"));
    return false;
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
    if (!key.quoted && IsTightDash(key.text) && IsKnownName(key.text.substr(1))) {
      throw Refused{key.place, DashSpaceMissing(Str(key.text, ":"))};
    }
    if (!key.quoted) RefuseKeyWithValue(key, value, frame.in_brackets);
    const auto [first, is_new] = frame.keys.emplace(key.text, key.place);
    if (!is_new) {
      const bool is_in_list = !frame.in_brackets && frames_.size() > 1 &&
                              frames_[frames_.size() - 2].node.kind == YamlNode::Kind::kList;
      return Report(key.place,
                    Str("duplicate key \"", key.text, "\"; it was already given at ",
                        first->second.line, ":", first->second.column,
                        is_in_list ? "; another entry of the list begins with a dash" : ""));
    }
    // An empty value has no place of its own: yaml-cpp gives that of the next token.
    if (value.kind == YamlNode::Kind::kNothing) value.place = key.place;
    frame.node.entries.push_back({.key = key.text, .place = key.place, .value = std::move(value)});
  }

  // yaml-cpp takes the end of the file for the end of a text in quotes.
  void RefuseWithoutEnd(const YAML::Mark& mark) const {
    const std::size_t begin = BeginOf(mark);
    if (begin >= text_.size()) return;
    const char quote = text_[begin];
    if (quote != '"' && quote != '\'') return;  // a block scalar
    for (std::size_t at = begin + 1; at < text_.size(); ++at) {
      if (text_[at] == quote) return;
      if (quote == '"' && text_[at] == '\\') at += 1;
    }
    throw Refused{PlaceOf(mark), QuoteNotClosed()};
  }

  // To YAML, a line that is indented further continues the text above it, even if it begins with a
  // dash. That is not refused below a text of several words, which may well go on so.
  void RefuseDashBelow(const YAML::Mark& mark, std::string_view value) const {
    if (frames_.empty()) return;  // the whole file is this text
    if (value.find(" - ") == std::string_view::npos) return;
    std::string_view text = text_.substr(std::min(BeginOf(mark), text_.size()));
    const std::string first(Trim(text.substr(0, text.find('\n'))));
    // The value has the lines in their order, with spaces and newlines between them: each line is
    // looked for only where it has to be, so that a long text takes no more than one pass.
    if (!value.starts_with(first)) return;  // it ends in its first line
    value.remove_prefix(first.size());
    Place place = PlaceOf(mark);
    for (std::size_t n = text.find('\n'); n != std::string_view::npos; n = text.find('\n')) {
      text.remove_prefix(n + 1);
      place.line += 1;
      const std::string_view line = text.substr(0, text.find('\n'));
      const std::string_view entry = Trim(line);
      if (entry.empty()) continue;
      value = Trim(value);
      if (!value.starts_with(entry)) return;  // the text has ended
      value.remove_prefix(entry.size());
      if (!entry.starts_with("- ")) continue;
      const std::size_t dash = line.find('-');
      const YamlNode& list = frames_.back().node;
      if (list.kind != YamlNode::Kind::kList) {
        if (first.find(' ') != std::string::npos) return;
        throw Refused{PlaceOf(mark), DashMissing(first)};
      }
      const bool is_next_entry = dash + 1 == static_cast<std::size_t>(list.place.column);
      if (is_next_entry) return;
      place.column = static_cast<int>(dash) + 1;
      throw Refused{place, DashUnlike(dash, list.place.line,
                                      static_cast<std::size_t>(list.place.column) - 1)};
    }
  }

  // The byte of the text at which something begins.
  std::size_t BeginOf(const YAML::Mark& mark) const {
    const std::size_t byte_order_mark = text_.starts_with("\ufeff") ? 3 : 0;
    return static_cast<std::size_t>(mark.pos) + byte_order_mark;
  }

  // YAML reads "model {size: micro}" as the key "model {size", "model:{size: micro}" as the key
  // "model:{size", and in {size micro} or {size:micro} it finds a key without a value.
  static void RefuseKeyWithValue(const YamlNode& key, const YamlNode& value, bool in_brackets) {
    const std::string_view text = key.text;
    const std::size_t end = KeyNameLength(text);
    if (end == 0 || end + 1 >= text.size()) return;
    const std::string_view word = text.substr(0, end);
    const std::string_view rest = text.substr(end + 1);
    const bool has_bracket = rest[0] == '{' || rest[0] == '[';
    const bool is_alone = in_brackets && value.kind == YamlNode::Kind::kNothing;
    if (!has_bracket && !is_alone) return;
    if (text[end] == ' ' || text[end] == ';') {
      throw Refused{key.place, ColonMissing(word, text.substr(end))};
    }
    if (text[end] == ':') throw Refused{key.place, SpaceMissing(word, rest)};
  }

  const std::string_view text_;
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
  std::string message = "this line is not UTF-8 text: save the file as UTF-8";
  while (!text.empty()) {
    const std::size_t n = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view first = text.substr(0, n);
    if (!IsUtf8(first)) break;
    if (const std::size_t nul = first.find('\0'); nul != std::string_view::npos) {
      place.column = static_cast<int>(nul) + 1;
      message = "there is a NUL byte here: remove it, or save the file as UTF-8";
      break;
    }
    text.remove_prefix(n);
    ++place.line;
  }
  problems.push_back({.place = place, .message = std::move(message)});
  return false;
}

// Whether the lines end only in carriage returns, which do not end a line here.
bool HasOldLineEnds(std::string_view text) {
  const std::size_t end = text.find('\r');
  return text.find('\n') == std::string_view::npos &&
         text.find_first_not_of("\r ", end) != std::string_view::npos;
}

constexpr const char* kOtherText =
    "; few lines of this text look like `key: value`: is it the right file?";

// Whether at least a quarter of the lines may be of YAML: a book has few such lines.
bool LooksLikeYaml(std::string_view text) {
  std::int64_t n_lines = 0, n_yaml = 0;
  for (const std::string& line : Split(std::string(text), '\n')) {
    const std::string_view content = Trim(line);
    if (content.empty()) continue;
    n_lines += 1;
    const bool is_yaml = content.find(": ") != std::string_view::npos || content.ends_with(':') ||
                         std::string_view("-#[]{}").find(content.front()) != std::string_view::npos;
    n_yaml += is_yaml ? 1 : 0;
  }
  constexpr std::int64_t kOfFew = 8;  // so few lines say nothing
  return n_lines < kOfFew || 4 * n_yaml >= n_lines;
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
  if (HasOldLineEnds(text)) {
    return refuse(start,
                  "the lines of this file end only in carriage returns, as on old Macs: convert "
                  "them, as with `tr '\\r' '\\n' < OLD.yaml > NEW.yaml`");
  }
  TreeBuilder builder(text, source, problems);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& refused) {
    return refuse(refused.place, refused.message);
  } catch (const YAML::Exception& error) {
    const YamlSlip slip = FindSlip(
        text, {.line = error.mark.line + 1, .column = error.mark.column + 1, .message = error.msg});
    return refuse({.source = source, .line = slip.line, .column = slip.column},
                  Str(slip.message, LooksLikeYaml(text) ? "" : kOtherText));
  }
  std::optional<YamlNode> root = builder.TakeRoot();
  if (!root) return refuse(start, std::string(kEmptyText));
  return root;
}

}  // namespace longrun
