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

// A preset, and what the plan of its tiny form says.
struct Preset {
  const char* sweep;
  const char* plan;
};
constexpr Preset kPresetFiles[] = {
    {"cable-wikitext103.yaml", "1 run to train, 5 cells to evaluate"},
    {"cable-fineweb.yaml", "1 run to train, 5 cells to evaluate"},
    {"alibi-wikitext103.yaml", "3 runs to train, 6 cells to evaluate"},
    {"alibi-speed-wikitext103.yaml", "3 runs to train, 12 cells to evaluate"},
};

class PresetsRunTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* const name : {"data/wikitext103", "data/fineweb10B", "data/edu_fineweb10B"}) {
      ASSERT_TRUE(MakeFolders(In(name)).ok());
    }
    for (const Preset& preset : kPresetFiles) {
      Write(preset.sweep, ReadFile(JoinPath(kPresets, preset.sweep)).value());
    }
    const std::string data = JoinPath(kPresets, "data");
    const std::vector<std::string> names = ListFolder(data).value();
    for (const std::string& name : names) {
      std::string dataset = ReadFile(JoinPath(data, name)).value();
      const std::string real = "tokenizer: gpt2";
      const std::size_t at = dataset.find(real);
      ASSERT_NE(at, std::string::npos);
      Write(Str("data/", name), dataset.replace(at, real.size(), "tokenizer: bytes"));
    }
    int seed = 0;
    for (const char* const split : {"train", "validation", "test"}) {
      std::string rows = "{\"text\":\"\"}\n";  // the empty row is in every split
      for (int i = 0; i < 40; ++i) rows += Str(R"({"text":")", Text(12, ++seed), "\"}\n");
      Write(Str("data/wikitext103/", split, ".jsonl"), rows);
    }
    // As Cable names them: shard 0 is held out, and the last one's name differs.
    Write("data/fineweb10B/fineweb_val_000000.npy", Npy(Text(300, 1)));
    Write("data/fineweb10B/fineweb_train_000001.npy", Npy(Text(300, 2)));
    Write("data/fineweb10B/edufineweb_train_000002.npy", Npy(Text(200, 3)));
    // As build-nanogpt names them.
    Write("data/edu_fineweb10B/edufineweb_val_000000.npy", Npy(Text(300, 4)));
    Write("data/edu_fineweb10B/edufineweb_train_000001.npy", Npy(Text(300, 5)));
    Write("data/hellaswag_val.jsonl",
          R"({"ctx": "The sea", "endings": ["was calm", "sang", "a ship", "and"], "label": 0})"
          "\n");
    ReadCommands();
  }

  // The README's five: two datasets are prepared, a sweep run; another one run, its claims judged.
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
    ASSERT_EQ(commands_.size(), 5u);
    ASSERT_EQ(commands_[2][1], "run");
    ASSERT_EQ(commands_[3][1], "run");
    ASSERT_EQ(commands_[4][1], "claims");
  }

  std::string In(const std::string& name) const { return JoinPath(folder_.path(), name); }
  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(In(name), std::ios::binary) << bytes;
  }

  // Standard output; a test fails when the command does.
  std::string Run(const std::vector<std::string>& argv) {
    EXPECT_EQ(ExitCode(argv), 0) << Join(argv, " ") << "\n" << ReadFile(In("err")).value();
    return ReadFile(In("out")).value();
  }

  int ExitCode(std::vector<std::string> argv) {
    argv[0] = JoinPath(LONGRUN_BIN_DIR, "longrun");
    const Result<int> pid = Spawn({.argv = std::move(argv),
                                   .env = {Str("LONGRUN_HOME=", In("home")), "PATH=/usr/bin:/bin"},
                                   .cwd = folder_.path(),
                                   .stdout_path = In("out"),
                                   .stderr_path = In("err")});
    EXPECT_TRUE(pid.ok());
    return WaitFor(*pid, -1).value()->code;
  }

  // The README's command line with another verb and another sweep, as far as it is about
  // evaluations that this sweep has.
  std::vector<std::string> Command(const std::string& verb, const std::string& sweep) const {
    const bool has_one = ReadFile(In(sweep)).value().find("multiple_choice") == std::string::npos;
    std::vector<std::string> argv = {"longrun", verb, sweep};
    for (std::size_t i = 3; i + 1 < commands_[2].size(); i += 2) {
      const std::string& value = commands_[2][i + 1];
      if (has_one && value.starts_with("evaluate[") && !value.starts_with("evaluate[0]")) continue;
      argv.insert(argv.end(), {commands_[2][i], value});
    }
    return argv;
  }

  // Each of the datasets, also those that no sweep names.
  void PrepareData() {
    const std::vector<std::string> names = ListFolder(JoinPath(kPresets, "data")).value();
    for (const std::string& name : names) {
      Run({"longrun", "data", "prepare", Str("data/", name), "--allow-overlap"});
    }
  }

  TempFolder folder_;
  std::vector<std::vector<std::string>> commands_;
};

