// The real longrun-worker with the fake trainer, against a coordinator in memory.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/process.h"
#include "base/version.h"
#include "model/data/dataset.h"
#include "model/data/dataset_files.h"
#include "sweeps/event.h"
#include "sweeps/protocol.h"
#include "sweeps/worker_id.h"
#include "tests/deadline.h"
#include "tests/fake_trainer/formula.h"
#include "tests/resident.h"
#include "tests/wait_until.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "tests/worker/agent/tasks.h"
#include "worker/agent/attempt_folder.h"
#include "worker/agent/devices.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kDeadlineMs = DeadlineMs(60'000);
constexpr int kSlots = 2;
const Json kEndless = {{"steps", 1'000'000}};

std::int64_t ResidentMib(int pid) {
  const std::string text = ReadFile(Str("/proc/", pid, "/status")).value();
  return std::stoll(text.substr(text.find("VmRSS:") + 6)) / 1024;
}

class AgentTest : public testing::Test {
 protected:
  AgentTest()
      : state_(JoinPath(temp_.path(), "worker")),
        cache_(JoinPath(state_, "cache")),
        dataset_(WriteTestDataset(JoinPath(temp_.path(), "dataset"))),
        address_("unix:" + JoinPath(temp_.path(), "socket")),
        coordinator_(JoinPath(temp_.path(), "socket")) {
    coordinator_.Start();
  }
  ~AgentTest() override {
    if (worker_pid_ > 0) KillWorker();
    EndTrainers();
  }

  void StartWorker(std::vector<std::string> more = {}) {
    std::vector<std::string> argv = through_;
    argv.insert(argv.end(), {JoinPath(LONGRUN_BIN_DIR, "longrun-worker"), "--state", state_,
                             "--coordinator", address_, "--cpu-slots", Str(kSlots), "--trainer",
                             trainer_, "--disk-free-bytes-min", disk_free_bytes_min_});
    argv.insert(argv.end(), more.begin(), more.end());
    const std::string log = JoinPath(temp_.path(), "worker.log");
    const Result<int> pid = Spawn(
        {.argv = argv, .env = env_, .cwd = temp_.path(), .stdout_path = log, .stderr_path = log});
    ASSERT_TRUE(pid.ok()) << pid.status().message();
    worker_pid_ = *pid;
  }
  void KillWorker() {
    kill(worker_pid_, SIGKILL);
    EndOfWorker();
  }
  ExitInfo EndOfWorker() {
    const Result<std::optional<ExitInfo>> exit = WaitFor(worker_pid_, kDeadlineMs);
    LR_CHECK(exit.ok() && exit->has_value());
    worker_pid_ = -1;
    return **exit;
  }
  std::string WorkerLog() { return *ReadFile(JoinPath(temp_.path(), "worker.log")); }

  AttemptFolder FolderOf(const TaskFile& task) {
    return {.path = JoinPath(JoinPath(state_, "attempts"), task.attempt)};
  }
  // No shim of ours outlives its test.
  void EndTrainers() {
    const std::string attempts = JoinPath(state_, "attempts");
    const Result<std::vector<std::string>> names = ListFolder(attempts);
    if (!names) return;
    for (const std::string& name : *names) {
      const Result<ShimRecord> shim = ReadShim({.path = JoinPath(attempts, name)});
      if (shim) SignalProcess(shim->shim, SIGKILL, /*group=*/false);
    }
  }

  static Execution LocalExecution() {
    const HostCpu cpu = DetectHostCpu();
    Execution execution;
    execution.linear = cpu.linear;
    execution.simd = cpu.simd;
    return execution;
  }
  TaskFile Train(std::int64_t seed, std::uint64_t n = 1) {
    return TestTrainTask(seed, n, LocalExecution());
  }

  // What every Start of the task says.
  static v1::Start StartOf(const TaskFile& task, int slot,
                           const std::vector<v1::CheckpointSource>& from) {
    v1::Start start;
    start.set_attempt(task.attempt);
    start.set_epoch(task.epoch);
    start.set_device_index(slot);
    start.set_task_json(CanonicalJson(task.ToJson()));
    start.set_dataset_digest(task.run.dataset_digest);
    for (const v1::CheckpointSource& source : from) *start.add_checkpoints() = source;
    return start;
  }
  void SendStart(v1::Start start) {
    ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions > 0; }));
    v1::CoordinatorMessage message;
    *message.mutable_start() = std::move(start);
    ASSERT_TRUE(coordinator_.Send(message));
  }
  void Offer(const TaskFile& task, int slot = 0,
             const std::vector<v1::CheckpointSource>& from = {}) {
    v1::Start start = StartOf(task, slot, from);
    start.set_dataset_path(dataset_);
    SendStart(std::move(start));
  }
  void SendStop(const TaskFile& task, std::int64_t grace_ms = 20'000) {
    v1::CoordinatorMessage message;
    message.mutable_stop()->set_attempt(task.attempt);
    message.mutable_stop()->set_epoch(task.epoch);
    message.mutable_stop()->set_grace_ms(grace_ms);
    ASSERT_TRUE(coordinator_.Send(message));
  }

  // The training of seed 1 with this behaviour, on a worker started for it,
  // once so many records came.
  TaskFile Begin(const Json& behaviour, std::size_t n_lines = 0) {
    WriteBehaviour(cache_, {{"default", behaviour}});
    const TaskFile task = Train(1);
    StartWorker();
    Offer(task);
    EXPECT_TRUE(AwaitLines(task, n_lines));
    return task;
  }

  FakeCoordinator::Stored& StoredOf(const TaskFile& task) {
    return coordinator_.attempts[task.attempt];
  }
  bool AwaitLines(const TaskFile& task, std::size_t n_lines) {
    return coordinator_.Await([&] { return StoredOf(task).lines.size() >= n_lines; });
  }
  bool AwaitEnd(const TaskFile& task) {
    return coordinator_.Await([&] { return StoredOf(task).ended.has_value(); });
  }
  bool AwaitRejection(const TaskFile& task) {
    return coordinator_.Await([&] { return StoredOf(task).rejected_class.has_value(); });
  }
  void AwaitFile(const std::string& path, bool there) {
    ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] { return PathExists(path) == there; })) << path;
  }

  std::vector<JournalRecord> RecordsOf(const TaskFile& task, RecordKind kind) {
    std::vector<JournalRecord> records;
    for (const std::string& line : StoredOf(task).lines) {
      JournalRecord record = *ParseJournalLine(line);
      if (record.kind == kind) records.push_back(std::move(record));
    }
    return records;
  }
  // The stored lines are the journal's, byte for byte, and end in `final`.
  void ExpectWholeJournal(const TaskFile& task) {
    std::string stored;
    for (const std::string& line : StoredOf(task).lines) stored += line + "\n";
    EXPECT_EQ(stored, *ReadFile(FolderOf(task).Journal()));
    EXPECT_EQ(RecordsOf(task, RecordKind::kFinal).size(), 1u);
  }
  // A training of that many steps gives exactly these losses.
  void ExpectLosses(const TaskFile& task, std::int64_t steps) {
    const std::vector<JournalRecord> series = RecordsOf(task, RecordKind::kSeries);
    ASSERT_EQ(series.size(), static_cast<std::size_t>(steps));
    for (std::int64_t step = 1; step <= steps; ++step) {
      const JournalRecord& record = series[static_cast<std::size_t>(step) - 1];
      EXPECT_EQ(record.step, step);
      EXPECT_EQ(std::get<SeriesRecord>(record.body).ValueOf("loss"),
                FakeLoss(FakeWeightsAfter(task.run.seed, "cable", step), step));
    }
  }

  // The wire form of a checkpoint record.
  static v1::CheckpointSource SourceOf(const JournalRecord& record) {
    const auto& checkpoint = std::get<CheckpointRecord>(record.body);
    v1::CheckpointSource source;
    source.set_sha256(checkpoint.sha256);
    for (const ArtifactFile& file : checkpoint.files.value()) {
      v1::ArtifactFile& to = *source.add_files();
      to.set_name(file.name);
      to.set_sha256(file.sha256);
      to.set_bytes(file.n_bytes);
    }
    return source;
  }

  TempFolder temp_;
  std::string state_, cache_, dataset_, address_;
  std::string trainer_ = JoinPath(LONGRUN_BIN_DIR, "longrun-fake-trainer");
  std::string disk_free_bytes_min_ = "0";
  std::vector<std::string> env_;  // of the worker
  FakeCoordinator coordinator_;
  int worker_pid_ = -1;
  std::vector<std::string> through_ = {};  // a program that runs the worker in its place
};

