// docs/data.md tells the truth: every command of its ```sh blocks is run by the real programs, in
// order, in a folder with small files of the names that it uses, and with its own YAML files.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr int kWebTexts = 30;  // in each of two files

struct Block {
  std::string language;
  std::vector<std::string> lines;
};

std::vector<Block> Blocks(const std::string& text) {
  std::vector<Block> blocks;
  bool inside = false;
  for (const std::string& line : Split(text, '\n')) {
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) blocks.push_back({.language = line.substr(3), .lines = {}});
    } else if (inside) {
      blocks.back().lines.push_back(line);
    }
  }
  return blocks;
}

// At blanks; '...' keeps a word together.
std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// Python: open(name, "wb").write(...) of what other programs wrote.
struct Made {
  const char* name;
  std::string bytes;
};

std::string U16(const std::vector<int>& ids) {
  std::string bytes;
  for (const int id : ids) {
    bytes += static_cast<char>(id & 255);
    bytes += static_cast<char>(id >> 8);
  }
  return bytes;
}

std::string Npy(const std::vector<int>& ids) {
  std::string header =
      Str("{'descr': '<u2', 'fortran_order': False, 'shape': (", ids.size(), ",), }");
  header.resize(117, ' ');
  return Str(std::string_view("\x93NUMPY\x01\x00\x76\x00", 10), header, "\n", U16(ids));
}

template <typename Word>
std::string Le(Word word) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof word; ++i) bytes += static_cast<char>(word >> (8 * i));
  return bytes;
}

// One document of six ids of two bytes.
std::string MegatronIdx() {
  return Str(std::string_view("MMIDIDX\0\0", 9), Le<std::int64_t>(1), '\x08', Le<std::int64_t>(1),
             Le<std::int64_t>(2), Le<std::int32_t>(6), Le<std::int64_t>(0), Le<std::int64_t>(0),
             Le<std::int64_t>(1));
}

std::vector<Made> Files() {
  return {
      {"a.txt", "the first document"},
      {"b.txt", "the second document"},
      {"c.txt", "a document held out"},
      {"wiki.txt", "one\n\ntwo\nthree\n"},
      {"held.txt", "four\n\nfive\n"},
      {"one.txt", "a single one"},
      {"novels.txt", "emma\fpersuasion"},
      {"marked.txt", "marked<|endoftext|>texts"},
      {"proof.jsonl",
       "{\"text\":\"proof\",\"meta\":{\"config\":\"arxiv\"}}\n{\"text\":\"other\"}\n"},
      {"held.jsonl", "{\"text\":\"held\",\"meta\":{\"config\":\"arxiv\"}}\n"},
      {"edufineweb_train_000001.npy", Npy({256, 'a', 'b', 256, 'c'})},
      {"edufineweb_val_000000.npy", Npy({256, 'd'})},
      {"train.bin", U16({'a', 'b', 256, 'c', 'd', 256})},
      {"val.bin", U16({'c', 256})},
      {"corpus.idx", MegatronIdx()},
      {"corpus.bin", U16({'a', 'b', 'c', 'd', 'e', 'f'})},
      {"corpus-held.idx", MegatronIdx()},
      {"corpus-held.bin", U16({'f', 'e', 'd', 'c', 'b', 'a'})},
  };
}

class DocsDataTest : public testing::Test {
 protected:
  std::string In(const std::string& name) const { return JoinPath(folder_.path(), name); }

  // Standard output and error go to files "out" and "err".
  int Run(std::vector<std::string> argv) {
    for (const char* const name : {"out", "err"}) EXPECT_TRUE(RemoveAll(In(name)).ok());
    const Result<int> pid = Spawn({.argv = std::move(argv),
                                   .env = {Str("LONGRUN_HOME=", In("home")), "PATH=/usr/bin:/bin"},
                                   .cwd = folder_.path(),
                                   .stdout_path = In("out"),
                                   .stderr_path = In("err")});
    if (!pid.ok()) return -1;
    return WaitFor(*pid, -1).value()->code;
  }

  void SetUp() override {
    for (const Made& made : Files()) {
      std::ofstream(In(made.name), std::ios::binary) << made.bytes;
    }
    for (const char* const name : {"web-1.jsonl", "web-2.jsonl"}) {
      std::ofstream lines(In(name));
      lines << "{\"text\":\"short\"}\n";
      for (int i = 0; i < kWebTexts; ++i) lines << Str("{\"text\":\"", name, " ", i, "\"}\n");
    }
    ASSERT_EQ(Run({"/usr/bin/gzip", In("web-1.jsonl")}), 0);
    ASSERT_EQ(Run({"/usr/bin/zstd", "-q", "--rm", In("web-2.jsonl")}), 0);
  }

  TempFolder folder_;
};

// "train 3 documents, 45 tokens; validation 1 document, 20 tokens" -> 4
int DocumentsIn(const std::string& text) {
  int n_documents = 0;
  std::string last;
  for (const std::string& word : Split(text, ' ')) {
    if (word.starts_with("document")) n_documents += std::stoi(last);
    last = word;
  }
  return n_documents;
}

TEST_F(DocsDataTest, EachCommandWorksInTheOrderShown) {
  const std::string page = ReadFile(LONGRUN_SOURCE_DIR "/docs/data.md").value();
  int n_commands = 0;
  for (const Block& block : Blocks(page)) {
    if (block.language == "yaml") {
      ASSERT_TRUE(block.lines.at(0).starts_with("# "));
      std::ofstream(In(block.lines[0].substr(2))) << Join(block.lines, "\n");
    }
    if (block.language != "sh") continue;
    for (const std::string& line : block.lines) {
      ASSERT_TRUE(line.starts_with("longrun ")) << line;
      std::vector<std::string> argv = Words(line);
      argv[0] = JoinPath(LONGRUN_BIN_DIR, "longrun");
      EXPECT_EQ(Run(argv), 0) << line << "\n" << ReadFile(In("err")).value();
      EXPECT_EQ(ReadFile(In("err")).value(), "") << line;
      EXPECT_NE(ReadFile(In("out")).value(), "") << line;
      ++n_commands;
      // The short one is left out.
      if (line.find(" prepare web.yaml") != std::string::npos) {
        EXPECT_EQ(DocumentsIn(ReadFile(In("out")).value()), 2 * kWebTexts) << line;
      }
      if (line.find(" import books ") != std::string::npos) {
        ASSERT_EQ(Run({"/usr/bin/cp", "-r", In("home/datasets/books"), In("books-folder")}), 0);
      }
    }
  }
  EXPECT_GE(n_commands, 15);
}

}  // namespace
}  // namespace longrun
