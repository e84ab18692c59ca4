// What the house's texts promise: a name that a comment, a page or a message cites exists (files,
// pages and their headings, invariants, commands of ./dev), and lines have an end.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "tests/house_source.h"

namespace longrun {
namespace {

// A file with one of these ends is looked for, and so is any file that is cited with a folder of
// ours.
constexpr std::string_view kAlwaysOurs[] = {".h", ".cc", ".cu", ".cuh", ".md", ".proto", ".cmake"};
constexpr std::string_view kOursInFolders[] = {".py",   ".sql",      ".yaml", ".yml",    ".test",
                                               ".json", ".expected", ".txt",  ".golden", ".sh"};
// Cited by their bare names, but of other projects, or generated.
constexpr std::string_view kForeignFiles[] = {"Tensor.h",     "foreach_target.h", "sysexits.h",
                                              "sweeps.pb.cc", "bench.md",         "tables.md"};

constexpr int kCommentColumns = 100;
constexpr int kProseColumns = 120;
constexpr int kDecisionColumns = 200;

// ---- the parts of a text ------------------------------------------------------------------------

bool IsPathLetter(char c) { return IsNameLetter(c) || c == '/' || c == '.' || c == '-'; }

// The names of a line that look like paths. Not one that is a part of a pattern, an address or
// another project's include: *.h, {a,b}.cc, <torch/torch.h>, https://..., $HOME/x.md.
std::vector<std::string> PathsIn(std::string_view line) {
  std::vector<std::string> paths;
  for (std::size_t at = 0; at < line.size();) {
    std::size_t end = at;
    while (end < line.size() && IsPathLetter(line[end])) ++end;
    std::string_view word = line.substr(at, end - at);
    const auto is_one_of = [&](std::size_t i, std::string_view letters) {
      return i < line.size() && letters.find(line[i]) != std::string_view::npos;
    };
    const bool is_part = is_one_of(at - 1, "*{}<>$~:\\%@+") || is_one_of(end, "*{}<");
    at = std::max(end, at + 1);
    while (word.ends_with('.') || word.ends_with('/')) word.remove_suffix(1);
    if (word.starts_with("./")) word.remove_prefix(2);
    const bool begins = !word.empty() && (IsNameLetter(word[0]) || word.starts_with("../"));
    if (!is_part && begins && word.find('.') != std::string_view::npos) paths.emplace_back(word);
  }
  return paths;
}

// NAME.test, NNNN_what.sql: stands for many names.
bool IsPlaceholder(std::string_view path) {
  static const std::regex kPlaceholder(R"((^|.*[/_])[A-Z]{4,}([_.].*|$))");
  return std::regex_match(path.begin(), path.end(), kPlaceholder) && !path.ends_with(".md");
}

template <typename Words>
bool EndsWithOne(std::string_view text, const Words& ends) {
  return std::ranges::any_of(ends, [&](std::string_view end) { return text.ends_with(end); });
}

// What `target` means in a page or comment of `folder`.
std::string Resolve(std::string folder, std::string_view target) {
  while (true) {
    if (target.starts_with("./")) {
      target.remove_prefix(2);
    } else if (target.starts_with("../")) {
      target.remove_prefix(3);
      folder = folder.find('/') == std::string::npos ? "" : FolderOf(folder);
    } else {
      return folder.empty() ? std::string(target) : JoinPath(folder, target);
    }
  }
}

// As GitHub makes the anchor of a heading: "### Not built yet" -> "not-built-yet".
std::string AnchorOf(std::string_view heading) {
  std::string anchor;
  for (const char c : Trim(heading.substr(heading.find_first_not_of('#')))) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || byte >= 0x80) {
      anchor += static_cast<char>(std::tolower(byte));
    } else if (c == ' ') {
      anchor += '-';
    }
  }
  return anchor;
}