TEST_F(AgentTest, ATrainingIsForwardedFromStartToEnd) {
  WriteBehaviour(cache_, {{"default", {{"steps", 12}}}});
  TaskFile task = Train(1);
  task.checkpoint_keep = 3;  // all: an older one may be gone before a busy machine sends it
  StartWorker();
  Offer(task);
  ASSERT_TRUE(AwaitEnd(task));

  const FakeCoordinator::Stored& stored = StoredOf(task);
  EXPECT_TRUE(stored.accepted);
  ExpectWholeJournal(task);
  ExpectLosses(task, 12);
  EXPECT_TRUE(stored.ended->exit_known());
  EXPECT_EQ(stored.ended->exit_code(), 0);
  EXPECT_EQ(stored.ended->last_seq(), static_cast<std::int64_t>(stored.lines.size()));
  EXPECT_NE(stored.ended->log_tail().find("fake trainer"), std::string::npos);
  EXPECT_EQ(stored.n_repeated, 0);
  EXPECT_EQ(coordinator_.n_gaps, 0);
  // Three checkpoints (5, 10, 12) and what they hold are in the store.
  const std::vector<JournalRecord> checkpoints = RecordsOf(task, RecordKind::kCheckpoint);
  ASSERT_EQ(checkpoints.size(), 3u);
  for (const JournalRecord& checkpoint : checkpoints) {
    const v1::CheckpointSource source = SourceOf(checkpoint);
    for (const v1::ArtifactFile& file : source.files()) {
      EXPECT_TRUE(coordinator_.artifacts.contains(file.sha256())) << file.name();
    }
  }
  // Once that is acknowledged, its own copy goes, and the journal stays.
  AwaitFile(FolderOf(task).Checkpoints(), false);
  EXPECT_TRUE(PathExists(FolderOf(task).Journal()));
}

// A coordinator of the release before ranges of versions: it answers with version 1, and does not
// know the newer fields.
TEST_F(AgentTest, AWorkerServesACoordinatorOfProtocol1) {
  WriteBehaviour(cache_, {{"default", {{"steps", 12}}}});
  coordinator_.protocol_version = 1;
  const TaskFile task = Train(1);
  StartWorker();
  Offer(task);
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
  EXPECT_EQ(coordinator_.FirstHello().protocol_version(), 1);
}

TEST_F(AgentTest, TheFirstMessageSaysWhatTheMachineHas) {
  const std::string own = WriteTestDataset(JoinPath(JoinPath(state_, "datasets"), "own"));
  StartWorker({"--id", "box-1", "--label", "rack=b7", "--label", "note=x=y"});
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_heartbeats > 0; }));
  const v1::Hello hello = coordinator_.FirstHello();
  EXPECT_EQ(hello.worker_id(), "box-1");
  EXPECT_EQ(hello.protocol_version(), kProtocolOldest);
  EXPECT_EQ(hello.protocol_newest(), kProtocolNewest);
  EXPECT_EQ(std::vector<std::string>(hello.capabilities().begin(), hello.capabilities().end()),
            OwnCapabilities());
  EXPECT_EQ(hello.labels_size(), 2);
  EXPECT_EQ(hello.labels().at("rack"), "b7");
  EXPECT_EQ(hello.labels().at("note"), "x=y");
  EXPECT_GT(hello.disk_free_bytes(), 0);
  EXPECT_GE(hello.disk_bytes(), hello.disk_free_bytes());
  ASSERT_EQ(hello.devices_size(), kSlots);
  EXPECT_EQ(hello.devices(1).index(), 1);
  EXPECT_EQ(hello.devices(1).linear(), LocalExecution().linear);
  ASSERT_EQ(hello.dataset_digests_size(), 1);
  EXPECT_EQ(hello.dataset_digests(0), kTestDatasetDigest);
  EXPECT_TRUE(ReadFile(JoinPath(state_, "worker_id"))->starts_with("box-1 crc32c="));
  EXPECT_TRUE(ReadFile(JoinPath(state_, "worker.metrics"))->starts_with("127.0.0.1:"));
}

// As on a disk that is full.
TEST_F(AgentTest, AWorkerStartsThoughItCannotWriteTheAddressOfItsMetrics) {
  ASSERT_TRUE(MakeFolders(JoinPath(state_, "worker.metrics")).ok());
  StartWorker();
  EXPECT_TRUE(coordinator_.Await([&] { return coordinator_.n_heartbeats > 0; }));
}

TEST_F(AgentTest, AFolderKeepsItsIdOverRestartsUnlessTheIdIsDamagedOrMissing) {
  std::size_t n_hellos = 0;
  const auto next_id = [&] {
    StartWorker();
    EXPECT_TRUE(coordinator_.Await([&] { return coordinator_.hellos.size() > n_hellos; }));
    KillWorker();
    n_hellos = coordinator_.hellos.size();
    return coordinator_.LastHello().folder_id();
  };
  const std::string id = next_id();
  EXPECT_TRUE(IsUlid(id));
  EXPECT_EQ(next_id(), id);

  ASSERT_TRUE(WriteFileAtomic(JoinPath(state_, "folder_id"), "01").ok());
  EXPECT_EQ(next_id(), "");
  const std::string later = next_id();
  EXPECT_TRUE(IsUlid(later));
  EXPECT_NE(later, id);

  ASSERT_TRUE(RemoveAll(JoinPath(state_, "folder_id")).ok());
  EXPECT_EQ(next_id(), "");
  EXPECT_TRUE(IsUlid(next_id()));
}

// Invariant I-6.
TEST_F(AgentTest, AKilledWorkerLosesNothingAndSaysNothingTwice) {
  const TaskFile task = Begin({{"steps", 200}, {"checkpoint_every", 20}});
  for (const std::size_t n_lines : {20U, 80U, 140U}) {
    ASSERT_TRUE(AwaitLines(task, n_lines));
    KillWorker();
    StartWorker();
  }
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
  ExpectLosses(task, 200);
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 0);
  // One attempt, one trainer: the journal opens once.
  EXPECT_EQ(RecordsOf(task, RecordKind::kAttempt).size(), 1u);
  EXPECT_EQ(coordinator_.n_gaps, 0);
}

TEST_F(AgentTest, AnEndThatNoWorkerSawIsKnownToTheNextOne) {
  const TaskFile task = Begin({{"steps", 100}, {"fault", "nan"}, {"fault_step", 90}}, 10);
  KillWorker();
  AwaitFile(FolderOf(task).Exit(), true);
  StartWorker();
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 80);
  EXPECT_EQ(RecordsOf(task, RecordKind::kFailed).size(), 1u);
}

TEST_F(AgentTest, ATrainerThatLeftNoTraceHasVanished) {
  const TaskFile task = Begin(kEndless, 10);
  KillWorker();
  EndTrainers();
  StartWorker();
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_FALSE(StoredOf(task).ended->exit_known());
}

TEST_F(AgentTest, ATrainerWhoseFolderWasRemovedEndsAndHasVanished) {
  const TaskFile task = Begin(kEndless, 10);
  const ShimRecord shim = ReadShim(FolderOf(task)).value();
  ASSERT_TRUE(shim.trainer && IsRunning(*shim.trainer));

  // Moved first: if the worker looked in the middle of the removal, it could find that only the
  // journal is gone, which is another failure.
  const TempFolder elsewhere;
  const std::string moved = JoinPath(elsewhere.path(), "attempt");
  ASSERT_EQ(rename(FolderOf(task).path.c_str(), moved.c_str()), 0);
  // Its trainer may write a file between two of ours.
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    static_cast<void>(RemoveAll(moved).ok());
    return !PathExists(moved);
  }));

  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_FALSE(StoredOf(task).ended->exit_known());
  EXPECT_FALSE(IsRunning(*shim.trainer));
  const std::string log = WorkerLog();
  EXPECT_NE(log.find("attempt_folder_gone"), std::string::npos) << log;
  EXPECT_EQ(log.find("attempt_folder_gone"), log.rfind("attempt_folder_gone")) << log;
  EXPECT_EQ(log.find("journal_not_read"), std::string::npos) << log;
}

