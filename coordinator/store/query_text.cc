// Checks of a query's text before SQLite sees it, and LIKE. See query.h.
#include <algorithm>
#include <cctype>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/letter_case.h"
#include "coordinator/store/query.h"
#include "coordinator/store/query_catalogue.h"

namespace longrun::coordinator {
namespace {

struct Token {
  bool is_name =
      false;         // an identifier or keyword, or text in quotes (SQLite takes it as a name too)
  std::string text;  // of a name: without its quotes, in lower case
  std::size_t begin = 0;  // byte offset in the statement
};

bool IsWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// The end of the quoted text that begins at `begin`; a doubled quote means a single one.
std::size_t EndOfQuoted(std::string_view sql, std::size_t begin) {
  const char quote = sql[begin] == '[' ? ']' : sql[begin];
  for (std::size_t i = begin + 1; i < sql.size(); ++i) {
    if (sql[i] != quote) continue;
    if (quote == ']' || i + 1 == sql.size() || sql[i + 1] != quote) return i + 1;
    ++i;
  }
  return sql.size();
}

// The name without its quotes, so that all spellings of one name become equal.
std::string Unquoted(std::string_view quoted) {
  const char quote = quoted.front() == '[' ? ']' : quoted.front();
  const std::size_t n = quoted.size() >= 2 ? quoted.size() - 2 : 0;
  std::string name;
  for (const char c : quoted.substr(1, n)) {
    const bool is_second = c == quote && quote != ']' && !name.empty() && name.back() == quote;
    if (!is_second) name += c;
  }
  return name;
}

std::size_t EndOfComment(std::string_view sql, std::size_t begin) {
  const bool is_line = sql[begin] == '-';
  const std::size_t end = sql.find(is_line ? "\n" : "*/", begin + 2);
  return end == std::string_view::npos ? sql.size() : end + (is_line ? 1 : 2);
}

std::vector<Token> Tokens(std::string_view sql) {
  std::vector<Token> tokens;
  std::size_t i = 0;
  while (i < sql.size()) {
    const char c = sql[i];
    const std::string_view two = sql.substr(i, 2);
    if (two == "--" || two == "/*") {
      i = EndOfComment(sql, i);
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
      const std::size_t end = EndOfQuoted(sql, i);
      tokens.push_back(
          {.is_name = true, .text = InSmallLetters(Unquoted(sql.substr(i, end - i))), .begin = i});
      i = end;
    } else if (IsWord(c)) {
      std::size_t end = i;
      while (end < sql.size() && IsWord(sql[end])) ++end;
      tokens.push_back(
          {.is_name = true, .text = InSmallLetters(sql.substr(i, end - i)), .begin = i});
      i = end;
    } else {
      if (std::isspace(static_cast<unsigned char>(c)) == 0) {
        tokens.push_back({.is_name = false, .text = std::string(1, c), .begin = i});
      }
      ++i;
    }
  }
  return tokens;
}

// Whether the token is this punctuation mark, not a name spelled like one.
bool IsMark(const std::vector<Token>& tokens, std::size_t at, char mark) {
  return at < tokens.size() && !tokens[at].is_name && tokens[at].text.front() == mark;
}

// Whether NAME [(columns)] AS [[NOT] MATERIALIZED] ( begins at token i: a definition of WITH (or of
// a window, which is harmless here).
bool IsDefinition(const std::vector<Token>& tokens, std::size_t i) {
  const auto is = [&](std::size_t at, std::string_view text) {
    return at < tokens.size() && tokens[at].text == text;
  };
  if (!tokens[i].is_name) return false;
  std::size_t at = i + 1;
  if (IsMark(tokens, at, '(')) {
    while (at < tokens.size() && !IsMark(tokens, at, ')')) ++at;
    ++at;
  }
  if (!is(at, "as")) return false;
  ++at;
  if (is(at, "not")) ++at;
  if (is(at, "materialized")) ++at;
  return IsMark(tokens, at, '(');
}

struct Character {
  char32_t code = 0;
  std::size_t n_bytes = 1;
};

// The character at `at`; in a broken sequence each byte counts as one.
Character CharacterAt(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t n = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (n == 1 || at + n > text.size()) return {.code = lead, .n_bytes = 1};
  char32_t code = lead & (0xffu >> (n + 1));
  for (std::size_t k = 1; k < n; ++k) {
    const auto next = static_cast<unsigned char>(text[at + k]);
    if ((next & 0xc0) != 0x80) return {.code = lead, .n_bytes = 1};
    code = (code << 6) | (next & 0x3fu);
  }
  return {.code = code, .n_bytes = n};
}

char32_t Folded(char32_t c) { return c >= U'A' && c <= U'Z' ? c + 32 : c; }

}  // namespace

std::vector<SqlName> NamesOf(std::string_view sql) {
  std::vector<SqlName> names;
  for (Token& token : Tokens(sql)) {
    if (token.is_name) names.push_back({.text = std::move(token.text), .begin = token.begin});
  }
  return names;
}

double ExpandedTables(std::string_view sql) {
  const std::vector<Token> tokens = Tokens(sql);
  std::map<std::string, double> uses;  // uses of the names that a WITH defines
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (IsDefinition(tokens, i)) uses[tokens[i].text] = 0;
  }
  double n_views = 1;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].is_name || IsDefinition(tokens, i)) continue;
    if (IsMark(tokens, i + 1, '.')) continue;  // it qualifies a column
    const std::string& name = tokens[i].text;
    if (const auto use = uses.find(name); use != uses.end()) use->second += 1;
    const auto views = QueryViews();
    if (std::ranges::find(views, name, &QueryView::name) != views.end()) n_views += 1;
  }
  double product = n_views;
  for (const auto& [name, n] : uses) product *= std::max(1.0, n);
  return product;
}

// Goes back only to the last '%': the text that an earlier one matched need not be tried again.
bool LikeMatches(std::string_view pattern, std::string_view text, char32_t escape) {
  std::size_t p = 0, t = 0;
  std::size_t p_after_percent = std::string_view::npos, t_retry = 0;
  while (t < text.size()) {
    const Character have = CharacterAt(text, t);
    bool matches = false;
    if (p < pattern.size()) {
      Character want = CharacterAt(pattern, p);
      const bool escaped = escape != 0 && want.code == escape && p + want.n_bytes < pattern.size();
      if (!escaped && want.code == U'%') {
        p += 1;
        p_after_percent = p;
        t_retry = t;
        continue;
      }
      std::size_t n_pattern = want.n_bytes;
      if (escaped) {
        want = CharacterAt(pattern, p + want.n_bytes);
        n_pattern += want.n_bytes;
      }
      matches = (!escaped && want.code == U'_') || Folded(want.code) == Folded(have.code);
      if (matches) p += n_pattern;
    }
    if (matches) {
      t += have.n_bytes;
    } else if (p_after_percent != std::string_view::npos) {
      t_retry += CharacterAt(text, t_retry).n_bytes;
      t = t_retry;
      p = p_after_percent;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '%') ++p;
  return p == pattern.size();
}

}  // namespace longrun::coordinator