std::set<std::string> AnchorsOf(std::string_view page) {
  std::set<std::string> anchors;
  std::map<std::string, int> seen;
  bool is_code = false;
  for (const std::string& line : Split(page, '\n')) {
    if (line.starts_with("```")) is_code = !is_code;
    if (is_code || !line.starts_with('#')) continue;
    const std::string anchor = AnchorOf(line);
    const int n = seen[anchor]++;
    anchors.insert(n == 0 ? anchor : Str(anchor, "-", n));
  }
  return anchors;
}

// ---- names that are cited exist -----------------------------------------------------------------

// What there is to cite.
class Known {
 public:
  explicit Known(const std::vector<Source>& sources) {
    for (const Source& source : sources) {
      files_.insert(source.path);
      for (std::size_t at = 0; at != std::string::npos; at = source.path.find('/', at + 1)) {
        ends_.insert(source.path.substr(at == 0 ? 0 : at + 1));
      }
      std::string folder = source.path;
      while (folder.find('/') != std::string::npos) {
        folder = FolderOf(folder);
        files_.insert(folder);
        if (!source.text.empty()) names_of_folders_.insert(folder.substr(folder.rfind('/') + 1));
      }
      if (IsMarkdown(source.path)) anchors_[source.path] = AnchorsOf(source.text);
    }
  }

  // A file or a folder.
  bool HasPath(const std::string& path) const { return files_.contains(path); }
  bool HasAnchor(const std::string& page, const std::string& anchor) const {
    const auto at = anchors_.find(page);
    return at != anchors_.end() && at->second.contains(anchor);
  }
  // Whether the path, as cited in a file of `folder`, is not ours, or is there. It may omit the
  // first folders.
  bool Allows(const std::string& folder, const std::string& path) const {
    if (IsPlaceholder(path)) return true;
    if (path.starts_with("../")) return HasPath(Resolve(folder, path));
    const std::size_t slash = path.find('/');
    if (slash == std::string::npos) {
      return !EndsWithOne(path, kAlwaysOurs) || ends_.contains(path) ||
             std::ranges::find(kForeignFiles, path) != std::end(kForeignFiles);
    }
    const bool is_ours = names_of_folders_.contains(path.substr(0, slash)) &&
                         (EndsWithOne(path, kAlwaysOurs) || EndsWithOne(path, kOursInFolders));
    return !is_ours || ends_.contains(path);
  }

 private:
  std::set<std::string> files_, ends_, names_of_folders_;  // the last: of folders with texts
  std::map<std::string, std::set<std::string>> anchors_;
};

using Complaints = std::vector<std::string>;

// Calls visit(line, number) for each line.
template <typename Visit>
void ForEachLine(std::string_view text, const Visit& visit) {
  int number = 0;
  for (const std::string& line : Split(text, '\n')) visit(line, ++number);
}

Complaints MissingFiles(const std::vector<Source>& sources) {
  const Known known(sources);
  Complaints wrong;
  for (const Source& source : sources) {
    const std::string folder =
        source.path.find('/') == std::string::npos ? "" : FolderOf(source.path);
    ForEachLine(CommentsOf(source), [&](const std::string& line, int number) {
      for (const std::string& path : PathsIn(line)) {
        if (!known.Allows(folder, path)) {
          wrong.push_back(Str(source.path, ":", number, ": there is no file ", path));
        }
      }
    });
  }
  return wrong;
}

// The targets of Markdown's links: [words](target).
std::vector<std::string> LinksIn(const std::string& line) {
  std::vector<std::string> links;
  for (std::size_t at = line.find("]("); at != std::string::npos; at = line.find("](", at + 2)) {
    links.push_back(line.substr(at + 2, line.find(')', at) - at - 2));
  }
  return links;
}