TEST_F(AgentTest, AnOutageOfTheCoordinatorCostsNoStep) {
  const TaskFile task = Begin({{"steps", 150}, {"checkpoint_every", 25}}, 10);
  coordinator_.Stop();
  AwaitFile(FolderOf(task).Exit(), true);  // it trains to its end alone
  coordinator_.Start();
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
  ExpectLosses(task, 150);
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 0);
}

TEST_F(AgentTest, ARefusedBatchIsSentAgainFromWhereItIsExpected) {
  WriteBehaviour(cache_, {{"default", {{"steps", 50}}}});
  const TaskFile task = Train(1);
  coordinator_.nack_once_at[task.attempt] = 15;
  StartWorker();
  Offer(task);
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
  EXPECT_TRUE(coordinator_.nack_once_at.empty());
}

TEST_F(AgentTest, ARestoredBackupGetsTheJournalAgain) {
  const TaskFile task = Begin({{"steps", 100}, {"gate", "gate"}}, 30);
  coordinator_.Stop();
  coordinator_.forget_after[task.attempt] = 7;
  coordinator_.Start();
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
}

// A worker that is the job of a batch system.
TEST_F(AgentTest, ATemporaryWorkerStopsItsTrainersInTimeAndLeaves) {
  WriteBehaviour(cache_, {{"default", {{"steps", 1'000'000}, {"checkpoint_every", 1'000'000}}}});
  const TaskFile task = Train(1);
  // In 12 s; its trainers stop 2 s before.
  const std::int64_t end_s = WallMs() / 1000 + 12;
  StartWorker({"--allocation-end", Str(end_s), "--job", "slurm 7", "--grace-ms", "1000"});
  Offer(task);
  ASSERT_TRUE(AwaitEnd(task));

  const v1::Hello hello = coordinator_.FirstHello();
  ASSERT_TRUE(hello.has_allocation());
  EXPECT_EQ(hello.allocation().job(), "slurm 7");
  EXPECT_LE(hello.allocation().work_left_ms(), 10'000);
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
  EXPECT_TRUE(StoredOf(task).ended->stop_requested());
  EXPECT_EQ(RecordsOf(task, RecordKind::kCheckpoint).size(), 1u);  // that of the stop
  EXPECT_EQ(EndOfWorker().code, 0);
  EXPECT_TRUE(coordinator_.Await([&] { return coordinator_.n_drains == 1; }));
  EXPECT_NE(WorkerLog().find("its allocation ends soon"), std::string::npos) << WorkerLog();
}

TEST_F(AgentTest, AnIdleWorkerLeaves) {
  const std::int64_t before_ms = BootMs();
  StartWorker({"--idle-exit", "1s"});
  EXPECT_EQ(EndOfWorker().code, 0);
  EXPECT_GE(BootMs() - before_ms, 1000);
  EXPECT_TRUE(coordinator_.FirstHello().has_allocation());
  EXPECT_FALSE(coordinator_.FirstHello().allocation().has_work_left_ms());
  EXPECT_EQ(coordinator_.n_drains, 1);
}

TEST_F(AgentTest, AWorkerIsNotIdleBeforeItsTaskIsReported) {
  WriteBehaviour(cache_, {{"default", kEndless}});
  const TaskFile task = Train(1);
  StartWorker({"--idle-exit", "500ms"});
  Offer(task);
  ASSERT_TRUE(AwaitLines(task, 300));  // about 2 ms each: longer than it may be idle
  SendStop(task);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(EndOfWorker().code, 0);
  ExpectLosses(task, static_cast<std::int64_t>(RecordsOf(task, RecordKind::kSeries).size()));
}

// Nobody would find what they write: neither it nor its trainers go on,
// nor do they make a folder anew.
TEST_F(AgentTest, ADeletedFolderEndsTheWorkerAndItsTrainersAtOnce) {
  const TaskFile task = Begin(kEndless, 10);
  const ShimRecord shim = ReadShim(FolderOf(task)).value();
  ASSERT_TRUE(shim.trainer && IsRunning(*shim.trainer));

  const std::int64_t deadline = BootMs() + kDeadlineMs;
  // Its trainer may write a file between two of ours.
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    static_cast<void>(RemoveAll(state_).ok());
    return !PathExists(state_);
  }));

  EXPECT_EQ(EndOfWorker().code, 70);
  EXPECT_NE(WorkerLog().find(Str("the folder ", state_, " of worker ")), std::string::npos)
      << WorkerLog();
  EXPECT_NE(WorkerLog().find(" was deleted while the worker was using it"), std::string::npos);
  EXPECT_TRUE(WaitUntil(deadline - BootMs(),
                        [&] { return !IsRunning(shim.shim) && !IsRunning(*shim.trainer); }));
}

TEST_F(AgentTest, AWorkerOnACopyOfAFolderLeavesTheTrainersOfTheOriginalAlone) {
  const TaskFile task = Begin(kEndless, 10);
  const ShimRecord shim = ReadShim(FolderOf(task)).value();
  ASSERT_TRUE(shim.trainer && IsRunning(*shim.trainer));
  const std::string copy = JoinPath(temp_.path(), "copy");
  const AttemptFolder attempt = {.path = JoinPath(JoinPath(copy, "attempts"), task.attempt)};
  ASSERT_TRUE(MakeFolders(attempt.path).ok());
  for (const char* const name : {"task.json", "shim.json", "acked"}) {
    const std::string bytes = ReadFile(JoinPath(FolderOf(task).path, name)).value();
    ASSERT_TRUE(WriteFileAtomic(JoinPath(attempt.path, name), bytes).ok());
  }

  // Nobody listens there: it adopts what it finds, and is told to stop.
  const std::string log = JoinPath(temp_.path(), "copy.log");
  const int pid =
      Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun-worker"), "--state", copy, "--coordinator",
                      "unix:" + JoinPath(temp_.path(), "nobody"), "--cpu-slots", "1", "--trainer",
                      JoinPath(LONGRUN_BIN_DIR, "longrun-fake-trainer")},
             .stdout_path = log,
             .stderr_path = log})
          .value();
  AwaitFile(JoinPath(copy, "worker.metrics"), true);
  kill(pid, SIGTERM);
  const auto ended = WaitFor(pid, kDeadlineMs);

  ASSERT_TRUE(ended.ok() && ended->has_value());
  EXPECT_EQ((*ended)->code, 0) << ReadFile(log).value();
  EXPECT_NE(ReadFile(log)->find("attempt_adopted"), std::string::npos);
  EXPECT_TRUE(IsRunning(*shim.trainer));
  EXPECT_TRUE(IsRunning(shim.shim));
}

TEST_F(AgentTest, AFrameThatIsTooLargeLeavesNoMemoryBehind) {
  StartWorker();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_heartbeats > 0; }));
  const std::int64_t before = ResidentMib(worker_pid_);
  for (const std::size_t n_mib : {64u, 200u}) {
    const std::int64_t n_sessions = coordinator_.n_sessions;
    v1::CoordinatorMessage message;
    message.mutable_stop()->set_reason(std::string(n_mib << 20, 'x'));
    ASSERT_TRUE(coordinator_.Send(message));
    // It is refused with the session, and the worker comes back.
    ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions > n_sessions; }));
  }

#ifndef LONGRUN_RESIDENT_IS_HELD_BACK
  constexpr std::int64_t kLeftMibMax = 40;  // less than the smallest of the frames
  ASSERT_TRUE(
      WaitUntil(kDeadlineMs, [&] { return ResidentMib(worker_pid_) - before < kLeftMibMax; }))
      << before << " MiB before, " << ResidentMib(worker_pid_);
#endif
  std::printf("resident: %lld MiB before, %lld MiB after\n", static_cast<long long>(before),
              static_cast<long long>(ResidentMib(worker_pid_)));
}

TEST_F(AgentTest, ADamagedNameIsToldAtTheStart) {
  ASSERT_TRUE(MakeFolders(state_).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(state_, "worker_id"), "box-1 crc32c=12345678\n").ok());

  StartWorker();

  EXPECT_EQ(EndOfWorker().code, 65);
  EXPECT_NE(WorkerLog().find("worker_id is damaged: it holds"), std::string::npos) << WorkerLog();
  EXPECT_EQ(*ReadFile(JoinPath(state_, "worker_id")), "box-1 crc32c=12345678\n");
}

