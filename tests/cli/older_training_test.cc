// The state folder of commit 4475e24 (tests/golden). Its unfinished training goes on from its
// checkpoints and gives the very bits that the programs of that commit gave when nothing
// interrupted them. Its known rows are measured again for their error, to the same bits.
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "coordinator/store/sqlite.h"
#include "model/cpu_paths.h"
#include "tests/cli/file_steps.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(120'000);
// The execution with which both training runs began.
constexpr const char* kSimd = "avx512";
constexpr const char* kLinear = "onednn/AuthenticAMD";

// The mean NLL in nats that the programs of 4475e24 measured without an interruption.
constexpr const char* kUninterrupted =
    "position,context_length,value\n"
    "rope,64,1.4179086092144644\n"
    "cable,64,1.424100134462151\n"
    "rope,32,1.4292758198180309\n"
    "cable,32,1.43556732394336\n";

constexpr const char* kSweep = R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: unfinished}
spec:
  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 8}
  matrix: {position: [rope, cable], train_length: [32], dataset: [words], seed: [1]}
  train:
    {tokens: 409600, checkpoint: {every: 1s}, batch_tokens: 256, optimizer: {lr: 1.0e-2},
     schedule: {warmup_tokens: 256}}
  evaluate:
    - perplexity: {context_lengths: [32, 64], split: validation, protocol: nonoverlap,
                   score_tokens: 1024, baseline: none}
)";

constexpr const char* kFinished = R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: finished}
spec:
  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 8}
  matrix: {position: [cable, learned], train_length: [32], dataset: [words], seed: [1]}
  train: {tokens: 4096, batch_tokens: 256, optimizer: {lr: 1.0e-2}, schedule: {warmup_tokens: 256}}
  evaluate:
    - perplexity: {context_lengths: [32, 64], split: validation, protocol: nonoverlap,
                   score_tokens: 1024, baseline: unigram}
)";

struct Ended {
  int code = -1;
  std::string out{};
  std::string errors{};
};

class OlderTrainingTest : public testing::Test {
 protected:
  std::string PathOf(const std::string& name) const { return JoinPath(temp_.path(), name); }

  void SetUp() override {
    ASSERT_TRUE(UnpackGolden("state_4475e24", PathOf("home")).ok());
    ASSERT_TRUE(WriteFileAtomic(PathOf("unfinished.yaml"), kSweep, 0600).ok());
  }

  Ended Longrun(std::vector<std::string> arguments) {
    const std::string said = Str("said", ++n_commands_);
    arguments.insert(arguments.begin(), JoinPath(LONGRUN_BIN_DIR, "longrun"));
    const auto pid = Spawn(
        {.argv = std::move(arguments),
         .env = {"PATH=/usr/bin:/bin", "HOME=" + temp_.path(), "LONGRUN_HOME=" + PathOf("home")},
         .stdout_path = PathOf(said),
         .stderr_path = PathOf(said + ".err"),
         .die_with_parent = true});
    if (!pid.ok()) return {.errors = pid.status().message()};
    const auto ended = WaitFor(*pid, kEndMs);
    if (!ended.ok() || !*ended) kill(*pid, SIGKILL);
    return {.code = ended.ok() && *ended ? (*ended)->code : -1,
            .out = ReadFile(PathOf(said)).value(),
            .errors = ReadFile(PathOf(said + ".err")).value()};
  }

  TempFolder temp_;
  int n_commands_ = 0;
};

