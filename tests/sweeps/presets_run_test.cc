// sweeps/presets/ as a user would try them: the commands of their README, on tiny texts of the form
// that the real data has, by the real programs.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun {
namespace {

const std::string kPresets = LONGRUN_SOURCE_DIR "/sweeps/presets";

// At blanks; '...' keeps a word together.
std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      if (!words.back().empty()) words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// Text of n words, which `seed` tells apart.
std::string Text(int n, int seed) {
  static const char* const kWords[] = {"the ", "sea ", "was ", "calm ", "and ", "a ", "ship, "};
  std::string text = Str(seed, " ");
  for (int i = 0; i < n; ++i) text += kWords[(i * i * 3 + i / 5 + seed) % 7];
  return text;
}

// numpy.save of uint16 ids, the end of text (256 with byte tokens) in front.
std::string Npy(const std::string& text) {
  std::string header =
      Str("{'descr': '<u2', 'fortran_order': False, 'shape': (", text.size() + 1, ",), }");
  header.resize(117, ' ');
  std::string bytes = Str(std::string_view("\x93NUMPY\x01\x00\x76\x00", 10), header, "\n",
                          std::string_view("\0\1", 2));
  for (const char c : text) bytes += {c, '\0'};
  return bytes;
}

// A preset, the file of its dataset, and what the plan of its tiny form says.
struct Preset {
  const char* sweep;
  const char* dataset;
  const char* plan;
};
constexpr Preset kPresetFiles[] = {
    {"cable-wikitext103.yaml", "cable-wikitext103.yaml", "1 run to train, 2 cells to evaluate"},
    {"cable-fineweb-edu.yaml", "cable-fineweb-edu.yaml", "1 run to train, 2 cells to evaluate"},
    {"alibi-wikitext103.yaml", "cable-wikitext103.yaml", "3 runs to train, 6 cells to evaluate"},
};

class PresetsRunTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* const name : {"data/wikitext103", "data/edu_fineweb10B"}) {
      ASSERT_TRUE(MakeFolders(In(name)).ok());
    }
    for (const Preset& preset : kPresetFiles) {
      Write(preset.sweep, ReadFile(JoinPath(kPresets, preset.sweep)).value());
      std::string dataset = ReadFile(JoinPath(JoinPath(kPresets, "data"), preset.dataset)).value();
      const std::string real = "tokenizer: gpt2";
      const std::size_t at = dataset.find(real);
      ASSERT_NE(at, std::string::npos);
      Write(Str("data/", preset.dataset), dataset.replace(at, real.size(), "tokenizer: bytes"));
    }
    int seed = 0;
    for (const char* const split : {"train", "validation", "test"}) {
      std::string rows;
      for (int i = 0; i < 40; ++i) rows += Str(R"({"text":")", Text(12, ++seed), "\"}\n");
      Write(Str("data/wikitext103/", split, ".jsonl"), rows);
    }
    // As Cable names them: shard 0 is held out, and the last one's name differs.
    Write("data/edu_fineweb10B/fineweb_val_000000.npy", Npy(Text(300, 1)));
    Write("data/edu_fineweb10B/fineweb_train_000001.npy", Npy(Text(300, 2)));
    Write("data/edu_fineweb10B/edufineweb_train_000002.npy", Npy(Text(200, 3)));
    ReadCommands();
  }

  // The README's two: the dataset is prepared, the sweep run.
  void ReadCommands() {
    bool inside = false;
    std::string command;
    for (std::string line : Split(ReadFile(JoinPath(kPresets, "README.md")).value(), '\n')) {
      if (line.starts_with("```")) {
        inside = !inside;
      } else if (inside) {
        const bool goes_on = line.ends_with("\\");
        if (goes_on) line.pop_back();
        command += line;
        if (!goes_on) commands_.push_back(Words(std::exchange(command, "")));
      }
    }
    ASSERT_EQ(commands_.size(), 2u);
    ASSERT_EQ(commands_[1][1], "run");
  }

  std::string In(const std::string& name) const { return JoinPath(folder_.path(), name); }
  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(In(name), std::ios::binary) << bytes;
  }

  // Standard output; a test fails when the command does.
  std::string Run(std::vector<std::string> argv) {
    const std::string shown = Join(argv, " ");
    argv[0] = JoinPath(LONGRUN_BIN_DIR, "longrun");
    const Result<int> pid = Spawn({.argv = std::move(argv),
                                   .env = {Str("LONGRUN_HOME=", In("home")), "PATH=/usr/bin:/bin"},
                                   .cwd = folder_.path(),
                                   .stdout_path = In("out"),
                                   .stderr_path = In("err")});
    EXPECT_TRUE(pid.ok());
    EXPECT_EQ(WaitFor(*pid, -1).value()->code, 0) << shown << "\n" << ReadFile(In("err")).value();
    return ReadFile(In("out")).value();
  }

  // The README's command line with another verb and another sweep.
  std::vector<std::string> Command(const std::string& verb, const std::string& sweep) const {
    std::vector<std::string> argv = commands_[1];
    argv[1] = verb;
    argv[2] = sweep;
    return argv;
  }

  TempFolder folder_;
  std::vector<std::vector<std::string>> commands_;
};

TEST_F(PresetsRunTest, EachPresetIsTakenAndPlannedOnATinyTextOfItsForm) {
  const std::vector<std::string> names = ListFolder(kPresets).value();
  EXPECT_EQ(
      std::ranges::count_if(names, [](const std::string& name) { return name.ends_with(".yaml"); }),
      std::ssize(kPresetFiles));
  for (const Preset& preset : kPresetFiles) {
    Run({"longrun", "data", "prepare", Str("data/", preset.dataset)});
    Run(Command("validate", preset.sweep));
    const std::string plan = Run(Command("plan", preset.sweep));
    EXPECT_NE(plan.find(preset.plan), std::string::npos) << plan;
  }
}

TEST_F(PresetsRunTest, TheOneOfTheReadmeIsTrainedAndItsTableIsPrinted) {
  Run(commands_[0]);
  const std::string table = Run(commands_[1]);
  EXPECT_NE(table.find("perplexity by context length (test, nonoverlap)"), std::string::npos)
      << table;
  EXPECT_NE(table.find("cable     32            wikitext103"), std::string::npos) << table;
}

}  // namespace
}  // namespace longrun