Complaints MissingLinks(const std::vector<Source>& sources) {
  const Known known(sources);
  Complaints wrong;
  for (const Source& source : sources) {
    if (!IsMarkdown(source.path)) continue;
    const std::string folder =
        source.path.find('/') == std::string::npos ? "" : FolderOf(source.path);
    bool is_code = false;
    ForEachLine(source.text, [&](const std::string& line, int number) {
      if (line.starts_with("```")) is_code = !is_code;
      for (const std::string& link : is_code ? std::vector<std::string>() : LinksIn(line)) {
        if (link.starts_with("http")) continue;
        const std::size_t hash = link.find('#');
        std::string page = hash == 0 ? source.path : Resolve(folder, link.substr(0, hash));
        while (page.ends_with('/')) page.pop_back();
        if (!known.HasPath(page)) {
          wrong.push_back(Str(source.path, ":", number, ": the link's page ", page, " is missing"));
        } else if (hash != std::string::npos && !known.HasAnchor(page, link.substr(hash + 1))) {
          wrong.push_back(
              Str(source.path, ":", number, ": ", page, " has no heading for ", link.substr(hash)));
        }
      }
    });
  }
  return wrong;
}

std::vector<std::string> Matches(const std::string& line, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator at(line.begin(), line.end(), pattern); at != std::sregex_iterator();
       ++at) {
    found.push_back((*at)[1]);
  }
  return found;
}

const Source* FindSource(const std::vector<Source>& sources, std::string_view path) {
  const auto at = std::ranges::find(sources, path, &Source::path);
  return at == sources.end() ? nullptr : &*at;
}

constexpr std::string_view kArchitecture = "ARCHITECTURE.md";

// Invariants that are cited but not listed, listed twice, or listed but cited by no test.
Complaints WrongInvariants(const std::vector<Source>& sources) {
  static const std::regex kRow(R"(^\| (I-\d+) \|.*)"), kCited(R"(\b(I-\d+)\b)");
  Complaints wrong;
  std::set<std::string> listed, tested;
  if (const Source* const page = FindSource(sources, kArchitecture)) {
    ForEachLine(page->text, [&](const std::string& line, int number) {
      std::smatch match;
      if (std::regex_match(line, match, kRow) && !listed.insert(match[1]).second) {
        wrong.push_back(
            Str(page->path, ":", number, ": ", std::string(match[1]), " is listed twice"));
      }
    });
  }
  for (const Source& source : sources) {
    ForEachLine(source.text, [&](const std::string& line, int number) {
      if (line.find("I-") == std::string::npos) return;
      for (const std::string& name : Matches(line, kCited)) {
        if (source.path.starts_with("tests/")) tested.insert(name);
        if (!listed.contains(name)) {
          wrong.push_back(
              Str(source.path, ":", number, ": ", kArchitecture, " has no invariant ", name));
        }
      }
    });
  }
  for (const std::string& name : listed) {
    if (!tested.contains(name)) wrong.push_back(Str(kArchitecture, ": no test cites ", name));
  }
  return wrong;
}

// Lists of findings, issues and chapters of briefs are not in the tree: say what the thing is.
Complaints CitedFromElsewhere(const std::vector<Source>& sources) {
  static const std::regex kNumbered(R"(\b((?:[Ff]inding|[Ii]ssue) #?\d+)\b)");
  Complaints wrong;
  for (const Source& source : sources) {
    ForEachLine(CommentsOf(source), [&](const std::string& line, int number) {
      if (line.find("inding") == std::string::npos && line.find("ssue") == std::string::npos)
        return;
      for (const std::string& name : Matches(line, kNumbered)) {
        wrong.push_back(
            Str(source.path, ":", number, ": cites ", name, ", which is no name in this tree"));
      }
    });
  }
  return wrong;
}

// The words before ) in a case of a shell script, or in a list: SOAK_STAGES="a b".
std::set<std::string> VerbsOfDev(std::string_view dev) {
  static const std::regex kCase(R"(^  ([a-z-]+)(?:\|[^)]*)?\) .*)"),
      kStages(R"re(^SOAK_STAGES="(.*)")re");
  std::set<std::string> verbs;
  ForEachLine(dev, [&](const std::string& line, int) {
    std::smatch match;
    if (std::regex_match(line, match, kCase)) verbs.insert(match[1]);
    if (std::regex_match(line, match, kStages)) {
      for (const std::string& stage : Split(std::string(match[1]), ' '))
        verbs.insert("soak " + stage);
    }
  });
  return verbs;
}

