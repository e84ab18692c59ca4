// kill -9 of a backup and of a restore at random moments: what is left is a whole backup or none,
// and a folder that is whole or refused. The moments are drawn from a seed that derives from the
// commit; another one:
//
//   LONGRUN_TEST_SEED=7 build/release/tests/test_coordinator_store_backup_kill
//   LONGRUN_SOAK=1                                         eight times as many kills
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/store/backup.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/sqlite.h"
#include "tests/commit_seed.h"
#include "tests/coordinator/store/sample_state.h"
#include "tests/deadline.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);

int Rounds() { return GetEnv("LONGRUN_SOAK") ? 400 : 50; }

class BackupKillTest : public ::testing::Test {
 protected:
  BackupKillTest() : random(longrun::testing::CommitSeed()) {}
  void SetUp() override {
    sample.RunTheSample();
    std::printf("seed %llu\n", static_cast<unsigned long long>(longrun::testing::CommitSeed()));
  }

  std::string At(const std::string& name) const { return JoinPath(folder.path(), name); }

  int Start(const std::vector<std::string>& arguments, const std::string& failpoints = "") {
    std::vector<std::string> argv = {LONGRUN_BIN_DIR "/longrun-coordinator"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    std::vector<std::string> env = {"PATH=/usr/bin:/bin", "TMPDIR=" + folder.path()};
    if (!failpoints.empty()) env.push_back("LONGRUN_FAILPOINTS=" + failpoints);
    return Spawn({.argv = std::move(argv),
                  .env = std::move(env),
                  .stdout_path = At("out"),
                  .stderr_path = At("err"),
                  .die_with_parent = true})
        .value();
  }
  ExitInfo End(int pid) {
    const auto ended = WaitFor(pid, kEndMs);
    EXPECT_TRUE(ended.ok() && *ended) << "no end";
    return ended.ok() && *ended ? **ended : ExitInfo();
  }
  int Run(const std::vector<std::string>& arguments, const std::string& failpoints = "") {
    return End(Start(arguments, failpoints)).code;
  }
  // Kills it after a random part of `limit_ms`. True if it had ended before.
  bool KillSometime(const std::vector<std::string>& arguments, std::int64_t limit_ms) {
    const int pid = Start(arguments);
    const auto ended = WaitFor(
        pid, 1 + static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(limit_ms))));
    EXPECT_TRUE(ended.ok());
    if (ended.ok() && *ended) return true;
    kill(pid, SIGKILL);
    return End(pid).signal != SIGKILL;
  }
  std::int64_t TimeOf(const std::vector<std::string>& arguments) {
    const std::int64_t begin = BootMs();
    EXPECT_EQ(Run(arguments), 0) << ReadFile(At("err")).value();
    return BootMs() - begin;
  }
  static std::string Found(const Result<CheckedState>& checked) {
    if (!checked.ok()) return checked.status().message();
    std::string all;
    for (const DamagedObject& one : checked->found.damaged) all += one.object + "\n";
    return all;
  }
  // What a restored folder must have; "" if it has no database.
  static std::string Contents(const std::string& state) {
    if (!PathExists(JoinPath(state, "longrun.db"))) return "";
    const auto connection =
        Connection::Open(JoinPath(state, "longrun.db"), Connection::Mode::kReadAll);
    EXPECT_TRUE(connection.ok());
    std::string all;
    for (const char* const table : {"sweep", "run", "task", "attempt", "record", "result"}) {
      const auto part =
          (*connection)
              ->ReadText(Str("SELECT count(*) || ':' || coalesce(sum(sum), 0) FROM ", table));
      EXPECT_TRUE(part.ok()) << part.status().message();
      all += part.ok() ? *part + " " : "";
    }
    return all;
  }

  TempFolder folder;
  SampleState sample{JoinPath(folder.path(), "state")};
  SeededRandom random;
};

TEST_F(BackupKillTest, ABackupIsWholeOrNotThere) {
  const std::string backup = At("backup.tar");
  const std::vector<std::string> arguments = {"--backup", backup, "--state", sample.folder()};
  const std::int64_t limit_ms = TimeOf(arguments) * 5 / 4 + 1;
  ASSERT_TRUE(RemoveAll(backup).ok());
  int n_killed = 0, n_there = 0;
  for (int i = 0; i < Rounds(); ++i) {
    n_killed += KillSometime(arguments, limit_ms) ? 0 : 1;
    if (!PathExists(backup)) continue;
    n_there += 1;
    EXPECT_EQ(Found(CheckBackup(backup)), "") << "round " << i;
    ASSERT_TRUE(RemoveAll(backup).ok());
  }
  EXPECT_GT(n_killed, Rounds() / 4);
  std::printf("%d killed, %d backups\n", n_killed, n_there);
  // What they left is in nobody's way.
  EXPECT_EQ(Run(arguments), 0) << ReadFile(At("err")).value();
  EXPECT_FALSE(PathExists(backup + ".partial"));
}

