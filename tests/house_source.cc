#include "tests/house_source.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

bool IsRead(std::string_view path) {
  return IsSource(path) || IsScript(path) || IsMarkdown(path) || path.ends_with(".proto");
}

// Whether the quote at `at` separates the digits of a number, as in 1'000.
bool SeparatesDigits(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  while (begin > 0 && (IsNameLetter(text[begin - 1]) || text[begin - 1] == '\'')) --begin;
  return begin < at && std::isdigit(static_cast<unsigned char>(text[begin])) != 0;
}

// Whether the quote at `at` begins a raw string: R"(...)", also u8R"(...)".
bool BeginsRawString(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  while (begin > 0 && IsNameLetter(text[begin - 1])) --begin;
  const std::string_view prefix = text.substr(begin, at - begin);
  return prefix == "R" || prefix == "u8R" || prefix == "uR" || prefix == "UR" || prefix == "LR";
}

// One past the literal that begins with the quote at `at`; a literal that is not raw ends with its
// line.
std::size_t EndOfLiteral(std::string_view text, std::size_t at) {
  if (text[at] == '"' && BeginsRawString(text, at)) {
    const std::size_t open = text.find('(', at);
    if (open == std::string_view::npos) return text.size();
    const std::string close = Str(")", text.substr(at + 1, open - at - 1), "\"");
    const std::size_t end = text.find(close, open);
    return end == std::string_view::npos ? text.size() : end + close.size();
  }
  std::size_t end = at + 1;
  while (end < text.size() && text[end] != text[at] && text[end] != '\n') {
    end += text[end] == '\\' ? 2 : 1;
  }
  return std::min(end + 1, text.size());
}

std::size_t EndOfComment(std::string_view text, std::size_t at) {
  const bool is_line = text[at + 1] == '/';
  const std::size_t end = is_line ? text.find('\n', at) : text.find("*/", at + 2);
  if (end == std::string_view::npos) return text.size();
  return is_line ? end : end + 2;
}

// Appends text[begin, end), or as many blanks.
void Append(std::string& out, std::string_view text, std::size_t begin, std::size_t end,
            bool keep) {
  for (std::size_t i = begin; i < end; ++i) out += keep || text[i] == '\n' ? text[i] : ' ';
}

struct Halves {
  std::string code, comments;
};

Halves SplitCpp(std::string_view text) {
  Halves halves;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const bool is_comment = rest.starts_with("//") || rest.starts_with("/*");
    const bool is_literal = text[at] == '"' || (text[at] == '\'' && !SeparatesDigits(text, at));
    const std::size_t end = is_comment   ? EndOfComment(text, at)
                            : is_literal ? EndOfLiteral(text, at)
                                         : at + 1;
    Append(halves.code, text, at, end, !is_comment && !is_literal);
    Append(halves.comments, text, at, end, is_comment);
    at = end;
  }
  return halves;
}

// A # that begins a comment follows a blank or begins its line, and is not in quotes. Python's
// texts in three quotes may have many lines; any other quotation ends with its line.
std::string ScriptComments(std::string_view text) {
  std::string comments, quote;
  for (const std::string& line : Split(text, '\n')) {
    if (quote.size() == 1) quote.clear();
    std::size_t begin = line.size();
    for (std::size_t i = 0; i < line.size() && begin == line.size(); ++i) {
      const std::string_view rest = std::string_view(line).substr(i);
      const std::string_view mark = rest.substr(0, std::min<std::size_t>(3, rest.size()));
      const bool is_long = mark == "\"\"\"" || mark == "'''";
      if (!quote.empty()) {
        if (!rest.starts_with(quote)) continue;
        i += quote.size() - 1;
        quote.clear();
      } else if (is_long || line[i] == '"' || line[i] == '\'') {
        quote = is_long ? mark : mark.substr(0, 1);
        i += quote.size() - 1;
      } else if (line[i] == '#' && (i == 0 || line[i - 1] == ' ')) {
        begin = i;
      }
    }
    if (!comments.empty()) comments += '\n';
    Append(comments, line, 0, begin, false);
    Append(comments, line, begin, line.size(), true);
  }
  return comments;
}

}  // namespace

bool IsSource(std::string_view path) {
  return IsHeader(path) || path.ends_with(".cc") || path.ends_with(".cu");
}

bool IsHeader(std::string_view path) { return path.ends_with(".h") || path.ends_with(".cuh"); }

bool IsScript(std::string_view path) {
  return path.ends_with(".py") || path.ends_with(".cmake") || path.ends_with("CMakeLists.txt") ||
         path.ends_with(".sh") || path == "dev";
}

bool IsMarkdown(std::string_view path) { return path.ends_with(".md"); }

std::string CodeOf(std::string_view text) { return SplitCpp(text).code; }

std::string CommentsOf(const Source& source) {
  if (IsMarkdown(source.path)) return source.text;
  if (IsScript(source.path)) return ScriptComments(source.text);
  const bool is_cpp = IsSource(source.path) || source.path.ends_with(".proto");
  return is_cpp ? SplitCpp(source.text).comments : "";
}

int ColumnsOf(std::string_view line) {
  return static_cast<int>(std::ranges::count_if(
      line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool IsNameLetter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string Lines(const std::vector<std::string>& lines) { return Str("\n", Join(lines, "\n")); }

const std::vector<Source>& Tree() {
  static const std::vector<Source> tree = [] {
    std::vector<Source> sources;
    const std::filesystem::path root = LONGRUN_SOURCE_DIR;
    auto at = std::filesystem::recursive_directory_iterator(root);
    for (; at != std::filesystem::recursive_directory_iterator(); ++at) {
      const std::string name = at->path().filename().string();
      // What is hidden or built is not ours to judge.
      const bool is_skipped = name.starts_with('.') || (at.depth() == 0 && name == "build");
      if (at->is_directory() && is_skipped) at.disable_recursion_pending();
      if (is_skipped || !at->is_regular_file()) continue;
      Source source = {.path = at->path().lexically_relative(root).string(), .text = ""};
      if (IsRead(source.path)) source.text = ReadFile(at->path().string()).value();
      sources.push_back(std::move(source));
    }
    std::ranges::sort(sources, {}, &Source::path);
    return sources;
  }();
  return tree;
}

}  // namespace longrun