// `./dev VERB` in any text; a stage of `./dev soak` only where the quotation ends after it.
Complaints MissingVerbs(const std::vector<Source>& sources) {
  static const std::regex kCalled(R"(\./dev ([a-z][a-z-]*))"),
      kStage(R"(\./dev (soak [a-z0-9]+)`)");
  const Source* const dev = FindSource(sources, "dev");
  const std::set<std::string> verbs = VerbsOfDev(dev == nullptr ? "" : dev->text);
  Complaints wrong;
  for (const Source& source : sources) {
    ForEachLine(source.text, [&](const std::string& line, int number) {
      if (line.find("./dev ") == std::string::npos) return;
      std::vector<std::string> called = Matches(line, kCalled);
      for (const std::string& stage : Matches(line, kStage)) called.push_back(stage);
      for (const std::string& verb : called) {
        // "call ./dev again" names no verb.
        if (verb == "again" || verbs.contains(verb)) continue;
        wrong.push_back(Str(source.path, ":", number, ": there is no command ./dev ", verb));
      }
    });
  }
  return wrong;
}

// ---- lines have an end --------------------------------------------------------------------------

// Whether a blank inside the text would let it be broken: a long address or formula without blanks
// may stay.
bool CanBreak(std::string_view text) { return Trim(text).find(' ') != std::string_view::npos; }

// Comments of more than 100 columns; of code, clang-format sees to it.
Complaints LongComments(const std::vector<Source>& sources) {
  Complaints wrong;
  for (const Source& source : sources) {
    if (IsMarkdown(source.path)) continue;
    const std::vector<std::string> lines = Split(source.text, '\n');
    ForEachLine(CommentsOf(source), [&](const std::string& comment, int number) {
      const std::string_view words = Trim(comment);
      const int columns = ColumnsOf(lines[static_cast<std::size_t>(number) - 1]);
      const std::size_t mark = words.find(' ');
      if (columns <= kCommentColumns || mark == std::string_view::npos ||
          !CanBreak(words.substr(mark)))
        return;
      wrong.push_back(Str(source.path, ":", number, ": a comment of ", columns,
                          " columns, at most ", kCommentColumns));
    });
  }
  return wrong;
}

// Lines of prose of more than 120 columns: not tables, headings, code, and lines without a blank.
Complaints LongProse(const std::vector<Source>& sources) {
  Complaints wrong;
  for (const Source& source : sources) {
    if (!IsMarkdown(source.path)) continue;
    bool is_code = false;
    ForEachLine(source.text, [&](const std::string& line, int number) {
      const std::string_view words = Trim(line);
      if (words.starts_with("```")) is_code = !is_code;
      const bool is_prose =
          !is_code && !words.starts_with('|') && !words.starts_with('#') && !words.starts_with('<');
      const int columns = ColumnsOf(line);
      if (!is_prose || columns <= kProseColumns || !CanBreak(words)) return;
      wrong.push_back(Str(source.path, ":", number, ": a line of ", columns, " columns, at most ",
                          kProseColumns));
    });
  }
  return wrong;
}

// Cells of the table of decisions with more than 200 characters: such a reason gets a page in
// docs/decisions/.
Complaints LongDecisions(const std::vector<Source>& sources) {
  Complaints wrong;
  const Source* const page = FindSource(sources, kArchitecture);
  bool is_inside = false;
  ForEachLine(page == nullptr ? "" : page->text, [&](const std::string& line, int number) {
    if (line.starts_with("## ")) is_inside = line == "## Decisions";
    if (!is_inside || !line.starts_with("| ")) return;
    for (const std::string& cell : Split(line, '|')) {
      if (ColumnsOf(Trim(cell)) <= kDecisionColumns) continue;
      wrong.push_back(Str(page->path, ":", number, ": a decision of ", ColumnsOf(Trim(cell)),
                          " characters, at most ", kDecisionColumns,
                          ": the reason gets a page in docs/decisions/"));
    }
  });
  return wrong;
}

// ---- the tree -----------------------------------------------------------------------------------

void ExpectNone(const Complaints& wrong) { EXPECT_TRUE(wrong.empty()) << Lines(wrong); }