TEST_F(AgentTest, AWorkerThatHasNeverJoinedMayGetAnotherId) {
  address_ = "127.0.0.1:1";
  const auto start = [&](std::vector<std::string> more) {
    StartWorker(std::move(more));
    EndOfWorker();
    return WorkerLog();
  };
  // Without a join token, the first start fails.
  EXPECT_NE(start({}).find("give --join FILE"), std::string::npos) << WorkerLog();
  EXPECT_NE(*ReadWorkerId(JoinPath(state_, "worker_id")), "gpu-1");

  EXPECT_NE(start({"--id", "gpu-1"}).find("give --join FILE"), std::string::npos) << WorkerLog();
  EXPECT_EQ(*ReadWorkerId(JoinPath(state_, "worker_id")), "gpu-1");

  // A worker that has joined, had work, or run without TLS is known by its id.
  ASSERT_TRUE(MakeFolders(JoinPath(state_, "membership")).ok());
  for (const std::string_view of :
       {"membership/certificate.pem", "attempts/an-attempt", "worker.metrics"}) {
    const std::string name = JoinPath(state_, of);
    ASSERT_TRUE(WriteFileAtomic(name, "").ok());
    EXPECT_NE(start({"--id", "gpu-2"}).find("belongs to worker gpu-1, not gpu-2"),
              std::string::npos)
        << WorkerLog();
    ASSERT_TRUE(RemoveAll(name).ok());
  }
  EXPECT_EQ(*ReadWorkerId(JoinPath(state_, "worker_id")), "gpu-1");
}

// A backup from before the end, which the coordinator had acknowledged: also to a worker that was
// started again since.
TEST_F(AgentTest, ARestoredBackupGetsAlsoTheJournalOfWhatHadEnded) {
  const TaskFile task = Begin({{"steps", 10}});
  ASSERT_TRUE(AwaitEnd(task));
  AwaitFile(FolderOf(task).Checkpoints(), false);  // the acknowledgement has been written down
  for (const bool again : {false, true}) {
    coordinator_.Stop();
    if (again) KillWorker();
    coordinator_.forget_after[task.attempt] = 7;
    coordinator_.Start();
    if (again) StartWorker();
    ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.forget_after.empty(); }));
    ASSERT_TRUE(AwaitEnd(task));
    ExpectWholeJournal(task);
    EXPECT_EQ(StoredOf(task).ended->exit_code(), 0);
  }
}

TEST_F(AgentTest, WithoutAcknowledgementsTheSessionIsBoundedAndTheTrainerGoesOn) {
  coordinator_.acknowledges = false;
  const TaskFile task = Begin({{"steps", 40}});
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
}

TEST_F(AgentTest, AStoppedTrainerWritesACheckpointAndYields) {
  const TaskFile task = Begin({{"steps", 1'000'000}, {"checkpoint_every", 1'000'000}}, 10);
  SendStop(task);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
  EXPECT_TRUE(StoredOf(task).ended->stop_requested());
  EXPECT_EQ(RecordsOf(task, RecordKind::kCheckpoint).size(), 1u);
  // The coordinator stops what somebody cancelled; the worker that leaves stops its
  // own, which yield.
  EXPECT_NE(WorkerLog().find("class=cancelled"), std::string::npos) << WorkerLog();
}

TEST_F(AgentTest, ATrainerThatDoesNotListenIsKilledAfterTheGrace) {
  const TaskFile task = Begin({{"steps", 1'000'000}, {"fault", "ignore_stop"}}, 10);
  SendStop(task, /*grace_ms=*/100);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_TRUE(StoredOf(task).ended->exit_known());
  EXPECT_EQ(StoredOf(task).ended->signal(), SIGKILL);
  EXPECT_TRUE(StoredOf(task).ended->stop_requested());
}

// Invariant I-19.
TEST_F(AgentTest, AFencedTrainerIsStopped) {
  const TaskFile task = Begin(kEndless, 10);
  v1::CoordinatorMessage message;
  message.mutable_fenced()->set_attempt(task.attempt);
  message.mutable_fenced()->set_current_epoch(2);
  ASSERT_TRUE(coordinator_.Send(message));
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
}

TEST_F(AgentTest, AVerdictOfTheWelcomeStopsATrainerToo) {
  const TaskFile task = Begin(kEndless, 10);
  coordinator_.Stop();
  coordinator_.verdicts[task.attempt] = v1::AttemptVerdict::VERDICT_FENCED;
  coordinator_.Start();
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
}

TEST_F(AgentTest, AnEarlierStartOfTheSameCoordinatorIsNotObeyed) {
  coordinator_.boot_epoch = 5;
  const TaskFile task = Begin(kEndless, 10);
  coordinator_.Stop();
  coordinator_.boot_epoch = 4;
  coordinator_.verdicts[task.attempt] = v1::AttemptVerdict::VERDICT_FENCED;
  coordinator_.Start();
  // It comes, listens to the Welcome, and goes, more than once.
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions >= 3; }));
  EXPECT_FALSE(PathExists(FolderOf(task).Exit()));
}

TEST_F(AgentTest, AResumedTrainingGoesTheSameWay) {
  WriteBehaviour(cache_, {{"default",
                           {{"steps", 30},
                            {"checkpoint_every", 10},
                            {"fault", "kill"},
                            {"fault_step", 15},
                            {"fault_attempts", 1}}}});
  const TaskFile first = Train(1, 1);
  StartWorker();
  Offer(first);
  ASSERT_TRUE(AwaitEnd(first));
  EXPECT_EQ(StoredOf(first).ended->signal(), SIGKILL);
  EXPECT_FALSE(StoredOf(first).ended->stop_requested());
  const std::vector<JournalRecord> checkpoints = RecordsOf(first, RecordKind::kCheckpoint);
  ASSERT_EQ(checkpoints.size(), 1u);

  TaskFile second = Train(1, 2);
  const v1::CheckpointSource source = SourceOf(checkpoints[0]);
  second.resume = CheckpointRef{
      .attempt = first.attempt, .checkpoint = "", .sha256 = source.sha256(), .step = 10};
  Offer(second, 0, {source});
  ASSERT_TRUE(AwaitEnd(second));
  const std::vector<JournalRecord> series = RecordsOf(second, RecordKind::kSeries);
  ASSERT_EQ(series.size(), 20u);
  EXPECT_EQ(std::get<SeriesRecord>(series.back().body).ValueOf("loss"),
            FakeLoss(FakeWeightsAfter(1, "cable", 30), 30));
  EXPECT_TRUE(IsFolder(JoinPath(cache_, source.sha256())));
}

// The worker prepares an attempt that starts from a checkpoint, and the store does not give it.
class PreparationTest : public AgentTest {
 protected:
  PreparationTest() {
    WriteBehaviour(cache_, {{"default", {{"steps", 3}}}});
    const TaskFile first = Train(1, 1);
    StartWorker();
    Offer(first);
    EXPECT_TRUE(AwaitEnd(first));
    const v1::CheckpointSource source = SourceOf(RecordsOf(first, RecordKind::kCheckpoint).at(0));
    coordinator_.Await([&] { return coordinator_.withholds_artifacts = true; });
    task_ = Train(1, 2);
    task_.resume = CheckpointRef{
        .attempt = first.attempt, .checkpoint = "", .sha256 = source.sha256(), .step = 3};
    Offer(task_, 0, {source});
  }
  ~PreparationTest() override { Release(); }
  void Release() {
    coordinator_.Await([&] {
      coordinator_.withholds_artifacts = false;
      return true;
    });
  }
  bool AwaitListed() {
    return coordinator_.Await([&] { return coordinator_.listed.contains(task_.attempt); });
  }

  TaskFile task_;
};

TEST_F(PreparationTest, AnOfferIsTakenBeforeItIsPrepared) {
  ASSERT_TRUE(AwaitListed());
  EXPECT_TRUE(StoredOf(task_).accepted);
  EXPECT_FALSE(PathExists(FolderOf(task_).path));
  Release();
  ASSERT_TRUE(AwaitEnd(task_));
  EXPECT_EQ(StoredOf(task_).ended->exit_code(), 0);
  EXPECT_FALSE(StoredOf(task_).rejected_class.has_value());
}

TEST_F(PreparationTest, ItGoesOnInTheNextSession) {
  ASSERT_TRUE(AwaitListed());
  coordinator_.Stop();
  coordinator_.Start();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions == 2; }));
  EXPECT_TRUE(std::ranges::any_of(
      coordinator_.LastHello().attempts(),
      [&](const v1::LiveAttempt& live) { return live.attempt() == task_.attempt; }));
  Release();
  ASSERT_TRUE(AwaitEnd(task_));
  EXPECT_EQ(StoredOf(task_).ended->exit_code(), 0);
}

