// The shim: the end of a trainer is known from exit.json, whatever the end.
#include "worker/agent/exec.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "base/process.h"
#include "sweeps/event.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"
#include "tests/worker/agent/tasks.h"
#include "worker/agent/attempt.h"
#include "worker/agent/attempt_folder.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kDeadlineMs = DeadlineMs(60'000);

class ExecTest : public testing::Test {
 protected:
  // Starts the shim on a training that behaves so.
  int StartShim(const Json& behaviour) {
    TaskFile task = TestTrainTask(1, 1, {});
    folder_.path = JoinPath(root_, task.attempt);
    task.attempt_dir = folder_.path;
    task.cache_dir = JoinPath(temp_.path(), "cache");
    LR_CHECK(MakeFolders(folder_.path).ok());
    WriteBehaviour(task.cache_dir, {{"default", behaviour}});
    LR_CHECK(WriteFileAtomic(folder_.TaskFilePath(), CanonicalJson(task.ToJson())).ok());
    return SpawnShim();
  }

  int SpawnShim() {
    const Result<int> pid =
        Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun-worker"), "exec", folder_.path,
                        JoinPath(LONGRUN_BIN_DIR, "longrun-fake-trainer")},
               .cwd = folder_.path,
               .stdout_path = folder_.Log(),
               .stderr_path = folder_.Log(),
               .new_session = true});
    LR_CHECK(pid.ok());
    return *pid;
  }

  ExitInfo End(int pid) {
    const Result<std::optional<ExitInfo>> exit = WaitFor(pid, kDeadlineMs);
    LR_CHECK(exit.ok() && exit->has_value());
    return **exit;
  }

  // Until the trainer has written that many records.
  void AwaitRecords(std::size_t n_records) {
    JournalReader reader(folder_.Journal());
    std::size_t n = 0;
    LR_CHECK(WaitUntil(kDeadlineMs, [&] {
      n += reader.Next(1000, 1 << 20)->size();
      return n >= n_records;
    }));
  }

  TempFolder temp_;
  std::string root_ = temp_.path();  // of the attempts' folders
  AttemptFolder folder_;
};

TEST_F(ExecTest, AnEndAsItShouldBeIsExitCodeZero) {
  EXPECT_EQ(End(StartShim({{"steps", 3}})).code, 0);
  const Result<ExitRecord> exit = ReadExit(folder_);
  ASSERT_TRUE(exit.ok()) << exit.status().message();
  EXPECT_EQ(exit->code, 0);
  EXPECT_EQ(exit->signal, 0);
  EXPECT_FALSE(exit->oom_kill);
  EXPECT_FALSE(exit->stop_requested);
  EXPECT_GT(exit->rss_bytes_max, 0);
  EXPECT_FALSE(FileLock::IsHeld(folder_.ShimLock()));
}

TEST_F(ExecTest, TheTrainersExitCodeIsKept) {
  End(StartShim({{"fault", "nan"}, {"fault_step", 2}}));
  EXPECT_EQ(ReadExit(folder_)->code, 80);
}

TEST_F(ExecTest, TheSignalThatEndedTheTrainerIsKept) {
  End(StartShim({{"fault", "kill"}, {"fault_step", 2}}));
  const Result<ExitRecord> exit = ReadExit(folder_);
  EXPECT_EQ(exit->code, -1);
  EXPECT_EQ(exit->signal, SIGKILL);
  EXPECT_FALSE(exit->oom_kill);
}

TEST_F(ExecTest, OutOfMemoryKillsAreCountedInTheGroupElseOnTheMachine) {
  const std::string root = JoinPath(temp_.path(), "root");
  const std::string group = JoinPath(root, "sys/fs/cgroup/longrun");
  ASSERT_TRUE(MakeFolders(JoinPath(root, "proc/self")).ok() && MakeFolders(group).ok());
  const auto write = [](const std::string& path, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(path, text).ok());
  };
  EXPECT_EQ(CountOomKills(root), std::nullopt);
  write(JoinPath(root, "proc/vmstat"), "nr_free_pages 12\noom_kill 3\n");
  EXPECT_EQ(CountOomKills(root), 3);
  // Version 1 beside it, and the root group of version 2, which has no such file.
  write(JoinPath(root, "proc/self/cgroup"), "4:memory:/longrun\n0::/\n");
  EXPECT_EQ(CountOomKills(root), 3);
  write(JoinPath(root, "proc/self/cgroup"), "0::/longrun\n");
  write(JoinPath(group, "memory.events"), "low 0\noom 2\noom_kill 1\noom_group_kill 0\n");
  EXPECT_EQ(CountOomKills(root), 1);
}

