// No type is declared in two headers of one namespace: two definitions of one name, linked into one
// program, are merged without a word, and a reader cannot tell which one is meant.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/str.h"
#include "tests/house_source.h"

namespace longrun {
namespace {

struct Word {
  std::string text;  // a name, or one character
  int line = 0;
};

struct Declared {
  std::string name;  // with its namespaces
  int line = 0;
};

// The words of C++ without comments, literals and preprocessor's lines.
std::vector<Word> WordsOf(std::string_view code) {
  std::vector<Word> words;
  int number = 0;
  bool is_directive = false;
  for (const std::string& line : Split(code, '\n')) {
    ++number;
    is_directive = is_directive || Trim(line).starts_with('#');
    if (is_directive) {
      is_directive = line.ends_with('\\');
      continue;
    }
    for (std::size_t at = 0; at < line.size();) {
      std::size_t end = at;
      while (end < line.size() && IsNameLetter(line[end])) ++end;
      end = std::max(end, at + 1);
      if (line[at] != ' ') words.push_back({.text = line.substr(at, end - at), .line = number});
      at = end;
    }
  }
  return words;
}

bool IsName(const Word& word) { return IsNameLetter(word.text[0]); }

// Of the words between two of ; { }: without template<...>, [[...]] and alignas(...).
std::vector<Word> WithoutDecoration(const std::vector<Word>& head) {
  std::vector<Word> plain;
  for (std::size_t i = 0; i < head.size(); ++i) {
    const bool has_brackets = head[i].text == "template" || head[i].text == "alignas";
    if (!has_brackets && head[i].text != "[") {
      plain.push_back(head[i]);
      continue;
    }
    int depth = 0;
    i += has_brackets ? 1 : 0;
    for (; i < head.size(); ++i) {
      const std::string& text = head[i].text;
      if (text == "<" || text == "[" || text == "(") ++depth;
      if (text == ">" || text == "]" || text == ")") --depth;
      if (depth == 0) break;
    }
  }
  return plain;
}

// The name that a class, struct, union, enumeration or alias is given here, or null: for a forward
// declaration, a specialization, a member of another class, and all that is not a type. `end`
// follows the head.
const Word* TypeOf(const std::vector<Word>& head, char end) {
  const auto is_at = [&](std::size_t i, std::string_view text) {
    return i < head.size() && head[i].text == text;
  };
  if (end == ';') {
    if (is_at(0, "using") && is_at(2, "=")) return &head[1];
    return is_at(0, "typedef") && IsName(head.back()) ? &head.back() : nullptr;
  }
  std::size_t at = 0;
  if (is_at(at, "typedef")) ++at;
  const bool is_enum = is_at(at, "enum");
  if (is_enum) ++at;
  const bool is_type = is_at(at, "class") || is_at(at, "struct") || is_at(at, "union");
  if (is_type) ++at;
  if ((!is_enum && !is_type) || at >= head.size() || !IsName(head[at])) return nullptr;
  const bool has_body = at + 1 == head.size() || is_at(at + 1, "final") ||
                        (is_at(at + 1, ":") && !is_at(at + 2, ":"));
  return has_body ? &head[at] : nullptr;
}

// The types that a header declares in its namespaces; not those inside of classes and functions.
std::vector<Declared> TypesOf(std::string_view text) {
  std::vector<Declared> types;
  std::vector<std::string> spaces;  // open namespaces, each with its ::
  std::vector<bool> is_space;       // of each open brace
  std::vector<Word> head;
  for (const Word& word : WordsOf(CodeOf(text))) {
    const char c = word.text[0];
    if (c != ';' && c != '{' && c != '}') {
      head.push_back(word);
      continue;
    }
    const std::vector<Word> plain = WithoutDecoration(head);
    head.clear();
    const bool is_outside = std::ranges::all_of(is_space, [](bool is) { return is; });
    const Word* const type = is_outside && c != '}' ? TypeOf(plain, c) : nullptr;
    if (type != nullptr)
      types.push_back({.name = Join(spaces, "") + type->text, .line = type->line});
    if (c == '{') {
      const auto at = std::ranges::find(plain, std::string("namespace"), &Word::text);
      const bool is_extern_c =
          plain.size() >= 1 && plain[0].text == "extern" && plain.back().text == "\"";
      is_space.push_back(is_outside && (at != plain.end() || is_extern_c));
      if (is_space.back()) {
        std::string name;
        if (at != plain.end()) {
          for (auto part = at + 1; part != plain.end(); ++part) name += part->text;
          name += "::";
        }
        spaces.push_back(name);
      }
    } else if (c == '}' && !is_space.empty()) {
      if (is_space.back()) spaces.pop_back();
      is_space.pop_back();
    }
  }
  return types;
}

// "path:line: what is wrong", for each declaration after the first.
std::vector<std::string> DeclaredTwice(const std::vector<Source>& sources) {
  struct Place {
    std::string path;
    int line = 0;
  };
  std::map<std::string, Place> first;
  std::vector<std::string> wrong;
  for (const Source& source : sources) {
    if (!IsHeader(source.path)) continue;
    for (const Declared& type : TypesOf(source.text)) {
      const auto [at, is_new] = first.try_emplace(type.name, source.path, type.line);
      if (is_new || at->second.path == source.path) continue;
      wrong.push_back(Str(source.path, ":", type.line, ": ", type.name, " is a type of ",
                          at->second.path, ":", at->second.line,
                          " too: rename one, or give each a namespace"));
    }
  }
  return wrong;
}

TEST(HouseTest, NoTypeIsDeclaredInTwoHeaders) {
  std::size_t n_types = 0;
  for (const Source& source : Tree()) {
    if (IsHeader(source.path)) n_types += TypesOf(source.text).size();
  }
  EXPECT_GT(n_types, 500u);  // there are more; a reader that lost its way in braces finds few
  const std::vector<std::string> wrong = DeclaredTwice(Tree());
  EXPECT_TRUE(wrong.empty()) << Lines(wrong);
}

TEST(PlantedTest, TypesThatAreDeclaredTwiceAreFound) {
  const char* const others[] = {
      "namespace longrun {\nstruct Place { int row; };\n}\n",
      "namespace longrun { class Place final : public Base { }; }",
      "namespace longrun { enum class Place : char { kHere }; }",
      "namespace longrun { template <typename T = std::vector<int>> class Place {}; }",
      "namespace longrun { using Place = int; }",
      "namespace longrun { template <class T> using Place = std::vector<T>; }",
      "namespace longrun { typedef struct { int row; } Other; typedef int Place; }",
      "namespace longrun { struct [[nodiscard]] Place {}; }",
      "namespace longrun {\n#define BRACE {\nvoid F() { if (x) { } }\nunion Place { int a; };\n}",
      "namespace longrun { struct A { struct B { }; }; namespace client { } struct Place { }; }",
      "/* { */ namespace longrun { const char* kBrace = \"{\"; const char kOther = '{'; struct "
      "Place { }; }",
      "namespace longrun { const int kThousand = 1'000; const char* kRaw = R\"x(\"{)x\"; class "
      "Place { }; }",
  };
  const Source first = {"sweeps/a.h", "namespace longrun {\n\n// Where.\nstruct Place {\n};\n}\n"};
  for (const char* const other : others) {
    EXPECT_EQ(DeclaredTwice({first, {"client/b.h", other}}).size(), 1u) << other;
    EXPECT_EQ(DeclaredTwice({{"client/b.h", other}, first}).size(), 1u) << other;
  }
  EXPECT_EQ(DeclaredTwice({first, {"client/b.h", others[0]}}),
            std::vector<std::string>{"client/b.h:2: longrun::Place is a type of sweeps/a.h:4 too: "
                                     "rename one, or give each a namespace"});
}

TEST(PlantedTest, TypesThatAreDeclaredOncePass) {
  const char* const others[] = {
      "namespace longrun { struct Place; class Place; enum class Place : int; }",
      "namespace longrun { template <> struct Place<int> { }; }",
      "namespace longrun { class Map { struct Place { }; using Place = int; }; }",
      "namespace longrun { struct Map::Place { }; }",
      "namespace longrun { inline int F() { struct Place { }; return 0; } }",
      "namespace longrun { struct Place Find(int row); struct Place* At() { return nullptr; } }",
      "namespace longrun::client { struct Place { }; }",
      "namespace longrun { namespace client { struct Place { }; } }",
      "namespace longrun { namespace client = longrun; using std::Place; using namespace std; }",
      "namespace longrun { template <struct Place> class Map { }; }",
      "// namespace longrun { struct Place { }; }\n",
      "#define PLACE namespace longrun { \\\n struct Place { }; }\n",
      "const char* kText = R\"(namespace longrun { struct Place { }; })\";",
  };
  const Source first = {"sweeps/a.h", "namespace longrun { struct Place { }; }"};
  for (const char* const other : others) {
    EXPECT_EQ(DeclaredTwice({first, {"client/b.h", other}}).size(), 0u) << other;
  }
  EXPECT_EQ(DeclaredTwice({first, {"client/b.cc", first.text}}).size(), 0u);
}

}  // namespace
}  // namespace longrun