TEST_F(PreparationTest, AStopEndsItWithoutAStart) {
  ASSERT_TRUE(AwaitListed());
  SendStop(task_);
  ASSERT_TRUE(AwaitRejection(task_));
  EXPECT_EQ(StoredOf(task_).rejected_class, "");
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.listed.empty(); }));
  EXPECT_FALSE(PathExists(FolderOf(task_).path));
}

TEST_F(PreparationTest, AWorkerThatIsStoppedGivesItBack) {
  ASSERT_TRUE(AwaitListed());
  kill(worker_pid_, SIGTERM);
  EXPECT_EQ(EndOfWorker().code, 0);
  ASSERT_TRUE(AwaitRejection(task_));
  EXPECT_EQ(StoredOf(task_).rejected_class, "");
}

// As while it is being built or installed anew.
TEST_F(AgentTest, WithoutATrainerTasksAreGivenBackAtNoCost) {
  WriteBehaviour(cache_, {{"default", {{"steps", 3}}}});
  const std::string trainer = JoinPath(temp_.path(), "trainer"), away = trainer + ".away";
  ASSERT_EQ(symlink(trainer_.c_str(), trainer.c_str()), 0);
  trainer_ = "trainer";  // from the worker's folder
  StartWorker();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions > 0; }));

  ASSERT_TRUE(RenameSync(trainer, away).ok());
  const TaskFile first = Train(1, 1);
  Offer(first);
  ASSERT_TRUE(AwaitRejection(first));
  EXPECT_EQ(StoredOf(first).rejected_class, "storage");
  EXPECT_NE(StoredOf(first).rejected_reason.find(Str("the trainer ", trainer, " cannot be run")),
            std::string::npos)
      << StoredOf(first).rejected_reason;

  ASSERT_TRUE(RenameSync(away, trainer).ok());
  const TaskFile second = Train(1, 2);
  Offer(second);
  ASSERT_TRUE(AwaitEnd(second));
  EXPECT_EQ(StoredOf(second).ended->exit_code(), 0);
}

TEST_F(AgentTest, RemovedFoldersOfTheWorkerAreMadeAgain) {
  WriteBehaviour(cache_, {{"default", {{"steps", 3}}}});
  const TaskFile first = Train(1, 1);
  StartWorker();
  Offer(first);
  ASSERT_TRUE(AwaitEnd(first));
  const v1::CheckpointSource source = SourceOf(RecordsOf(first, RecordKind::kCheckpoint).at(0));
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.listed.empty(); }));

  ASSERT_TRUE(RemoveAll(JoinPath(state_, "attempts")).ok());
  ASSERT_TRUE(RemoveAll(cache_).ok());
  TaskFile second = Train(1, 2);
  second.resume = CheckpointRef{
      .attempt = first.attempt, .checkpoint = "", .sha256 = source.sha256(), .step = 3};
  Offer(second, 0, {source});
  ASSERT_TRUE(AwaitEnd(second));
  EXPECT_EQ(StoredOf(second).ended->exit_code(), 0);
}

TEST_F(AgentTest, ADamagedCheckpointIsRefused) {
  WriteBehaviour(cache_, {{"default", {{"steps", 3}}}});
  const TaskFile first = Train(1, 1);
  StartWorker();
  Offer(first);
  ASSERT_TRUE(AwaitEnd(first));
  const v1::CheckpointSource source = SourceOf(RecordsOf(first, RecordKind::kCheckpoint).at(0));
  std::string& bytes = coordinator_.artifacts.at(source.files(1).sha256());
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);

  TaskFile second = Train(1, 2);
  second.resume = CheckpointRef{
      .attempt = first.attempt, .checkpoint = "", .sha256 = source.sha256(), .step = 3};
  Offer(second, 0, {source});
  ASSERT_TRUE(AwaitRejection(second));
  EXPECT_EQ(StoredOf(second).rejected_class, "data");
  EXPECT_NE(StoredOf(second).rejected_reason.find("model.safetensors"), std::string::npos)
      << StoredOf(second).rejected_reason;
  EXPECT_FALSE(IsFolder(JoinPath(cache_, source.sha256())));
  EXPECT_FALSE(PathExists(FolderOf(second).path));
}

// Of class "data" the coordinator would take an earlier checkpoint,
// and tell the user to make data again.
TEST_F(AgentTest, ACacheThatCannotBeWrittenIsAMatterOfStorage) {
  WriteBehaviour(cache_, {{"default", {{"steps", 3}}}});
  const TaskFile first = Train(1, 1);
  StartWorker();
  Offer(first);
  ASSERT_TRUE(AwaitEnd(first));
  const v1::CheckpointSource source = SourceOf(RecordsOf(first, RecordKind::kCheckpoint).at(0));
  ASSERT_TRUE(RemoveAll(cache_).ok());
  ASSERT_TRUE(WriteFileAtomic(cache_, "no folder").ok());

  TaskFile second = Train(1, 2);
  second.resume = CheckpointRef{
      .attempt = first.attempt, .checkpoint = "", .sha256 = source.sha256(), .step = 3};
  Offer(second, 0, {source});
  ASSERT_TRUE(AwaitRejection(second));
  EXPECT_EQ(StoredOf(second).rejected_class, "storage");
  EXPECT_NE(StoredOf(second).rejected_reason.find("the worker's cache cannot be written: "),
            std::string::npos)
      << StoredOf(second).rejected_reason;
  EXPECT_NE(StoredOf(second).rejected_reason.find(cache_), std::string::npos)
      << StoredOf(second).rejected_reason;
}

TEST_F(AgentTest, ACheckpointUnlikeItsRecordIsNotUploadedAndTheJournalGoesOn) {
  const TaskFile task = Begin({{"steps", 3}, {"fault", "wrong_bytes"}});
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
  EXPECT_FALSE(coordinator_.artifacts.contains(std::string(64, '0')));
  EXPECT_NE(WorkerLog().find("upload_given_up"), std::string::npos);
  EXPECT_FALSE(StoredOf(task).without_files.empty());
  // A person may want to look at them: they stay, also when the end is acknowledged.
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    const Result<AckedRecord> acked = ReadAcked(FolderOf(task));
    return acked.ok() && acked->ended;
  }));
  kill(worker_pid_, SIGTERM);
  EXPECT_EQ(EndOfWorker().code, 0);
  EXPECT_TRUE(PathExists(FolderOf(task).Checkpoints()));
}

TEST_F(AgentTest, ACheckpointThatTheStoresDiskDoesNotTakeIsSentAgain) {
  coordinator_.n_uploads_failing = 2;
  const TaskFile task = Begin({{"steps", 3}});
  ASSERT_TRUE(AwaitEnd(task));
  ExpectWholeJournal(task);
  EXPECT_EQ(coordinator_.n_uploads_failing, 0);
  EXPECT_TRUE(StoredOf(task).without_files.empty());
  const v1::CheckpointSource source = SourceOf(RecordsOf(task, RecordKind::kCheckpoint).back());
  for (const v1::ArtifactFile& file : source.files()) {
    EXPECT_TRUE(coordinator_.artifacts.contains(file.sha256())) << file.name();
  }
}

// The files of older checkpoints went with the outage; that is no reason to keep the last one's,
// which are in the store.
TEST_F(AgentTest, CheckpointsThatTheTrainerRemovedDoNotKeepTheOthersOnTheDisk) {
  WriteBehaviour(cache_, {{"default", {{"steps", 30}, {"gate", "gate"}}}});
  const std::string gate = JoinPath(cache_, "gate");
  ASSERT_TRUE(WriteFileAtomic(gate, "").ok());
  TaskFile task = Train(1);
  task.checkpoint_keep = 1;
  StartWorker();
  Offer(task);
  ASSERT_TRUE(AwaitLines(task, 2));
  coordinator_.Stop();
  ASSERT_TRUE(RemoveAll(gate).ok());
  AwaitFile(FolderOf(task).Exit(), true);
  coordinator_.Start();
  ASSERT_TRUE(AwaitEnd(task));
  // Of steps 5, 10 ... 30 the last alone was there to be sent.
  EXPECT_EQ(StoredOf(task).without_files.size(), 5u);
  // That is as it should be, and does not look like damage.
  int n_replaced = 0;
  for (const std::string& line : Split(WorkerLog(), '\n')) {
    const bool is_of_replaced = line.find(" upload_not_needed ") != std::string::npos;
    n_replaced += is_of_replaced ? 1 : 0;
    EXPECT_TRUE(line.starts_with("I ") || !is_of_replaced) << line;
  }
  EXPECT_EQ(n_replaced, 5) << WorkerLog();
  EXPECT_EQ(WorkerLog().find("upload_given_up"), std::string::npos) << WorkerLog();
  AwaitFile(FolderOf(task).Checkpoints(), false);
  EXPECT_TRUE(PathExists(FolderOf(task).Journal()));
}