TEST_F(ExecTest, AnOutOfMemoryKillOfAnotherTrainerLongAgoDoesNotCount) {
  RecentOomKills kills(3);
  EXPECT_FALSE(kills.Any(3));
  EXPECT_TRUE(kills.Any(4));
  kills.Note(4);
  EXPECT_TRUE(kills.Any(4));
  kills.Note(4);
  EXPECT_FALSE(kills.Any(4));
  EXPECT_TRUE(kills.Any(5));
  EXPECT_FALSE(RecentOomKills(std::nullopt).Any(1));
}

TEST_F(ExecTest, ATerminationIsPassedOnAndTheTrainerYields) {
  const int pid = StartShim({{"steps", 1'000'000}});
  AwaitRecords(5);
  kill(pid, SIGTERM);
  EXPECT_EQ(End(pid).code, 0);
  EXPECT_EQ(ReadExit(folder_)->code, 75);
  EXPECT_TRUE(ReadExit(folder_)->stop_requested);
}

// A full disk: tests/cli/limits_test.cc.
TEST_F(ExecTest, TheRoomForItsEndIsReservedBeforeTheTrainerStarts) {
  const int pid = StartShim({{"steps", 1'000'000}});
  AwaitRecords(5);
  struct stat about = {};
  ASSERT_EQ(stat(folder_.ExitRoom().c_str(), &about), 0);
  EXPECT_GE(about.st_blocks * 512, 4096);
  EXPECT_EQ(ReadExit(folder_).status().code(), Code::kNotFound);
  kill(pid, SIGTERM);
  End(pid);
  EXPECT_EQ(ReadExit(folder_)->code, 75);
  EXPECT_FALSE(PathExists(folder_.ExitRoom()));
}

TEST_F(ExecTest, AKilledShimTakesItsTrainerAlong) {
  const int pid = StartShim({{"steps", 1'000'000}});
  // The trainer may have written records before the shim has noted who it is.
  const std::int64_t deadline = BootMs() + kDeadlineMs;
  Result<ShimRecord> shim = ReadShim(folder_);
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    shim = ReadShim(folder_);
    return shim.ok() && shim->trainer.has_value();
  }));
  AwaitRecords(5);
  kill(pid, SIGKILL);
  End(pid);
  EXPECT_TRUE(WaitUntil(deadline - BootMs(), [&] { return !IsRunning(*shim->trainer); }));
  EXPECT_FALSE(PathExists(folder_.Exit()));
}

// The kernel names a process's folder by its real path, and a moved one by the new path.
TEST_F(ExecTest, AnAdoptedTrainerWhoseFolderIsGoneIsKilled) {
  const std::string real = JoinPath(temp_.path(), "real"), link = JoinPath(temp_.path(), "link");
  ASSERT_TRUE(MakeFolders(real).ok());
  ASSERT_EQ(symlink(real.c_str(), link.c_str()), 0);
  for (const bool is_moved : {false, true}) {
    root_ = link;
    const int pid = StartShim({{"steps", 1'000'000}});
    AwaitRecords(5);
    ASSERT_TRUE(WriteAcked(folder_, {}).ok());
    const auto attempt = LocalAttempt::Adopt(folder_);
    ASSERT_TRUE(attempt.ok()) << attempt.status().message();
    const ShimRecord shim = ReadShim(folder_).value();
    ASSERT_TRUE((*attempt)->running() && shim.trainer);

    const std::int64_t deadline = BootMs() + kDeadlineMs;
    if (is_moved) {
      ASSERT_EQ(std::rename(folder_.path.c_str(), JoinPath(real, "moved").c_str()), 0);
    }
    // Its trainer may write a file between two of ours.
    ASSERT_TRUE(WaitUntil(deadline - BootMs(), [&] {
      static_cast<void>(RemoveAll(folder_.path).ok());
      return !PathExists(folder_.path);
    }));
    ASSERT_TRUE(WaitUntil(deadline - BootMs(), [&] {
      (*attempt)->Poll(BootMs());
      return !(*attempt)->running();
    }));
    EXPECT_FALSE(IsRunning(*shim.trainer));
    End(pid);
  }
}