TEST_F(PresetsRunTest, EachPresetIsTakenAndPlannedOnATinyTextOfItsForm) {
  const std::vector<std::string> names = ListFolder(kPresets).value();
  EXPECT_EQ(
      std::ranges::count_if(names, [](const std::string& name) { return name.ends_with(".yaml"); }),
      std::ssize(kPresetFiles));
  PrepareData();
  for (const Preset& preset : kPresetFiles) {
    Run(Command("validate", preset.sweep));
    const std::string plan = Run(Command("plan", preset.sweep));
    EXPECT_NE(plan.find(preset.plan), std::string::npos) << plan;
  }
}

// The file of questions is not ours to ship, so a plan says which one is missing, and where.
TEST_F(PresetsRunTest, AMissingFileOfQuestionsIsNamedByThePlan) {
  PrepareData();
  ASSERT_TRUE(RemoveAll(In("data/hellaswag_val.jsonl")).ok());
  EXPECT_EQ(ExitCode(Command("plan", "cable-fineweb.yaml")), 2);
  const std::string why = ReadFile(In("err")).value();
  EXPECT_NE(why.find("cable-fineweb.yaml:"), std::string::npos) << why;
  EXPECT_NE(why.find("spec.evaluate[1].multiple_choice.file"), std::string::npos) << why;
  EXPECT_NE(why.find("data/hellaswag_val.jsonl"), std::string::npos) << why;
}

TEST_F(PresetsRunTest, ThePapersTextOfFineWebIsChosenByTheDataset) {
  PrepareData();
  std::vector<std::string> argv = Command("plan", "cable-fineweb.yaml");
  argv.insert(argv.end(), {"--set", "dataset=[fineweb-edu-10bt]"});
  const std::string plan = Run(argv);
  EXPECT_NE(plan.find(kPresetFiles[1].plan), std::string::npos) << plan;
}

TEST_F(PresetsRunTest, TheOneOfTheReadmeIsTrainedAndItsTableIsPrinted) {
  Run(commands_[0]);
  Run(commands_[1]);
  const std::string table = Run(commands_[2]);
  EXPECT_NE(table.find("perplexity by context length (wikitext103-joined, test, nonoverlap)"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("cable     32            wikitext103"), std::string::npos) << table;
}

// With one seed, and a single step of training and of each timing. One seed decides nothing; but of
// a claim that names what was not measured, the summary says that it could not be judged.
TEST_F(PresetsRunTest, TheClaimsOfTheReadmesSmallRunCanBeJudged) {
  Run(commands_[0]);
  Run(commands_[1]);
  std::vector<std::string> argv = commands_[3];
  for (const char* const smaller :
       {"seed=[1]", "train.tokens=1024", "train.validate.every=1024", "train.validate.windows=1",
        "evaluate[0].perplexity.score_tokens=1024", "evaluate[1].throughput.warm_up=0",
        "evaluate[1].throughput.iterations=1", "evaluate[2].throughput.warm_up=0",
        "evaluate[2].throughput.iterations=1"}) {
    argv.insert(argv.end(), {"--set", smaller});
  }
  Run(argv);
  const int code = ExitCode(commands_[4]);
  const std::string verdicts = ReadFile(In("out")).value();
  EXPECT_EQ(code, 8) << verdicts << ReadFile(In("err")).value();
  EXPECT_NE(verdicts.find("0 supported, 0 refuted, 3 undecided; 3 comparisons"), std::string::npos)
      << verdicts;
}

}  // namespace
}  // namespace longrun