TEST_F(AgentTest, AMissingDatasetIsNamed) {
  const TaskFile task = Train(1);
  ASSERT_TRUE(RemoveAll(dataset_).ok());
  StartWorker();
  Offer(task);
  ASSERT_TRUE(AwaitRejection(task));
  EXPECT_EQ(StoredOf(task).rejected_class, "data");
  EXPECT_NE(StoredOf(task).rejected_reason.find(kTestDatasetDigest), std::string::npos);
}

// A worker that can see nothing of the coordinator's machine: what a task reads comes by digest.
class FetchTest : public AgentTest {
 protected:
  FetchTest() {
    coordinator_.capabilities = OwnCapabilities();
    // Two bytes a token: 16 frames, some of which the worker receives before it writes them.
    std::string text(8 << 20, 'x');
    for (std::size_t i = 0; i < text.size(); i += 7) text[i] = static_cast<char>('a' + i % 26);
    const std::string file = JoinPath(temp_.path(), "a.txt");
    EXPECT_TRUE(WriteFileAtomic(file, text).ok());
    const std::string folder = JoinPath(temp_.path(), "imported");
    const Status imported = ImportText({.splits = {{"train", {file}}}}, folder);
    EXPECT_TRUE(imported.ok()) << imported.message();
    listing_ = ListDataset(folder).value();
    for (const ArtifactFile& one : listing_.files) {
      coordinator_.artifacts[one.sha256] = ReadFile(JoinPath(folder, one.name)).value();
    }
    WriteBehaviour(cache_, {{"default", {{"steps", 3}}}});
  }

  TaskFile Task(std::int64_t seed, std::uint64_t n = 1) {
    TaskFile task = Train(seed, n);
    task.run.dataset_digest = listing_.digest;
    task.run_key = task.run.Key();
    return task;
  }
  void OfferByDigest(const TaskFile& task, int slot = 0,
                     const std::vector<ArtifactFile>& input_files = {},
                     const std::vector<v1::CheckpointSource>& from = {}) {
    v1::Start start = StartOf(task, slot, from);
    v1::DatasetSource& source = *start.add_datasets();
    source.set_digest(listing_.digest);
    const auto fill = [](const ArtifactFile& one, v1::ArtifactFile& to) {
      to.set_name(one.name);
      to.set_sha256(one.sha256);
      to.set_bytes(one.n_bytes);
    };
    for (const ArtifactFile& file : listing_.files) fill(file, *source.add_files());
    for (const ArtifactFile& file : input_files) fill(file, *start.add_input_files());
    SendStart(std::move(start));
  }
  // The offsets from which the bytes of the shard were asked for.
  std::vector<std::int64_t> Offsets() {
    std::vector<std::int64_t> offsets;
    for (const auto& [sha256, offset] : coordinator_.downloads) {
      if (sha256 == listing_.files.front().sha256) offsets.push_back(offset);
    }
    return offsets;
  }
  std::string Cached() const { return JoinPath(JoinPath(cache_, "datasets"), listing_.digest); }

  DatasetListing listing_;
};

TEST_F(FetchTest, ADatasetComesByDigestOnceAndTheCoordinatorIsTold) {
  StartWorker();
  const TaskFile first = Task(1), second = Task(2);
  OfferByDigest(first, 0);
  OfferByDigest(second, 1);
  ASSERT_TRUE(AwaitEnd(first));
  ASSERT_TRUE(AwaitEnd(second));
  EXPECT_EQ(StoredOf(first).ended->exit_code(), 0);
  EXPECT_EQ(Offsets(), std::vector<std::int64_t>{0});
  EXPECT_EQ(ReadTaskFile(FolderOf(first))->dataset_path, Cached());
  EXPECT_EQ(Dataset::Open(Cached())->digest(), listing_.digest);
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.held.has_value(); }));
  EXPECT_EQ(*coordinator_.held, std::set<std::string>{listing_.digest});

  KillWorker();
  StartWorker();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions == 2; }));
  EXPECT_EQ(coordinator_.LastHello().dataset_digests_size(), 1);
  const TaskFile third = Task(3);
  OfferByDigest(third);
  ASSERT_TRUE(AwaitEnd(third));
  EXPECT_EQ(Offsets().size(), 1u);
}

TEST_F(FetchTest, AWorkerThatIsKilledInTheMiddleGoesOnThere) {
  env_ = {"LONGRUN_FAILPOINTS=worker_mid_download:stop@3"};
  StartWorker();
  const TaskFile task = Task(1);
  OfferByDigest(task);
  const std::string part =
      JoinPath(JoinPath(JoinPath(cache_, "incoming"), "dataset-" + listing_.digest),
               listing_.files.front().name);
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    return ReadFile(Str("/proc/", worker_pid_, "/stat"))->find(") T ") != std::string::npos;
  }));
  KillWorker();
  const std::int64_t n_there = FileBytes(part).value();
  EXPECT_GE(n_there, 2 << 20);
  EXPECT_LT(n_there, listing_.files.front().n_bytes);

  env_.clear();
  StartWorker();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions == 2; }));
  OfferByDigest(task);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(Offsets(), (std::vector<std::int64_t>{0, n_there}));
}

TEST_F(FetchTest, ACoordinatorThatIsAwayInTheMiddleIsWaitedForAndTheFetchGoesOn) {
  env_ = {"LONGRUN_FAILPOINTS=worker_mid_download:delay_ms:200"};
  StartWorker();
  const TaskFile task = Task(1);
  OfferByDigest(task);
  const std::string part =
      JoinPath(JoinPath(JoinPath(cache_, "incoming"), "dataset-" + listing_.digest),
               listing_.files.front().name);
  ASSERT_TRUE(WaitUntil(kDeadlineMs,
                        [&] { return PathExists(part) && FileBytes(part).value() >= 2 << 20; }));
  coordinator_.Stop();
  coordinator_.Start();
  ASSERT_TRUE(AwaitEnd(task));
  const std::vector<std::int64_t> offsets = Offsets();
  ASSERT_EQ(offsets.size(), 2u);
  EXPECT_GE(offsets[1], 2 << 20);
}

// The next order for the same dataset goes on where the withdrawn one was.
TEST_F(FetchTest, AnOrderThatIsWithdrawnEndsItsFetch) {
  env_ = {"LONGRUN_FAILPOINTS=worker_mid_download:delay_ms:600"};
  StartWorker();
  const TaskFile task = Task(1), next = Task(2);
  OfferByDigest(task);
  const std::string part =
      JoinPath(JoinPath(JoinPath(cache_, "incoming"), "dataset-" + listing_.digest),
               listing_.files.front().name);
  ASSERT_TRUE(WaitUntil(kDeadlineMs,
                        [&] { return PathExists(part) && FileBytes(part).value() >= 1 << 20; }));
  SendStop(task);
  ASSERT_TRUE(AwaitRejection(task));
  OfferByDigest(next);
  ASSERT_TRUE(AwaitEnd(next));
  const std::vector<std::int64_t> offsets = Offsets();
  ASSERT_EQ(offsets.size(), 2u);
  EXPECT_GE(offsets[1], 1 << 20);
  EXPECT_LT(offsets[1], listing_.files.front().n_bytes);
}

TEST_F(FetchTest, AFlippedBitAtTheCoordinatorIsReportedWithTheRemedy) {
  std::string& bytes = coordinator_.artifacts.at(listing_.files.front().sha256);
  bytes[bytes.size() / 2] ^= 1;
  StartWorker();
  const TaskFile task = Task(1);
  OfferByDigest(task);
  ASSERT_TRUE(AwaitRejection(task));
  EXPECT_EQ(StoredOf(task).rejected_class, "data");
  const std::string& reason = StoredOf(task).rejected_reason;
  EXPECT_NE(reason.find("fetching train-00000.lrtk of dataset " + listing_.digest),
            std::string::npos)
      << reason;
  EXPECT_NE(reason.find("`longrun data verify NAME` says what is damaged"), std::string::npos)
      << reason;
  EXPECT_FALSE(PathExists(Cached()));
}