// Its slot is not known, so it must not go on.
TEST_F(ExecTest, AnAttemptWhoseRecordIsDamagedIsStoppedAndItsJournalIsReadWhole) {
  const int pid = StartShim({{"steps", 1'000'000}});
  AwaitRecords(5);
  ASSERT_TRUE(
      WriteFileAtomic(folder_.Acked(),
                      R"({"device_index":0,"durable_seq":3,"endee":false,"ended_wall_ms":0})")
          .ok());
  const auto attempt = LocalAttempt::Adopt(folder_);
  ASSERT_TRUE(attempt.ok()) << attempt.status().message();
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    (*attempt)->Poll(BootMs());
    return !(*attempt)->running();
  }));
  End(pid);
  EXPECT_EQ((*attempt)->Exit()->code, 75);
  EXPECT_EQ((*attempt)->acked().device_index, kUnknownSlot);
  ASSERT_TRUE((*attempt)->Fill(BootMs()).ok());
  EXPECT_EQ((*attempt)->pending().front().record.seq, 1);
}

TEST_F(ExecTest, AnAttemptThatCannotBeAdoptedIsNotTakenForOneThatNeverBegan) {
  const int pid = StartShim({{"steps", 1'000'000}});
  AwaitRecords(5);
  ASSERT_TRUE(WriteAcked(folder_, {}).ok());
  std::string task = ReadFile(folder_.TaskFilePath()).value();
  task.replace(task.find("\"run_key\""), 9, "\"run_kez\"");
  ASSERT_TRUE(WriteFileAtomic(folder_.TaskFilePath(), task).ok());
  EXPECT_EQ(LocalAttempt::Adopt(folder_).status().code(), Code::kDataLoss);

  Result<ShimRecord> shim = ReadShim(folder_);
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    shim = ReadShim(folder_);
    return shim.ok() && shim->trainer.has_value();
  }));
  // Of a copy of the folder, nothing is killed.
  const AttemptFolder copy = {.path = JoinPath(temp_.path(), "copy")};
  ASSERT_TRUE(MakeFolders(copy.path).ok());
  ASSERT_TRUE(WriteShim(copy, *shim).ok());
  EXPECT_FALSE(LocalAttempt::KillUnadopted(copy));
  EXPECT_TRUE(IsRunning(shim->shim));
  EXPECT_TRUE(LocalAttempt::KillUnadopted(folder_));
  EXPECT_EQ(End(pid).signal, SIGKILL);
  EXPECT_TRUE(WaitUntil(kDeadlineMs, [&] { return !IsRunning(*shim->trainer); }));
}

TEST_F(ExecTest, AnAttemptRunsOnlyOnce) {
  End(StartShim({{"steps", 3}}));
  EXPECT_EQ(End(SpawnShim()).code, kShimStartedNothing);
}

TEST_F(ExecTest, AnAbandonedAttemptIsNotStarted) {
  End(StartShim({{"steps", 3}}));
  for (const std::string& path : {folder_.Exit(), folder_.Journal()}) {
    ASSERT_TRUE(RemoveAll(path).ok());
  }
  ASSERT_TRUE(WriteFileAtomic(folder_.Abandoned(), "").ok());
  EXPECT_EQ(End(SpawnShim()).code, kShimStartedNothing);
  EXPECT_FALSE(PathExists(folder_.Journal()));
}

TEST_F(ExecTest, ATrainerThatCannotBeStartedIsAnExitToo) {
  TaskFile task = TestTrainTask(1, 1, {});
  folder_.path = JoinPath(temp_.path(), task.attempt);
  ASSERT_TRUE(MakeFolders(folder_.path).ok());
  const Result<int> pid = Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun-worker"), "exec",
                                          folder_.path, "/nowhere/trainer"},
                                 .stderr_path = folder_.Log()});
  ASSERT_TRUE(pid.ok());
  EXPECT_EQ(End(*pid).code, 1);
  EXPECT_EQ(ReadExit(folder_)->code, 126);
}

}  // namespace
}  // namespace longrun::agent