TEST(HouseTest, EachFileThatACommentCitesExists) { ExpectNone(MissingFiles(Tree())); }
TEST(HouseTest, EachLinkOfAPageLeadsToAPageAndAHeading) { ExpectNone(MissingLinks(Tree())); }
TEST(HouseTest, EachInvariantIsListedAndCitedByATest) { ExpectNone(WrongInvariants(Tree())); }
TEST(HouseTest, NothingIsCitedFromListsElsewhere) { ExpectNone(CitedFromElsewhere(Tree())); }
TEST(HouseTest, EachCommandOfDevThatIsCitedExists) { ExpectNone(MissingVerbs(Tree())); }
TEST(HouseTest, CommentsEndByColumn100) { ExpectNone(LongComments(Tree())); }
TEST(HouseTest, ProseEndsByColumn120) { ExpectNone(LongProse(Tree())); }
TEST(HouseTest, DecisionsAreShort) { ExpectNone(LongDecisions(Tree())); }

// ---- errors that are planted in memory ----------------------------------------------------------

// A small tree that is right, with one file added.
std::vector<Source> TreeWith(const Source& added) {
  std::vector<Source> tree = {
      {"ARCHITECTURE.md",
       "# Map\n## Not built yet\n## Not built yet\n| I-3 | A slot has one attempt. |\n"},
      {"base/str.h", "// Joins.\n"},
      {"coordinator/scheduler/load.cc", "// Loads.\n"},
      {"dev", "SOAK_STAGES=\"asan tsan\"\n  soak) soak ;;\n  help|-h|--help) help ;;\n"},
      {"docs/cli.md", "# `longrun run`: trains (and measures)\n```sh\n# no heading\n```\n"},
      {"sweeps/quickstart.yaml", ""},
      {"sweeps/README.md", "# Sweeps\n"},
      {"tests/a_test.cc", "// Invariant I-3.\n"},
      {"tests/golden/alibi/x.safetensors", ""},
  };
  tree.push_back(added);
  return tree;
}

TEST(PlantedTest, FilesThatAreMissingAreFound) {
  const Source bad[] = {
      {"model/a.cc", "// See base/string.h.\n"},
      {"model/a.cc", "int a;  // as in str.cc\n"},
      {"model/a.cc", "/* docs/metrics.md */\n"},
      {"model/a.cc", "// scheduler/end.cc ends.\n"},
      {"model/a.cc", "// sweeps/start.yaml\n"},
      {"model/README.md", "Open `../base/string.h` first.\n"},
      {"model/README.md", "Open `schema.cc` first.\n"},
      {"CMakeLists.txt", "set(a b)  # base/files.cc\n"},
      {"tools/a.py", "# as base/files.cc\n"},
      {"proto/a.proto", "// base/files.h\n"},
  };
  for (const Source& source : bad) {
    EXPECT_EQ(MissingFiles(TreeWith(source)).size(), 1u) << source.path << ": " << source.text;
  }
  EXPECT_EQ(MissingFiles(TreeWith({"model/a.cc", "\n// See base/string.h.\n"})),
            Complaints{"model/a.cc:2: there is no file base/string.h"});
}

TEST(PlantedTest, FilesThatExistOrAreNotOursPass) {
  const Source good[] = {
      {"model/a.cc", "// See base/str.h, str.h, scheduler/load.cc and ./base/str.h.\n"},
      {"model/a.cc",
       "// github.com/openai/gpt-2, src/encoder.py, alibi/layers.py, https://x.org/base/y.h\n"},
      {"model/a.cc",
       "// NAME.cc, base/*.h, base/{files,hash}.h, <hwy/highway.h>, the -inl.h files, .cc files\n"},
      {"model/a.cc", "const char* kText = \"base/none.h\";  // task.json\n"},
      {"model/a.cc",
       "const char* kText = R\"(// base/none.h)\"; const char kQuote = '\"';  // base/str.h\n"},
      {"model/README.md", "`../base/str.h`, `sweeps/quickstart.yaml`, 0.5 and e.g. this.\n"},
      {"tools/a.py", "print('# base/none.h')\n"},
  };
  for (const Source& source : good) {
    EXPECT_EQ(MissingFiles(TreeWith(source)), Complaints()) << source.text;
  }
}

