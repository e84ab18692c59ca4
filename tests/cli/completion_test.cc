// The script of `longrun completion bash`, in a real bash,
// against a state folder with a dataset in it.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);

class BashTest : public testing::Test {
 protected:
  const TempFolder folder;
  const std::string longrun = JoinPath(LONGRUN_BIN_DIR, "longrun");
  const std::string state = JoinPath(folder.path(), "home");

  // What a program writes; it must end well.
  std::string Said(std::vector<std::string> argv) {
    const std::string out = JoinPath(folder.path(), Str("out.", ++n_commands_));
    const Result<int> pid = Spawn({.argv = std::move(argv),
                                   .env = {"PATH=/usr/bin:/bin", "LONGRUN_HOME=" + state},
                                   .cwd = folder.path(),
                                   .stdout_path = out,
                                   .stderr_path = out});
    if (!pid.ok()) return std::string(pid.status().message());
    const Result<std::optional<ExitInfo>> exited = WaitFor(*pid, kEndMs);
    EXPECT_TRUE(exited.ok() && exited->has_value() && (*exited)->code == 0);
    return ReadFile(out).value();
  }
  // What Tab offers behind these words, the last of which is being typed.
  std::string Tab(const std::vector<std::string>& words) {
    std::string script =
        Str("source <('", longrun, "' completion bash)\nCOMP_WORDS=('", longrun, "'");
    for (const std::string& word : words) script += Str(" '", word, "'");
    script +=
        Str(")\nCOMP_CWORD=", words.size(), "\n_longrun\n", "printf '%s\\n' \"${COMPREPLY[@]}\"\n");
    return Said({"/bin/bash", "-c", script});
  }

 private:
  int n_commands_ = 0;
};

TEST_F(BashTest, TheFunctionCompletesVerbsOptionsFilesAndLiveNames) {
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "mine.yaml"), "x").ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "a.txt"), std::string(4000, 'a')).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "b.txt"), std::string(4000, 'b')).ok());
  Said({longrun, "data", "import", "mybook", "--train", "a.txt", "--validation", "b.txt"});
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "mine.yaml"),
                              "apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: my-sweep}\n"
                              "spec:\n  model: {architecture: gpt2, size: micro}\n"
                              "  matrix: {position: [alibi], train_length: [64],"
                              " dataset: [mybook], seed: [1]}\n"
                              "  train: {tokens: 1024, batch_tokens: 1024}\n")
                  .ok());
  Said({longrun, "submit", "mine.yaml"});

  EXPECT_EQ(Tab({"val"}), "validate\n");
  EXPECT_EQ(Tab({"gc", "--dr"}), "--dry-run\n");
  EXPECT_EQ(Tab({"run", "mi"}), "mine.yaml\n");
  EXPECT_EQ(Tab({"table", ""}), "my-sweep\n");
  EXPECT_EQ(Tab({"table", "my-sweep", "-o", "j"}), "json\njsonl\n");
  EXPECT_EQ(Tab({"explain", "failure.lo"}), "failure.lost\n");
}

}  // namespace
}  // namespace longrun
