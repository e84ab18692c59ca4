// Programs under a limit on their address space, from where one cannot load to where it has room:
// each ends by itself, and says what is too little. None aborts, and none waits.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/deadline.h"
#include "tests/sanitized.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);

struct Ended {
  int code = -1;
  int signal = 0;
  std::string said;
};

class LimitsTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(LONGRUN_SANITIZED)
    GTEST_SKIP() << "a sanitizer needs more addresses than any of these limits";
#endif
  }
  Ended Run(std::int64_t megabytes, const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {"/usr/bin/prlimit", Str("--as=", megabytes << 20)};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const std::string said = JoinPath(temp_.path(), "said");
    EXPECT_TRUE(RemoveAll(said).ok());
    const Result<int> pid = Spawn({.argv = argv,
                                   .env = {"PATH=/usr/bin:/bin", "HOME=" + temp_.path()},
                                   .stdout_path = said,
                                   .stderr_path = said,
                                   .die_with_parent = true});
    EXPECT_TRUE(pid.ok()) << pid.status().message();
    if (!pid) return {};
    const auto ended = WaitFor(*pid, kEndMs);
    if (!ended || !*ended) {
      kill(*pid, SIGKILL);
      ADD_FAILURE() << "no end within " << kEndMs << " ms";
      return {};
    }
    return {.code = (*ended)->code, .signal = (*ended)->signal, .said = ReadFile(said).value()};
  }
  std::string Program(const std::string& name) const { return JoinPath(LONGRUN_BIN_DIR, name); }

  static void ExpectReason(const Ended& ended) {
    EXPECT_EQ(ended.signal, 0) << ended.said;
    for (const char* const riddle : {"mistake of the program", "terminate called", "ssertion"}) {
      EXPECT_EQ(ended.said.find(riddle), std::string::npos) << ended.said;
    }
    if (ended.code == 0) return;
    const bool is_loader =
        ended.said.find("error while loading shared libraries") != std::string::npos;
    EXPECT_TRUE(is_loader || ended.said.find("ulimit -v") != std::string::npos) << ended.said;
  }

  TempFolder temp_;
};

TEST_F(LimitsTest, ACommandSaysWhatItsCoordinatorLacks) {
  bool is_refused = false, is_done = false;
  for (std::int64_t megabytes = 100; megabytes <= 4'000; megabytes = megabytes * 9 / 8) {
    SCOPED_TRACE(Str(megabytes, " MiB"));
    const std::string state = JoinPath(temp_.path(), Str("state", megabytes));
    const Ended ended = Run(megabytes, {Program("longrun"), "--state", state, "ls"});
    ExpectReason(ended);
    is_refused = is_refused || ended.code != 0;
    is_done = is_done || ended.code == 0;
  }
  EXPECT_TRUE(is_refused && is_done) << "the limits do not span what it needs";
}

#if defined(LONGRUN_TEST_TRAINER)

// Where there is room for the daemons but not for a trainer, the trainings end with their class
// after the attempts that it allows.
TEST_F(LimitsTest, ATrainingThatHasNoRoomEndsAsOutOfMemory) {
  const std::string text = JoinPath(temp_.path(), "text.txt");
  std::string words;
  for (int i = 0; i < 4'000; ++i) words += i % 3 == 0 ? "beta " : "gamma ";
  ASSERT_TRUE(WriteFileAtomic(text, words, 0600).ok());
  const std::string other = JoinPath(temp_.path(), "other.txt");
  ASSERT_TRUE(WriteFileAtomic(other, Str("delta ", words), 0600).ok());
  const std::string sweep = JoinPath(temp_.path(), "sweep.yaml");
  ASSERT_TRUE(WriteFileAtomic(sweep, R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: small}
spec:
  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}
  matrix: {position: [rope], train_length: [32], dataset: [words]}
  train: {tokens: 1024, batch_tokens: 256}
  evaluate:
    - perplexity: {context_lengths: [32], split: validation, protocol: nonoverlap, score_tokens: 256}
)",
                              0600)
                  .ok());
  bool is_refused = false;
  for (const std::int64_t megabytes : {200, 300, 400, 4'000}) {
    SCOPED_TRACE(Str(megabytes, " MiB"));
    const std::string state = JoinPath(temp_.path(), Str("state", megabytes));
    const Ended imported = Run(64'000, {Program("longrun"), "--state", state, "data", "import",
                                        "words", "--train", text, "--validation", other});
    ASSERT_EQ(imported.code, 0) << imported.said;
    const Ended ended = Run(megabytes, {Program("longrun"), "--state", state, "run", sweep});
    EXPECT_EQ(ended.signal, 0);
    EXPECT_EQ(ended.code == 0, megabytes == 4'000) << ended.said;
    const bool is_told = ended.said.find("failed: out_of_memory") != std::string::npos;
    is_refused = is_refused || is_told;
    EXPECT_TRUE(ended.code == 0 || is_told || ended.said.find("ulimit -v") != std::string::npos)
        << ended.said;
  }
  EXPECT_TRUE(is_refused) << "no limit leaves room for the daemons only";
}

#endif

}  // namespace
}  // namespace longrun