TEST(PlantedTest, LinksThatLeadNowhereAreFound) {
  const Source bad[] = {
      {"README.md", "[cli](docs/cmd.md)\n"},
      {"README.md", "[cli](cli.md)\n"},
      {"docs/a.md", "[cli](docs/cli.md)\n"},
      {"docs/a.md", "[cli](cli.md) and [map](../README.md)\n"},
      {"docs/a.md", "[map](../ARCHITECTURE.md#not-built)\n"},
      {"docs/a.md", "[map](../ARCHITECTURE.md#not-built-yet-2)\n"},
      {"docs/a.md", "[code](cli.md#no-heading)\n"},
      {"docs/a.md", "# One\n[two](#two)\n"},
  };
  for (const Source& source : bad) {
    EXPECT_EQ(MissingLinks(TreeWith(source)).size(), 1u) << source.path << ": " << source.text;
  }
  EXPECT_EQ(MissingLinks(TreeWith({"docs/a.md", "[map](../ARCHITECTURE.md#built)\n"})),
            Complaints{"docs/a.md:1: ARCHITECTURE.md has no heading for #built"});
  const Source good[] = {
      {"README.md", "[cli](docs/cli.md), [folder](base/), [web](https://x.org/a.md#b)\n"},
      {"docs/a.md",
       "[run](cli.md#longrun-run-trains-and-measures) [map](../ARCHITECTURE.md#not-built-yet-1)\n"},
      {"docs/a.md", "# One two\n[two](#one-two)\n```cpp\ncall[i](none)\n```\n"},
  };
  for (const Source& source : good) {
    EXPECT_EQ(MissingLinks(TreeWith(source)), Complaints()) << source.text;
  }
}

TEST(PlantedTest, InvariantsOfNoListAndOfNoTestAreFound) {
  const std::string unlisted = Str("I", "-", 4);  // in pieces, since this file is checked too
  EXPECT_EQ(WrongInvariants(TreeWith({"base/a.cc", "// I-3 holds.\n"})), Complaints());
  EXPECT_EQ(WrongInvariants(TreeWith({"base/a.cc", "// UTF-8, I-33x, AI-7, I-\n"})), Complaints());
  EXPECT_EQ(WrongInvariants(TreeWith({"base/a.cc", Str("// ", unlisted, " holds.\n")})),
            Complaints{"base/a.cc:1: ARCHITECTURE.md has no invariant " + unlisted});
  EXPECT_EQ(WrongInvariants(
                {{"ARCHITECTURE.md", "| I-3 | a |\n| I-3 | b |\n"}, {"tests/a.cc", "// I-3\n"}}),
            Complaints{"ARCHITECTURE.md:2: I-3 is listed twice"});
  EXPECT_EQ(WrongInvariants({{"ARCHITECTURE.md", "| I-3 | a |\n"}, {"base/a.cc", "// I-3\n"}}),
            Complaints{"ARCHITECTURE.md: no test cites I-3"});
}

TEST(PlantedTest, NumbersOfListsElsewhereAreFound) {
  for (const char* const text :
       {"// finding 7\n", "// Issue #12: fixed\n", "int a;  // see issue 3\n"}) {
    EXPECT_EQ(CitedFromElsewhere({{"base/a.cc", text}}).size(), 1u) << text;
  }
  for (const char* const text : {"// finding a word\n", "// BF16, F32\n", "// issues 3 calls\n"}) {
    EXPECT_EQ(CitedFromElsewhere({{"base/a.cc", text}}), Complaints()) << text;
  }
}