TEST_F(OlderTrainingTest, GivesTheBitsOfAnUninterruptedTraining) {
  const CpuPaths paths = DetectCpuPaths();
  if (paths.simd != kSimd || paths.linear != kLinear) {
    GTEST_SKIP() << "training began with " << kSimd << " and " << kLinear << "; this machine has "
                 << paths.simd << " and " << paths.linear;
  }

  const Ended run = Longrun({"run", PathOf("unfinished.yaml")});
  ASSERT_EQ(run.code, 0) << run.errors;

  // Those of the sweep that had finished are above 2.
  const Ended rows =
      Longrun({"query",
               "SELECT position, context_length, value FROM results WHERE value < 2 ORDER BY value",
               "-o", "csv"});
  EXPECT_EQ(rows.out, kUninterrupted) << rows.errors;
  const Ended tries =
      Longrun({"query", "SELECT count(*) AS n FROM attempts WHERE resume_step > 0", "-o", "csv"});
  EXPECT_EQ(tries.out, "n\n2\n") << tries.errors;
}

// The finished sweep's rows count windows as independent. Measured again by this version they have
// the same bits, and the error over blocks.
TEST_F(OlderTrainingTest, ItsKnownRowsAreMeasuredAgainToTheSameBits) {
  const CpuPaths paths = DetectCpuPaths();
  if (paths.simd != kSimd || paths.linear != kLinear) {
    GTEST_SKIP() << "training was executed with " << kSimd << " and " << kLinear
                 << "; this machine has " << paths.simd << " and " << paths.linear;
  }
  ASSERT_TRUE(WriteFileAtomic(PathOf("finished.yaml"), kFinished, 0600).ok());
  const std::vector<std::string> numbers = {
      "query",
      "SELECT run_key, context_length, variant, nll_sum, n, status FROM results"
      " ORDER BY 1, 2, 3",
      "-o", "csv"};
  const std::vector<std::string> attempts = {
      "query",
      "SELECT kind, count(*) AS n FROM attempts JOIN sweep_runs USING (run_key)"
      " WHERE sweep = 'finished' GROUP BY kind ORDER BY kind",
      "-o", "csv"};
  const Ended before = Longrun(numbers);

  const Ended run = Longrun({"run", PathOf("finished.yaml"), "--refresh-errors"});

  ASSERT_EQ(run.code, 0) << run.errors;
  EXPECT_NE(
      run.errors.find("4 cells to measure again in 2 tasks, to get their error over the text"),
      std::string::npos)
      << run.errors;
  EXPECT_NE(run.errors.find("its numbers equal those of attempt 1, bit for bit"), std::string::npos)
      << run.errors;
  EXPECT_EQ(run.out.find("windows"), std::string::npos) << run.out;
  EXPECT_EQ(Longrun(numbers).out, before.out);
  EXPECT_EQ(Longrun({"query",
                     "SELECT count(*) AS n FROM results WHERE status = 'ok'"
                     " AND json_extract(extra, '$.blocks') IS NOT NULL",
                     "-o", "csv"})
                .out,
            "n\n7\n");
  const Ended tries = Longrun(attempts);
  EXPECT_EQ(tries.out, "kind,n\nevaluate,4\ntrain,2\n") << tries.errors;

  const Ended again = Longrun({"run", PathOf("finished.yaml"), "--refresh-errors"});
  EXPECT_EQ(again.code, 0) << again.errors;
  EXPECT_NE(again.errors.find("nothing to refresh"), std::string::npos) << again.errors;
  EXPECT_EQ(Longrun(attempts).out, tries.out);
}

TEST_F(OlderTrainingTest, IsNotContinuedWithOtherArithmetic) {
  {
    const auto database = coordinator::Connection::Open(PathOf("home/longrun.db"),
                                                        coordinator::Connection::Mode::kWrite);
    ASSERT_TRUE(database.ok());
    ASSERT_TRUE(
        (*database)
            ->Execute("UPDATE run SET execution = replace(execution, 'AuthenticAMD', 'Other')")
            .ok());
  }

  const Ended run = Longrun({"run", PathOf("unfinished.yaml")});
  EXPECT_EQ(run.code, 4) << run.errors;
  EXPECT_NE(run.errors.find("onednn/Other"), std::string::npos) << run.errors;
}

}  // namespace
}  // namespace longrun