TEST_F(BackupKillTest, AnEarlierBackupStaysUntilTheNewOneIsWhole) {
  const std::string backup = At("backup.tar");
  std::vector<std::string> arguments = {"--backup", backup, "--state", sample.folder()};
  const std::int64_t limit_ms = TimeOf(arguments) * 5 / 4 + 1;
  arguments.emplace_back("--replace");
  for (int i = 0; i < Rounds() / 2; ++i) {
    KillSometime(arguments, limit_ms);
    ASSERT_EQ(Found(CheckBackup(backup)), "") << "round " << i;
  }
}

// The disk has no room for all of it: here, a limit on the size of a file that each write may meet.
TEST_F(BackupKillTest, AFullDiskLeavesNothing) {
  const std::string backup = At("backup.tar");
  const std::vector<std::string> arguments = {"--backup", backup, "--state", sample.folder()};
  ASSERT_EQ(Run(arguments), 0);
  const std::int64_t n_bytes = FileBytes(backup).value();
  ASSERT_TRUE(RemoveAll(backup).ok());
  for (int i = 0; i < Rounds() / 5; ++i) {
    const auto limit = static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(n_bytes)));
    std::vector<std::string> limited = {"/usr/bin/prlimit", Str("--fsize=", limit),
                                        LONGRUN_BIN_DIR "/longrun-coordinator"};
    limited.insert(limited.end(), arguments.begin(), arguments.end());
    const Result<int> pid = Spawn({.argv = std::move(limited),
                                   .env = {"PATH=/usr/bin:/bin", "TMPDIR=" + folder.path()},
                                   .die_with_parent = true});
    ASSERT_TRUE(pid.ok());
    EXPECT_NE(End(*pid).code, 0) << "limit " << limit;
    EXPECT_FALSE(PathExists(backup)) << "limit " << limit;
    EXPECT_FALSE(PathExists(backup + ".partial")) << "limit " << limit;
  }
}

// Between any two steps.
TEST_F(BackupKillTest, ACrashBetweenTwoStepsOfABackupLeavesNone) {
  const std::string backup = At("backup.tar");
  const std::vector<std::string> arguments = {"--backup", backup, "--state", sample.folder()};
  for (const char* const point :
       {"backup_mid_snapshot", "backup_after_snapshot", "backup_mid_write", "backup_before_check",
        "backup_mid_read", "backup_before_rename"}) {
    EXPECT_EQ(Run(arguments, Str(point, ":exit")), kFailpointExitCode) << point;
    EXPECT_FALSE(PathExists(backup)) << point;
    EXPECT_TRUE(PathExists(backup + ".partial")) << point;
  }
  EXPECT_EQ(Run(arguments), 0) << ReadFile(At("err")).value();
}

TEST_F(BackupKillTest, ARestoreIsWholeOrRefusedAndCanBeRepeated) {
  const std::string backup = At("backup.tar");
  ASSERT_EQ(Run({"--backup", backup, "--state", sample.folder()}), 0);
  // Another sweep since: the two databases differ.
  sample.Open();
  SweepSubmitted second = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
  second.sweep.name = "second";
  sample.Do(second);
  sample.Close();
  const std::string later = At("later.tar");
  ASSERT_EQ(Run({"--backup", later, "--state", sample.folder()}), 0);
  const std::string after = Contents(sample.folder());
  const std::vector<std::string> arguments = {"--restore", backup, "--state", sample.folder(),
                                              "--replace"};
  const std::int64_t limit_ms = TimeOf(arguments) * 5 / 4 + 1;
  const std::string restored = Contents(sample.folder());
  ASSERT_NE(restored, after);
  std::int64_t restore_count = 1;
  std::set<std::string> seen;
  for (int i = 0; i < Rounds() / 2; ++i) {
    // Back to the later one, then a restore of the earlier one that is killed.
    ASSERT_EQ(Run({"--restore", later, "--state", sample.folder(), "--replace"}), 0)
        << ReadFile(At("err")).value();
    KillSometime(arguments, limit_ms);
    const std::string now = Contents(sample.folder());
    seen.insert(now == after ? "before" : now == restored ? "after" : now.empty() ? "none" : now);
    if (now.empty()) {
      // No coordinator begins with an empty database here.
      const Status status = Store::Open(sample.folder()).status();
      EXPECT_EQ(status.code(), Code::kDataLoss) << status.message();
    } else {
      EXPECT_TRUE(now == after || now == restored) << "round " << i;
      EXPECT_EQ(Found(CheckState(sample.folder())), "") << "round " << i;
    }
    ASSERT_EQ(Run(arguments), 0) << ReadFile(At("err")).value();
    EXPECT_EQ(Contents(sample.folder()), restored);
    EXPECT_FALSE(PathExists(JoinPath(sample.folder(), "restoring")));
    const auto checked = CheckState(sample.folder());
    ASSERT_TRUE(checked.ok());
    // The count never repeats, however often a restore was interrupted.
    EXPECT_GT(checked->facts.at("restore_count").get<std::int64_t>(), restore_count);
    restore_count = checked->facts.at("restore_count").get<std::int64_t>();
  }
  for (const std::string& what : seen) std::printf("seen after a kill: %s\n", what.c_str());
}