TEST(PlantedTest, CommandsThatDevLacksAreFound) {
  const std::string dev = "./dev ";
  EXPECT_EQ(MissingVerbs(TreeWith({"base/a.cc", Str("Fail(\"call ", dev, "fetch\");\n")})),
            Complaints{Str("base/a.cc:1: there is no command ", dev, "fetch")});
  EXPECT_EQ(MissingVerbs(TreeWith({"docs/a.md", Str("`", dev, "soak msan`\n")})),
            Complaints{Str("docs/a.md:1: there is no command ", dev, "soak msan")});
  EXPECT_EQ(MissingVerbs(TreeWith(
                {"docs/a.md", Str("`", dev, "soak asan`, ", dev, "soak and `", dev, "help`\n")})),
            Complaints());
}

TEST(PlantedTest, LongCommentsAreFound) {
  const std::string words = std::string(50, 'a') + " " + std::string(46, 'b');  // 97 columns
  const auto n_long = [](const std::string& path, const std::string& text) {
    return LongComments({{path, text}}).size();
  };
  EXPECT_EQ(n_long("base/a.cc", "// " + words + "\n"), 0u);
  EXPECT_EQ(LongComments({{"base/a.cc", "int a;\n// " + words + "c\n"}}),
            Complaints{"base/a.cc:2: a comment of 101 columns, at most 100"});
  EXPECT_EQ(n_long("base/a.h", "int a;  // " + words + "\n"), 1u);
  EXPECT_EQ(n_long("base/a.cu", "/* b\n   " + words + "c */\n"), 1u);
  EXPECT_EQ(n_long("CMakeLists.txt", "#   " + words + "\n"), 1u);
  EXPECT_EQ(n_long("tools/a.py", "a = 1  # " + words + "\n"), 1u);
  EXPECT_EQ(n_long("proto/a.proto", "int64 a = 1;  // " + words + "\n"), 1u);
  // Columns are characters; an address cannot be broken; code and literals are clang-format's.
  EXPECT_EQ(n_long("base/a.cc", "// " + words.substr(0, 90) + " \u2026\u2026\u2026\u2026\n"), 0u);
  EXPECT_EQ(n_long("base/a.cc", "// https://" + std::string(100, 'a') + "\n"), 0u);
  EXPECT_EQ(n_long("base/a.cc", "const char* kText = \"// " + words + "\";\n"), 0u);
  EXPECT_EQ(n_long("tools/a.py", "print('# " + words + "')\n"), 0u);
  const std::string page = "a = \"\"\"one\n\n  b # " + words + "\n\"\"\"\n";
  EXPECT_EQ(n_long("tools/a.py", page), 0u);
  EXPECT_EQ(n_long("tools/a.py", page + "b = 'c'  # " + words + "\n"), 1u);
}

TEST(PlantedTest, LongProseIsFound) {
  const std::string words = std::string(60, 'a') + " " + std::string(60, 'b');  // 121 columns
  EXPECT_EQ(LongProse({{"docs/a.md", "\n" + words + "\n"}}),
            Complaints{"docs/a.md:2: a line of 121 columns, at most 120"});
  EXPECT_EQ(LongProse({{"docs/a.md", "- " + words + "\n```\ncode\n```\n" + words + "\n"}}).size(),
            2u);
  for (const char* const mark : {"| ", "## ", "<img ", "```\n"}) {
    EXPECT_EQ(LongProse({{"docs/a.md", mark + words + "\n"}}), Complaints()) << mark;
  }
  EXPECT_EQ(
      LongProse({{"docs/a.md", words.substr(1) + "\nhttps://" + std::string(120, 'a') + "\n"}}),
      Complaints());
  EXPECT_EQ(LongProse({{"base/a.cc", words + "\n"}}), Complaints());
}

TEST(PlantedTest, LongDecisionsAreFound) {
  const std::string words(200, 'a');
  const auto page = [&](const std::string& cell) {
    return std::vector<Source>{
        {"ARCHITECTURE.md",
         Str("## Map\n| ", words, words, " | b |\n## Decisions\n| b | ", cell, " |\n")}};
  };
  EXPECT_EQ(LongDecisions(page(words)), Complaints());
  EXPECT_EQ(LongDecisions(page(words + "a")),
            Complaints{"ARCHITECTURE.md:4: a decision of 201 characters, at most 200: "
                       "the reason gets a page in docs/decisions/"});
}

}  // namespace
}  // namespace longrun