TEST_F(FetchTest, ACacheThatIsTooSmallIsAMatterOfStorage) {
  StartWorker({"--cache-bytes", "1Mi"});
  const TaskFile task = Task(1);
  OfferByDigest(task);
  ASSERT_TRUE(AwaitRejection(task));
  EXPECT_EQ(StoredOf(task).rejected_class, "storage");
  EXPECT_NE(StoredOf(task).rejected_reason.find(
                "by way of the worker's cache, which may take 1 MiB: start the worker with larger "
                "--cache-bytes"),
            std::string::npos)
      << StoredOf(task).rejected_reason;
  // The task does not fit; the slot may take others.
  EXPECT_EQ(StoredOf(task).rejected_cache_needed_bytes, BytesOf(listing_.files));
  EXPECT_EQ(StoredOf(task).rejected_cache_limit_bytes, 1 << 20);
  EXPECT_TRUE(Offsets().empty());
}

// Each of them fits, but not all.
TEST_F(FetchTest, WhatATaskReadsIsAddedUpBeforeAnythingIsFetched) {
  const std::string sha256 = Sha256Hex("questions");
  StartWorker({"--cache-bytes", Str(BytesOf(listing_.files) + 8)});
  const TaskFile task = Task(1);
  OfferByDigest(task, 0, {{.name = sha256, .sha256 = sha256, .n_bytes = 9}});
  ASSERT_TRUE(AwaitRejection(task));
  EXPECT_EQ(StoredOf(task).rejected_class, "storage");
  EXPECT_EQ(StoredOf(task).rejected_cache_needed_bytes, BytesOf(listing_.files) + 9);
  EXPECT_TRUE(Offsets().empty());
}

TEST_F(FetchTest, ACacheThatAnotherAttemptUsesIsNotTooSmall) {
  WriteBehaviour(cache_, {{"default", kEndless}});
  const std::string bytes(1 << 20, 'q'), sha256 = Sha256Hex(bytes);
  StartWorker({"--cache-bytes", Str(BytesOf(listing_.files) + 8)});
  const TaskFile first = Task(1), second = Train(2);
  OfferByDigest(first);
  ASSERT_TRUE(AwaitLines(first, 3));
  v1::CheckpointSource other;
  other.set_sha256(sha256);
  v1::ArtifactFile& manifest = *other.add_files();
  manifest.set_name("manifest.json");
  manifest.set_sha256(sha256);
  manifest.set_bytes(1 << 20);
  Offer(second, 1, {other});
  ASSERT_TRUE(AwaitRejection(second));
  EXPECT_EQ(StoredOf(second).rejected_class, "storage");
  EXPECT_EQ(StoredOf(second).rejected_cache_needed_bytes, 1 << 20);
  EXPECT_GT(StoredOf(second).rejected_cache_limit_bytes, 1 << 20);
  EXPECT_FALSE(StoredOf(second).rejected_lacks_disk);
}

// Other tasks may find room there.
TEST_F(FetchTest, ATaskThatReadsMoreThanTheDiskHasRoomForSaysSo) {
  StartWorker({"--cache-bytes", Str(std::int64_t{1} << 60)});
  const TaskFile task = Train(1);
  v1::CheckpointSource source;
  source.set_sha256(Sha256Hex("large"));
  v1::ArtifactFile& manifest = *source.add_files();
  manifest.set_name("manifest.json");
  manifest.set_sha256(source.sha256());
  manifest.set_bytes(std::int64_t{1} << 50);
  Offer(task, 0, {source});
  ASSERT_TRUE(AwaitRejection(task));
  EXPECT_EQ(StoredOf(task).rejected_class, "storage");
  EXPECT_EQ(StoredOf(task).rejected_cache_needed_bytes, std::int64_t{1} << 50);
  EXPECT_TRUE(StoredOf(task).rejected_lacks_disk);
  const std::string& reason = StoredOf(task).rejected_reason;
  EXPECT_NE(reason.find(Str("takes 1024 TiB, but only ")), std::string::npos) << reason;
  EXPECT_NE(reason.find(Str(" are free in ", cache_, ", of which ")), std::string::npos) << reason;
}

TEST_F(FetchTest, ACacheThatIsBeingTrimmedHoldsUpNothing) {
  const std::string old = JoinPath(cache_, std::string(64, 'a'));
  ASSERT_TRUE(MakeFolders(old).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(old, "weights"), std::string(2 << 20, 'w')).ok());
  env_ = {"LONGRUN_FAILPOINTS=cache_before_delete:delay_ms:3600000"};
  StartWorker({"--cache-bytes", "1Mi"});
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_heartbeats > 1; }));
  EXPECT_TRUE(PathExists(JoinPath(cache_, "removed/1/weights")));
}

TEST_F(FetchTest, TheFilesOfAnEvaluationComeByDigestIntoOneFolder) {
  std::vector<ArtifactFile> files;
  for (const std::string bytes : {"questions", "examples"}) {
    const std::string sha256 = Sha256Hex(bytes);
    coordinator_.artifacts[sha256] = bytes;
    files.push_back(
        {.name = sha256, .sha256 = sha256, .n_bytes = static_cast<std::int64_t>(bytes.size())});
  }
  StartWorker();
  const TaskFile trained = Task(1);
  OfferByDigest(trained);
  ASSERT_TRUE(AwaitEnd(trained));
  const v1::CheckpointSource weights = SourceOf(RecordsOf(trained, RecordKind::kCheckpoint).at(0));
  TaskFile task = Task(1, 2);
  task.kind = TaskKind::kEvaluate;
  task.init = CheckpointRef{
      .attempt = trained.attempt, .checkpoint = "", .sha256 = weights.sha256(), .step = 3};
  task.evaluation = {
      {"multiple_choice",
       {{"file", "sha256:" + files[0].sha256}, {"examples", "sha256:" + files[1].sha256}}}};
  task.expected_cells = {
      {.cell = Sha256Hex("cell"), .metric = "acc", .context_length = 64, .variant = ""}};
  OfferByDigest(task, 0, files, {weights});
  ASSERT_TRUE(coordinator_.Await(
      [&] { return StoredOf(task).ended.has_value() || StoredOf(task).rejected_class; }));
  ASSERT_FALSE(StoredOf(task).rejected_class) << StoredOf(task).rejected_reason;
  const Json params = ReadTaskFile(FolderOf(task))->evaluation.at("multiple_choice");
  EXPECT_EQ(params.at("file"), JoinPath(cache_, "files/" + files[0].sha256));
  EXPECT_EQ(params.at("examples"), JoinPath(cache_, "files/" + files[1].sha256));
  EXPECT_EQ(ReadFile(params.at("file").get<std::string>()).value(), "questions");
}

TEST_F(FetchTest, WhatARunningTrainerReadsStaysAlsoAfterARestartOfTheWorker) {
  WriteBehaviour(cache_, {{"default", kEndless}});
  StartWorker();
  const TaskFile task = Task(1);
  OfferByDigest(task);
  ASSERT_TRUE(AwaitLines(task, 3));
  KillWorker();
  // Not as old as what the trainer reads, so that it would go later.
  const std::string unused = JoinPath(cache_, std::string(64, 'a'));
  ASSERT_TRUE(MakeFolders(unused).ok());
  StartWorker({"--cache-bytes", "1Mi"});
  AwaitFile(unused, false);
  EXPECT_TRUE(PathExists(Cached()));
}

TEST_F(AgentTest, ABusySlotIsRefusedWithoutAClassAndTheOtherIsFree) {
  WriteBehaviour(cache_, {{"default", {{"steps", 1'000'000}}}});
  const TaskFile first = Train(1), second = Train(2), third = Train(3);
  StartWorker();
  Offer(first);
  ASSERT_TRUE(AwaitLines(first, 3));
  Offer(second, 0);
  ASSERT_TRUE(AwaitRejection(second));
  EXPECT_EQ(StoredOf(second).rejected_class, "");
  Offer(third, 1);
  ASSERT_TRUE(AwaitLines(third, 3));
}

TEST_F(AgentTest, AnOrderThatComesTwiceStartsOneTrainer) {
  const TaskFile task = Begin({{"steps", 30}});
  Offer(task);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_FALSE(StoredOf(task).rejected_class.has_value());
  ExpectWholeJournal(task);
}