TEST_F(BackupKillTest, ACrashBetweenTwoStepsOfARestoreIsRepeated) {
  const std::string backup = At("backup.tar");
  ASSERT_EQ(Run({"--backup", backup, "--state", sample.folder()}), 0);
  const std::string contents = Contents(sample.folder());
  for (const char* const point : {"restore_before_files", "restore_after_file", "restore_after_id",
                                  "restore_after_move", "restore_after_install"}) {
    const std::string state = At(point);
    std::vector<std::string> arguments = {"--restore", backup, "--state", state};
    const bool moves = std::string_view(point) == "restore_after_move";
    if (moves) {
      ASSERT_EQ(Run(arguments), 0);
      arguments.emplace_back("--replace");
    }
    EXPECT_EQ(Run(arguments, Str(point, ":exit")), kFailpointExitCode) << point;
    const bool is_installed = std::string_view(point) == "restore_after_install";
    EXPECT_EQ(Contents(state), is_installed ? contents : "") << point;
    if (is_installed) continue;
    EXPECT_EQ(Run(arguments), 0) << ReadFile(At("err")).value();
    EXPECT_EQ(Contents(state), contents) << point;
    EXPECT_EQ(Found(CheckState(state)), "") << point;
  }
}

// What only the log knows is read with the database that it belongs to.
TEST_F(BackupKillTest, AfterACrashTheLogFollowsTheDatabaseThatIsReplaced) {
  const std::string backup = At("backup.tar"), state = At("with-log");
  ASSERT_EQ(Run({"--backup", backup, "--state", sample.folder()}), 0);
  ASSERT_EQ(Run({"--restore", backup, "--state", state}), 0);
  const std::string database = JoinPath(state, "longrun.db"), log = database + "-wal";
  std::string bytes, log_bytes;
  {
    const auto connection = Connection::Open(database, Connection::Mode::kWrite);
    ASSERT_TRUE(connection.ok());
    ASSERT_TRUE((*connection)->FindRowSums().ok() && (*connection)->row_sums().Keep().ok());
    ASSERT_TRUE(PutMeta(**connection, "restore_count", "41").ok());
    bytes = ReadFile(database).value();
    log_bytes = ReadFile(log).value();
  }
  ASSERT_FALSE(log_bytes.empty());
  ASSERT_TRUE(WriteFileAtomic(database, bytes).ok() && WriteFileAtomic(log, log_bytes).ok());

  const std::vector<std::string> arguments = {"--restore", backup, "--state", state, "--replace"};
  EXPECT_EQ(Run(arguments, "restore_after_move:exit"), kFailpointExitCode);
  EXPECT_FALSE(PathExists(database));
  EXPECT_TRUE(PathExists(log));

  EXPECT_EQ(Run(arguments), 0) << ReadFile(At("err")).value();
  const auto checked = CheckState(state);
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked->facts.at("restore_count"), 42);
  std::vector<std::string> replaced = ListFolder(state).value();
  std::erase_if(replaced, [](const std::string& name) { return !name.starts_with("replaced-"); });
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(ReadFile(JoinPath(JoinPath(state, replaced[0]), "longrun.db-wal")).value(), log_bytes);
}

}  // namespace
}  // namespace longrun::coordinator
