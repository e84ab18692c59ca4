// What comes in that is not UTF-8, and what goes out to nowhere: the same for every verb and
// program. The verbs are those that completion offers.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

using Words = std::vector<std::string>;

constexpr std::int64_t kEndMs = DeadlineMs(120'000);
constexpr const char* kBytes = "caf\xe9";
constexpr const char* kShown = "(\"caf\\xe9\") is not UTF-8, which names and paths must be: ";

struct Said {
  int code = -1;
  std::string out, err;
};

class TextTest : public testing::Test {
 protected:
  const TempFolder folder;

  Said Run(const Words& argv, const Words& variables = {}) {
    return RunIn(folder.path(), argv, variables);
  }

  Said RunIn(const std::string& cwd, Words argv, const Words& variables) {
    if (!argv[0].starts_with("/")) argv[0] = JoinPath(LONGRUN_BIN_DIR, argv[0]);
    Words env = {"PATH=/usr/bin:/bin"};
    if (variables.empty()) env.push_back(Str("LONGRUN_HOME=", folder.path(), "/home"));
    env.insert(env.end(), variables.begin(), variables.end());
    const std::string out = JoinPath(folder.path(), Str("out.", ++n_)), err = out + ".err";
    const Result<int> pid = Spawn({.argv = std::move(argv),
                                   .env = std::move(env),
                                   .cwd = cwd,
                                   .stdout_path = out,
                                   .stderr_path = err,
                                   .die_with_parent = true});
    if (!pid.ok()) return {.out = "", .err = pid.status().message()};
    const Result<std::optional<ExitInfo>> exited = WaitFor(*pid, kEndMs);
    if (!exited.ok() || !exited->has_value()) return {.out = "", .err = "it did not end"};
    const ExitInfo& info = **exited;
    return {.code = info.signal != 0 ? 128 + info.signal : info.code,
            .out = ReadFile(out).value(),
            .err = ReadFile(err).value()};
  }

  // `line` in bash, with the program's folder first in the path; {} stands for nothing.
  Said Shell(const std::string& line) {
    return RunIn(folder.path(), {"/bin/bash", "-c", line},
                 {Str("PATH=", LONGRUN_BIN_DIR, ":/usr/bin:/bin"),
                  Str("LONGRUN_HOME=", folder.path(), "/home")});
  }

  // One sentence that names the bytes, and nothing else.
  static void ExpectRefused(const Said& said, int code, const std::string& what) {
    EXPECT_EQ(said.code, code) << what << ": " << said.err;
    EXPECT_EQ(said.out, "") << what;
    EXPECT_NE(said.err.find(kShown), std::string::npos) << what << ": " << said.err;
    EXPECT_EQ(said.err.find('\n'), said.err.size() - 1) << what << ": " << said.err;
  }

  // `longrun VERB` and `longrun VERB SUB-VERB`, all of them.
  std::vector<Words> AllVerbs() {
    std::vector<Words> verbs;
    for (const std::string& verb : Offered({})) {
      verbs.push_back({"longrun", verb});
      if (verb != "data" && verb != "models") continue;
      for (const std::string& below : Offered({verb})) verbs.push_back({"longrun", verb, below});
    }
    return verbs;
  }

 private:
  // What Tab offers behind these words that is no option.
  Words Offered(const Words& behind) {
    Words argv = {"longrun", "__complete"};
    argv.insert(argv.end(), behind.begin(), behind.end());
    argv.emplace_back("");
    Words words;
    for (const std::string& line : Split(Run(argv).out, '\n')) {
      if (!line.empty() && line[0] >= 'a' && line[0] <= 'z') words.push_back(line);
    }
    return words;
  }

  int n_ = 0;
};

TEST_F(TextTest, EveryVerbRefusesAnArgumentThatIsNotUtf8) {
  const std::vector<Words> verbs = AllVerbs();
  ASSERT_GT(verbs.size(), 35u);
  for (Words words : verbs) {
    const std::string what = Join(words, " ");
    words.emplace_back(kBytes);
    ExpectRefused(Run(words), 2, what);
    words.back() = Str("--state=", folder.path());
    ExpectRefused(Run(words, {Str("LONGRUN_TOKENIZERS=", kBytes)}), 2, what);
  }
}

TEST_F(TextTest, ControlCharactersOfAWrongArgumentAreShownAsText) {
  const std::string red = "r\x1b[31m", shown = "r\\x1b[31m";
  for (const Words& words :
       {Words{"longrun", "table", "a", "-o", red}, Words{"longrun", "ls", "--status", red},
        Words{"longrun", red}, Words{"longrun", "ls", Str("--", red)},
        Words{"longrun", "get", "a", red}}) {
    const Said said = Run(words);
    EXPECT_EQ(said.code, 2) << said.err;
    EXPECT_NE(said.err.find(shown), std::string::npos) << said.err;
    EXPECT_EQ(said.err.find('\x1b'), std::string::npos) << said.err;
  }
}

TEST_F(TextTest, EveryProgramRefusesItWithItsExitCodeOfWrongUsage) {
  for (const char* const program : {"longrun-coordinator", "longrun-worker", "longrun-trainer"}) {
    if (!PathExists(JoinPath(LONGRUN_BIN_DIR, program))) continue;  // built without LibTorch
    ExpectRefused(Run({program, "--state", kBytes}), 64, program);
    ExpectRefused(Run({program, "--version"}, {Str("LONGRUN_HOME=", kBytes)}), 64, program);
  }
}

TEST_F(TextTest, AStateFolderThatIsNotUtf8IsRefusedWhereverItComesFrom) {
  const std::string state = JoinPath(folder.path(), kBytes);
  ASSERT_EQ(mkdir(state.c_str(), 0700), 0);
  for (const Words& words : {Words{"longrun", "ls"}, Words{"longrun", "doctor"},
                             Words{"longrun", "data", "ls"}, Words{"longrun", "run", "a.yaml"}}) {
    for (const char* const variable : {"HOME", "XDG_DATA_HOME", "LONGRUN_HOME"}) {
      const Said said = Run(words, {Str(variable, "=", state)});
      EXPECT_EQ(said.code, 2) << said.err;
      EXPECT_NE(said.err.find(Str("the environment variable ", variable, " (")), std::string::npos)
          << said.err;
    }
    const Said said = RunIn(state, words, {"LONGRUN_HOME=home"});
    EXPECT_EQ(said.code, 2) << said.err;
    EXPECT_NE(said.err.find("longrun: the current folder ("), std::string::npos) << said.err;
    EXPECT_EQ(said.err.find('\n'), said.err.size() - 1) << said.err;
  }
  EXPECT_TRUE(ListFolder(state).value().empty());
}

TEST_F(TextTest, ARelativeDataHomeIsIgnored) {
  const Words env = {Str("HOME=", folder.path()), "XDG_DATA_HOME=data"};
  EXPECT_EQ(Run({"longrun", "data", "rm", "nothing"}, env).code, 3);
  EXPECT_FALSE(PathExists(JoinPath(folder.path(), "data")));
  EXPECT_TRUE(IsFolder(JoinPath(folder.path(), ".local/share/longrun")));
  EXPECT_NE(Run({"longrun", "doctor"}, env)
                .out.find("XDG_DATA_HOME=data is a relative path and is ignored"),
            std::string::npos);
}

TEST_F(TextTest, AClosedOrFullStandardOutputIsSaidOnce) {
  Shell("longrun data rm nothing");  // makes a database: without one, a line of stderr says so
  for (const char* const verb :
       {"ls", "version", "schema", "data ls", "explain spec", "--version", "--help", "help ls"}) {
    const Said closed = Shell(Str("longrun ", verb, " >&-"));
    EXPECT_EQ(closed.code, 1) << verb;
    EXPECT_EQ(
        closed.err,
        "longrun: standard output is closed, so nothing could be printed: send it to a file, or "
        "to /dev/null\n")
        << verb;
    const Said full = Shell(Str("longrun ", verb, " >/dev/full"));
    EXPECT_EQ(full.code, 1) << verb;
    EXPECT_EQ(
        full.err,
        "longrun: standard output could not be written in full: No space left on device; make "
        "room on its disk, or send it to another file\n")
        << verb;
  }
}

TEST_F(TextTest, EveryProgramSaysWhyItsVersionAndHelpCouldNotBeWritten) {
  for (const char* const program : {"longrun-coordinator", "longrun-worker", "longrun-trainer"}) {
    if (!PathExists(JoinPath(LONGRUN_BIN_DIR, program))) continue;  // built without LibTorch
    for (const char* const option : {"--version", "--help"}) {
      const Said full = Shell(Str(program, " ", option, " >/dev/full"));
      EXPECT_EQ(full.code, 1) << program << " " << option;
      EXPECT_EQ(full.err, Str(program,
                              ": standard output could not be written in full: No space left on "
                              "device; make room on its disk, or send it to another file\n"))
          << program << " " << option;
    }
  }
}

TEST_F(TextTest, AClosedStandardInputIsSaid) {
  const Said closed = Shell("longrun query - <&-");
  EXPECT_EQ(closed.code, 2);
  EXPECT_EQ(
      closed.err,
      "longrun: standard input is closed, so the query cannot be read from it: give the query "
      "as an argument, or its file: `longrun query - < FILE`\n");
  const Said of_folder = Shell("longrun query - </");
  EXPECT_EQ(of_folder.err, "longrun: cannot read the query from standard input: Is a directory\n");
  EXPECT_EQ(Shell("longrun validate - <&-").err,
            "longrun: standard input is closed, so the sweep file cannot be read from it: give the "
            "name of the file\n");
}

TEST_F(TextTest, ASweepFileMayComeFromStandardInput) {
  const Said said = Shell("printf 'apiVersion: longrun/v1\nkind: Sweeps\n' | longrun validate -");
  EXPECT_EQ(said.code, 2);
  EXPECT_TRUE(said.err.starts_with("-:")) << said.err;
  EXPECT_NE(said.err.find("-:2:7: kind: "), std::string::npos) << said.err;
}

// More than a pipe holds, so that the end of the reader is met for certain: 128 + SIGPIPE.
TEST_F(TextTest, AReaderThatHasSeenEnoughEndsAVerbQuietly) {
  const Said said = Shell("longrun schema | head -1; echo ${PIPESTATUS[0]}");
  EXPECT_EQ(said.err, "");
  EXPECT_EQ(said.out, "{\n141\n");
}

}  // namespace
}  // namespace longrun