TEST_F(AgentTest, AMachineThatWouldGiveOtherBitsRefuses) {
  TaskFile task = Train(1);
  task.execution.linear = "aten/SomebodyElse";
  StartWorker();
  Offer(task);
  ASSERT_TRUE(AwaitRejection(task));
  EXPECT_EQ(StoredOf(task).rejected_class, "invalid");
}

TEST_F(AgentTest, AFullDiskTakesNoWork) {
  const TaskFile task = Train(1);
  disk_free_bytes_min_ = Str(std::int64_t{1} << 60);
  StartWorker();
  Offer(task);
  ASSERT_TRUE(AwaitRejection(task));
  EXPECT_EQ(StoredOf(task).rejected_class, "storage");
}

TEST_F(AgentTest, AWorkerReportsAFullDiskFromItsHelloOn) {
  disk_free_bytes_min_ = Str(std::int64_t{1} << 60);
  StartWorker();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_heartbeats > 0; }));
  EXPECT_EQ(coordinator_.FirstHello().disk_wanted_bytes(), std::int64_t{1} << 60);
  EXPECT_EQ(coordinator_.FirstHello().folder(), state_);
  EXPECT_EQ(coordinator_.disk_wanted_bytes, std::int64_t{1} << 60);
}

TEST_F(AgentTest, AWorkerWithRoomOnItsDiskReportsNoLack) {
  StartWorker();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_heartbeats > 0; }));
  EXPECT_EQ(coordinator_.FirstHello().disk_wanted_bytes(), 0);
  EXPECT_EQ(coordinator_.disk_wanted_bytes, 0);
}

TEST_F(AgentTest, ATerminatedWorkerLetsItsTrainersCheckpointAndLeaves) {
  const TaskFile task = Begin(kEndless, 10);
  kill(worker_pid_, SIGTERM);
  EXPECT_EQ(EndOfWorker().code, 0);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
}

TEST_F(AgentTest, ATerminalThatClosesEndsAWorkerInOrder) {
  const TaskFile task = Begin(kEndless, 10);
  kill(worker_pid_, SIGHUP);
  EXPECT_EQ(EndOfWorker().code, 0);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
}

TEST_F(AgentTest, AWorkerThatWasStartedWithNohupOutlivesItsTerminal) {
  through_ = {"/usr/bin/nohup"};
  const TaskFile task = Begin(kEndless, 10);
  ASSERT_EQ(kill(worker_pid_, SIGHUP), 0);
  // One that is about to end stops its trainers, and takes no more work.
  const TaskFile other = Train(2);
  Offer(other, 1);
  EXPECT_TRUE(AwaitLines(other, 10)) << WorkerLog();
  EXPECT_EQ(WorkerLog().find("worker_stopping"), std::string::npos) << WorkerLog();
}

TEST_F(AgentTest, ATrainerThatSomebodyStoppedWritesItsCheckpointWhenTheWorkerEnds) {
  const TaskFile task = Begin(kEndless, 10);
  const Result<ShimRecord> shim = ReadShim(FolderOf(task));
  ASSERT_TRUE(shim.ok() && shim->trainer);
  ASSERT_TRUE(SignalProcess(*shim->trainer, SIGSTOP, /*group=*/false));
  kill(worker_pid_, SIGTERM);
  EXPECT_EQ(EndOfWorker().code, 0);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
}

TEST_F(AgentTest, ATerminatedWorkerLeavesWithoutACoordinatorAndTellsItLater) {
  const TaskFile task = Begin(kEndless, 10);
  coordinator_.Stop();
  kill(worker_pid_, SIGTERM);
  EXPECT_EQ(EndOfWorker().code, 0);
  EXPECT_TRUE(PathExists(FolderOf(task).Exit()));
  coordinator_.Start();
  StartWorker();
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 75);
}

// As after the loss of worker_id: the coordinator counts the attempt of this folder as one of a
// worker that is away, and acknowledges nothing of it.
TEST_F(AgentTest, ATerminatedWorkerDoesNotWaitForADeadAttemptThatIsNotItsOwn) {
  coordinator_.acknowledges = false;
  const TaskFile task = Begin(kEndless, 10);
  KillWorker();
  EndTrainers();
  ASSERT_TRUE(coordinator_.Await([&] {
    coordinator_.verdicts[task.attempt] = v1::AttemptVerdict::VERDICT_FENCED;
    return true;
  }));
  StartWorker({"--grace-ms", Str(10 * kDeadlineMs)});
  // It has seen that the trainer is dead, and heard the verdict; the first session had none.
  const std::int64_t deadline = BootMs() + kDeadlineMs;
  for (const char* const event : {"attempt_ended", "attempts=1"}) {
    ASSERT_TRUE(WaitUntil(deadline - BootMs(), [&] {
      return WorkerLog().find(event) != std::string::npos;
    })) << event;
  }

  kill(worker_pid_, SIGTERM);

  const Result<std::optional<ExitInfo>> exit = WaitFor(worker_pid_, kDeadlineMs);
  ASSERT_TRUE(exit.ok());
  ASSERT_TRUE(exit->has_value()) << "it waits for an acknowledgement that never comes";
  worker_pid_ = -1;
  EXPECT_EQ((*exit)->code, 0);
}

TEST_F(AgentTest, ADrainedWorkerLeavesAfterItsLastTrainer) {
  const TaskFile task = Begin({{"steps", 100}}, 10);
  v1::CoordinatorMessage message;
  message.mutable_drain();
  ASSERT_TRUE(coordinator_.Send(message));
  EXPECT_EQ(EndOfWorker().code, 0);
  EXPECT_EQ(StoredOf(task).ended->exit_code(), 0);
}

TEST_F(AgentTest, TheTrainersLogIsCopiedAndItsTailComesWithTheEnd) {
  const TaskFile task = Begin({{"steps", 1'000'000}, {"fault", "huge_log"}, {"fault_step", 2}});
  ASSERT_TRUE(coordinator_.Await([&] { return StoredOf(task).log.ends_with("x\n"); }));
  SendStop(task);
  ASSERT_TRUE(AwaitEnd(task));
  EXPECT_EQ(StoredOf(task).ended->log_tail(), std::string(4095, 'x') + "\n");
}

TEST_F(AgentTest, TheEnvironmentOfATrainerIsSmall) {
  const TaskFile task = Begin(kEndless, 3);
  const Result<ShimRecord> shim = ReadShim(FolderOf(task));
  ASSERT_TRUE(shim.ok() && shim->trainer.has_value());
  const std::string environment = *ReadFile(Str("/proc/", shim->trainer->pid, "/environ"));
  for (const char* const wanted : {"OMP_WAIT_POLICY=passive", "OMP_NUM_THREADS=1",
                                   "ATEN_CPU_CAPABILITY=", "CUDA_VISIBLE_DEVICES="}) {
    EXPECT_NE(environment.find(wanted), std::string::npos) << wanted;
  }
  EXPECT_EQ(environment.find("LONGRUN_WORKER_"), std::string::npos);
}

TEST_F(AgentTest, TheFolderOfAReportedAttemptGoesAfterTheRetentionTime) {
  const TaskFile task = Begin({{"steps", 3}});
  ASSERT_TRUE(AwaitEnd(task));
  AwaitFile(FolderOf(task).Checkpoints(), false);  // the acknowledgement has been written down
  KillWorker();
  StartWorker({"--retain-ms", "0"});
  AwaitFile(FolderOf(task).path, false);
}

TEST_F(AgentTest, TwoWorkersDoNotShareAFolder) {
  StartWorker();
  ASSERT_TRUE(coordinator_.Await([&] { return coordinator_.n_sessions > 0; }));
  const int first = worker_pid_;
  StartWorker();
  EXPECT_EQ(EndOfWorker().code, 75);
  worker_pid_ = first;
  EXPECT_NE(WorkerLog().find("is already running"), std::string::npos);
}

TEST_F(AgentTest, ANetworkAddressWithoutProtectionIsRefusedWithTheReason) {
  StartWorker({"--metrics", "0.0.0.0:9400"});
  EXPECT_EQ(EndOfWorker().code, 64);
  EXPECT_NE(WorkerLog().find("127.0.0.1:PORT"), std::string::npos);
  address_ = "10.0.0.1:9400";
  StartWorker();
  EXPECT_EQ(EndOfWorker().code, 64);
  EXPECT_NE(WorkerLog().find("give --join FILE"), std::string::npos);
}

}  // namespace
}  // namespace longrun::agent
