#include "coordinator/core.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <limits>
#include <regex>
#include <thread>

#include "base/clock.h"
#include "coordinator/earlier_results.h"
#include "coordinator/exports.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/sqlite.h"
#include "model/data/dataset.h"
#include "model/data/dataset_files.h"
#include "sweeps/limits.h"
#include "sweeps/message_size.h"
#include "sweeps/protocol.h"
#include "tests/coordinator/sample.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kSweepId = "01BX5ZZKBKACTAV9WEVGEMMVRZ";

// The worker's end of a session: keeps what the core says.
class FakeSession final : public SessionSink {
 public:
  void Send(DownMessage message) override {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    arrived_.notify_all();
  }
  void Close(const std::string&) override {}
  // The next message of a kind; others before it are left out.
  template <typename T>
  T Next() {
    std::unique_lock lock(mutex_);
    while (true) {
      while (!messages_.empty()) {
        const DownMessage message = std::move(messages_.front());
        messages_.pop_front();
        if (const T* found = std::get_if<T>(&message)) return *found;
      }
      if (arrived_.wait_for(lock, std::chrono::seconds(30)) == std::cv_status::timeout) {
        ADD_FAILURE() << "the core did not say what was expected";
        return T{};
      }
    }
  }
  // The task of the next Start.
  TaskFile NextTask() {
    const auto start = Next<StartMessage>();
    for (const CheckpointSource& source : start.checkpoints) checkpoints_.push_back(source);
    return TaskFile::FromJson(ParseJson(start.task_json).value()).value();
  }
  // Of the tasks that NextTask has returned.
  const std::vector<CheckpointSource>& checkpoints() const { return checkpoints_; }

 private:
  std::mutex mutex_;  // guards messages_
  std::deque<DownMessage> messages_;
  std::vector<CheckpointSource> checkpoints_;
  std::condition_variable arrived_;
};

class CoreTest : public testing::Test {
 protected:
  CoreTest() { Start(); }

  void Start() {
    store = Store::Open(folder.path(), {.is_momentary = is_momentary}).value();
    artifacts = ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts"),
                                     .wall_ms = [this] { return WallMs() + later_ms; }})
                    .value();
    metrics = std::make_unique<Metrics>();
    CoreOptions options;
    options.disk_low_water_bytes = disk_low_water_bytes;
    options.seed = 7;
    options.on_fatal = on_fatal;
    options.disk_free_bytes = [this]() -> Result<std::int64_t> {
      const std::lock_guard lock(ticks_mutex);
      n_ticks += 1;
      ticked.notify_all();
      return std::int64_t{1} << 40;
    };
    options.limits.lease_ms = lease_ms;
    if (list_dataset) options.list_dataset = list_dataset;
    core = Core::Start(*store, *artifacts, *metrics, options).value();
  }
  // As a crash would: what is not committed is gone.
  void Restart() {
    core.reset();
    store.reset();
    Start();
  }
  void Upload(const std::string& bytes) {
    auto upload = artifacts->Begin(Sha256Hex(bytes), static_cast<std::int64_t>(bytes.size()));
    ASSERT_TRUE(upload.ok() && (*upload)->Write(bytes).ok() && (*upload)->Finish().ok());
  }
  SessionId Arrive(const std::shared_ptr<FakeSession>& sink, int n_slots) {
    const SessionId session = core->AddSession(sink);
    core->Post(WorkerArrived{.session = session, .worker = SampleWorker(n_slots), .attempts = {}});
    sink->Next<WelcomeMessage>();
    return session;
  }
  // Carries out the next task that the core offers.
  TaskFile CarryOut(FakeSession& sink, SessionId session) {
    return CarryOut(sink, session, sink.NextTask());
  }
  TaskFile CarryOut(FakeSession& sink, SessionId session, const TaskFile& task) {
    core->Post(AttemptAccepted{.session = session, .attempt = task.attempt, .epoch = task.epoch});
    std::vector<BatchRecord> journal = SampleJournal(task);
    const auto n = static_cast<std::int64_t>(journal.size());
    core->Post(JournalReceived{.session = session,
                               .attempt = task.attempt,
                               .epoch = task.epoch,
                               .first_seq = 1,
                               .records = std::move(journal)});
    EXPECT_EQ(sink.Next<AckMessage>().durable_seq, n);
    AttemptFinished end = SampleEnd(task, n);
    end.session = session;
    core->Post(end);
    EXPECT_TRUE(sink.Next<AckMessage>().ended);
    return task;
  }
  // Waits until the core has looked after its files n more times: once a second.
  void AwaitTicks(int n) {
    std::unique_lock lock(ticks_mutex);
    const int end = n_ticks + n;
    ASSERT_TRUE(ticked.wait_for(lock, std::chrono::milliseconds(DeadlineMs(60'000)),
                                [&] { return n_ticks >= end; }));
  }
  std::string SweepState() {
    std::string name;
    EXPECT_TRUE(
        core->LookAndWait([&](const State& state) { name = SweepStateName(state, kSweepId); })
            .ok());
    return name;
  }

  TempFolder folder;
  std::int64_t disk_low_water_bytes = 0;
  std::int64_t later_ms = 0;  // of the clock of `artifacts`
  std::int64_t lease_ms = SchedulerLimits().lease_ms;
  bool is_momentary = false;
  std::mutex ticks_mutex;  // guards n_ticks
  int n_ticks = 0;         // looks at the disk, one a second while nothing is submitted
  std::condition_variable ticked;
  std::function<void(const Status&)> on_fatal;
  std::function<Result<DatasetListing>(const std::string&)> list_dataset;
  std::unique_ptr<Store> store;
  std::unique_ptr<ArtifactStore> artifacts;
  std::unique_ptr<Metrics> metrics;
  std::unique_ptr<Core> core;
};

TEST_F(CoreTest, ASweepGoesFromSubmissionToItsTableWithOneWorker) {
  Upload("manifest");
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);

  for (int i = 0; i < 4; ++i) CarryOut(*sink, session);

  EXPECT_EQ(SweepState(), "SUCCEEDED");
  // The evaluations are told where the trained weights are.
  ASSERT_EQ(sink->checkpoints().size(), 2u);
  EXPECT_EQ(sink->checkpoints().front().files.size(), 1u);
}

TEST_F(CoreTest, TheLogHasALineForEachWorkerThatComesAndGoes) {
  testing::internal::CaptureStderr();
  const SessionId session = Arrive(std::make_shared<FakeSession>(), 2);
  core->RemoveSession(session);
  EXPECT_TRUE(core->LookAndWait([](const State&) {}).ok());  // both are done before
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find(" worker worker=worker-1 host=machine state=READY reason=\"the worker joined "
                     "with 2 slots\"\n"),
            std::string::npos)
      << log;
  EXPECT_NE(log.find(" worker worker=worker-1 host=machine state=SUSPECT reason=\"the worker's "
                     "session has ended\"\n"),
            std::string::npos)
      << log;
}

// The coordinator of a command must not take work from a worker, which it refuses to serve.
TEST_F(CoreTest, NoLeaseEndsInAMomentaryCoordinator) {
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);
  const TaskFile task = sink->NextTask();
  core->Post(AttemptAccepted{.session = session, .attempt = task.attempt, .epoch = task.epoch});
  const auto state_of = [&] {
    AttemptState found = AttemptState::kOffered;
    EXPECT_TRUE(core->LookAndWait(
                        [&](const State& state) { found = state.attempts.at(task.attempt).state; })
                    .ok());
    return found;
  };
  ASSERT_EQ(state_of(), AttemptState::kAccepted);

  lease_ms = 100;
  is_momentary = true;
  Restart();
  AwaitTicks(3);
  EXPECT_EQ(state_of(), AttemptState::kAccepted);

  is_momentary = false;
  Restart();
  EXPECT_TRUE(WaitUntil(DeadlineMs(60'000), [&] { return state_of() == AttemptState::kLost; }));
}

// After a restore, the first service waits for the workers. A momentary coordinator, to which none
// can report, does not end that wait.
TEST_F(CoreTest, TheWaitAfterARestoreEndsInAServiceOnly) {
  core.reset();
  store.reset();
  {
    auto connection =
        Connection::Open(JoinPath(folder.path(), "longrun.db"), Connection::Mode::kWrite);
    ASSERT_TRUE(connection.ok());
    ASSERT_TRUE(PutMeta(**connection, kRestoredKey, "1").ok());
  }
  lease_ms = 100;
  is_momentary = true;
  Start();
  AwaitTicks(3);
  Restart();
  EXPECT_TRUE(store->RestoredWallMs().value().has_value());

  is_momentary = false;
  Restart();
  const std::int64_t deadline = BootMs() + DeadlineMs(60'000);
  bool is_waiting = true;
  while (is_waiting) {
    ASSERT_LT(BootMs(), deadline);
    ASSERT_TRUE(core->LookAndWait(
                        [&](const State& state) { is_waiting = BootMs() < state.place_not_before; })
                    .ok());
  }
  AwaitTicks(2);
  core.reset();
  EXPECT_FALSE(store->RestoredWallMs().value().has_value());
}

// Invariant I-5.
TEST_F(CoreTest, WhatWasAcknowledgedIsThereAfterARestart) {
  Upload("manifest");
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  SessionId session = Arrive(sink, 1);
  CarryOut(*sink, session);
  CarryOut(*sink, session);

  Restart();
  const auto next = std::make_shared<FakeSession>();
  session = Arrive(next, 1);
  CarryOut(*next, session);
  CarryOut(*next, session);

  EXPECT_EQ(SweepState(), "SUCCEEDED");
}

// What the last start of this database has listed goes when its time has come.
TEST_F(CoreTest, BytesThatLostTheirLastReferenceBeforeAStartGo) {
  const std::string sha256 = Sha256Hex("dropped");
  const std::string list_path = JoinPath(folder.path(), "dropped_artifacts.json");
  Upload("dropped");
  const std::int64_t may_go_at_ms = artifacts->Find(sha256).value().may_go_at_ms;
  const Json list = {{"database", Str(store->coordinator_id(), "/", store->Load()->restore_count)},
                     {"dropped", {{sha256, may_go_at_ms}}}};
  ASSERT_TRUE(WriteFileAtomic(list_path, CanonicalJson(list)).ok());
  later_ms = 3'600'000;
  Restart();
  EXPECT_TRUE(WaitUntil(DeadlineMs(60'000), [&] { return !artifacts->Find(sha256).ok(); }));
  EXPECT_TRUE(WaitUntil(DeadlineMs(60'000), [&] { return !PathExists(list_path); }));
}

// Invariant I-23.
TEST_F(CoreTest, ACheckpointWhoseBytesAreMissingIsNotTaken) {
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);
  const TaskFile task = sink->NextTask();
  core->Post(AttemptAccepted{.session = session, .attempt = task.attempt, .epoch = task.epoch});

  core->Post(JournalReceived{.session = session,
                             .attempt = task.attempt,
                             .epoch = task.epoch,
                             .first_seq = 1,
                             .records = SampleJournal(task)});

  // attempt, started and four points of the curve are taken; the checkpoint is record 7.
  EXPECT_EQ(sink->Next<NackMessage>().expected_seq, 7);
}

// Else the same offer would be made and withdrawn for ever, instead of other work.
TEST_F(CoreTest, AnAttemptWhoseCheckpointHasNoFilesInTheDatabaseEnds) {
  Upload("manifest");
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);
  CarryOut(*sink, session);
  core.reset();
  store.reset();
  ASSERT_TRUE(Connection::Open(JoinPath(folder.path(), "longrun.db"), Connection::Mode::kWrite)
                  .value()
                  ->Execute("DELETE FROM checkpoint_file")
                  .ok());
  Start();

  const auto next = std::make_shared<FakeSession>();
  Arrive(next, 2);

  std::string message;
  EXPECT_TRUE(WaitUntil(DeadlineMs(60'000), [&] {
    const Status looked = core->LookAndWait([&](const State& state) {
      for (const auto& [id, attempt] : state.attempts) {
        if (attempt.failure_class == "data") message = attempt.message;
      }
    });
    return looked.ok() && !message.empty();
  }));
  EXPECT_NE(message.find("cannot be read from the database: no checkpoint "), std::string::npos)
      << message;
}

// A needle at the largest lengths and at depths with all their digits, as many as a sweep may have.
TEST_F(CoreTest, TheLargestTaskFitsIntoAMessage) {
  Upload("manifest");
  constexpr std::int64_t kDepths = 99;
  constexpr std::int64_t kRows = kDepths + 1;  // the last is their mean
  std::string yaml = kSampleYaml;
  std::string lengths;
  for (std::int64_t i = 0; i < kTaskResultsMax / kRows; ++i) lengths += Str((1 << 24) - i, ",");
  const std::size_t begin = yaml.find("    - perplexity");
  yaml.replace(begin, std::string::npos,
               Str("    - needle: {context_lengths: [", lengths, "], depths: ", kDepths,
                   ", baseline: none}\n"));
  SweepSubmitted event = SampleSubmission(kSweepId);
  event.sweep = SampleSweep(yaml);
  EXPECT_TRUE(core->PostAndWait(event).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = core->AddSession(sink);
  Worker worker = SampleWorker(1);
  worker.slots[0].memory_bytes = std::int64_t{1} << 50;  // for such lengths
  core->Post(WorkerArrived{.session = session, .worker = std::move(worker), .attempts = {}});
  CarryOut(*sink, session);

  const auto start = sink->Next<StartMessage>();

  const TaskFile task = TaskFile::FromJson(ParseJson(start.task_json).value()).value();
  EXPECT_EQ(std::ssize(task.expected_cells), kTaskResultsMax);
  // The rest is room for the lists of files.
  EXPECT_LT(WireBytesMax(start), kSessionMessageBytesMax * 3 / 4);
}

// An earlier release accepted such sweeps.
TEST_F(CoreTest, ATaskThatIsTooLargeForAMessageFailsAndOthersGoOn) {
  Upload("manifest");
  SweepSubmitted event = SampleSubmission(kSweepId);
  const std::string large = event.sweep.runs[0].run_key;
  for (int i = 0; i < 80'000; ++i) {
    event.sweep.runs[0].evaluations[0].cells.push_back(
        {.cell = Sha256Hex(Str(i)), .metric = "nll", .context_length = 1000 + i});
  }
  EXPECT_TRUE(core->PostAndWait(event).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);

  std::vector<TaskFile> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(CarryOut(*sink, session));

  const auto is_small = [&](const TaskFile& task) {
    return task.kind == TaskKind::kTrain || task.run_key != large;
  };
  EXPECT_TRUE(std::ranges::all_of(tasks, is_small));
  EXPECT_TRUE(WaitUntil(DeadlineMs(60'000), [&] { return SweepState() == "PARTIAL"; }));
  EXPECT_TRUE(core->LookAndWait([&](const State& state) {
                    for (const auto& [id, task] : state.tasks) {
                      if (task.state == TaskState::kSucceeded) continue;
                      EXPECT_EQ(task.run_key, large);
                      EXPECT_EQ(task.state, TaskState::kFailed);
                      EXPECT_EQ(task.attempts, 1);
                      EXPECT_TRUE(std::regex_search(
                          task.reason,
                          std::regex("^invalid: its 80002 results take [0-9]{8} bytes, but a "
                                     "worker gets a task in one message of at most 8388608 bytes: "
                                     "measure fewer context lengths or depths, or divide ")))
                          << task.reason;
                    }
                  })
                  .ok());
}

// The worker keeps no copy, and trains again only where the store lacks the bytes.
TEST_F(CoreTest, DamagedFilesOfACheckpointThatCouldNotBeReadMakeWay) {
  Upload("manifest");
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);
  TaskFile task = CarryOut(*sink, session);
  while (task.kind == TaskKind::kTrain) task = sink->NextTask();
  const std::string sha256 = Sha256Hex("manifest");
  ASSERT_EQ(task.init->sha256, sha256);
  const std::string path = artifacts->Find(sha256)->path;
  ASSERT_TRUE(WriteFileAtomic(path, "manifesu").ok());
  ASSERT_TRUE(artifacts->Has(sha256));

  core->Post(AttemptRejected{.session = session,
                             .attempt = task.attempt,
                             .epoch = task.epoch,
                             .failure_class = "data",
                             .reason = "wrong SHA-256"});

  EXPECT_TRUE(WaitUntil(DeadlineMs(60'000), [&] { return !artifacts->Has(sha256); }));
  Upload("manifest");
  EXPECT_EQ(ReadFile(path).value(), "manifest");
}

class EarlierResultsTest : public CoreTest {
 protected:
  void SetUp() override {
    Upload("manifest");
    ASSERT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  }
  // Trains, and comes to the first evaluation.
  TaskFile ArriveAtEvaluation(std::set<std::string> capabilities) {
    Worker worker = SampleWorker(1);
    worker.capabilities = std::move(capabilities);
    session = core->AddSession(sink);
    core->Post(WorkerArrived{.session = session, .worker = std::move(worker), .attempts = {}});
    CarryOut(*sink, session);
    return sink->NextTask();
  }
  // Gives the first n_rows results, and then ends in this way.
  void End(const TaskFile& task, std::size_t n_rows, int exit_code,
           const std::string& sha256_of_file = "") {
    core->Post(AttemptAccepted{.session = session, .attempt = task.attempt, .epoch = task.epoch});
    const std::string path = JoinPath(folder.path(), task.attempt + ".jsonl");
    auto writer = JournalWriter::Create(path);
    EXPECT_TRUE(writer.ok());
    const auto append = [&](RecordKind kind, const Json& body) {
      EXPECT_TRUE(writer->Append(kind, body).ok());
    };
    append(RecordKind::kAttempt, {{"format", 1}, {"attempt", task.attempt}, {"task", task.task}});
    append(RecordKind::kStarted, {{"version", "0.1.0"}, {"steps", 64}});
    for (std::size_t i = 0; i < n_rows; ++i) {
      if (!sha256_of_file.empty()) {
        append(RecordKind::kArtifact, ArtifactRecord{.name = Str("map-", i),
                                                     .path = "artifacts/map",
                                                     .sha256 = sha256_of_file,
                                                     .n_bytes = 8}
                                          .ToJson());
      }
      append(RecordKind::kResult, SampleResult(task.expected_cells.at(i)));
    }
    std::vector<BatchRecord> journal;
    auto lines = JournalReader(path).Next(100, 1 << 20);
    ASSERT_TRUE(lines.ok());
    for (JournalReader::Line& line : *lines) {
      journal.push_back({.record = std::move(line.record),
                         .line = std::move(line.bytes),
                         .files_gone = true});  // unless the store has them
    }
    const auto n = static_cast<std::int64_t>(journal.size());
    core->Post(JournalReceived{.session = session,
                               .attempt = task.attempt,
                               .epoch = task.epoch,
                               .first_seq = 1,
                               .records = std::move(journal)});
    EXPECT_EQ(sink->Next<AckMessage>().durable_seq, n);
    AttemptFinished end = SampleEnd(task, n);
    end.session = session;
    end.evidence.exit_code = exit_code;
    end.evidence.stop_requested = exit_code == kYields;
    core->Post(end);
    EXPECT_TRUE(sink->Next<AckMessage>().ended);
  }
  // The same for one that stopped as it was asked to. Returns the offer that follows.
  TaskFile Interrupt(const TaskFile& task, std::size_t n_rows,
                     const std::string& sha256_of_file = "") {
    End(task, n_rows, kYields, sha256_of_file);
    return sink->NextTask();
  }

  // Of a core that has ended.
  std::vector<EarlierLines> Lines(const TaskFile& task, const EpochRange& epochs,
                                  std::int64_t n_bytes = 1 << 20) const {
    auto reader = StoreReader::Open(store->database_path());
    EXPECT_TRUE(reader.ok());
    auto earlier = (*reader)->EarlierLinesOf(task.task, epochs, n_bytes);
    EXPECT_TRUE(earlier.ok());
    return std::move(earlier).value();
  }

  static constexpr int kYields = 75;
  static constexpr int kDataExit = 65;
  const std::shared_ptr<FakeSession> sink = std::make_shared<FakeSession>();
  SessionId session = 0;
};

TEST_F(EarlierResultsTest, TheNextAttemptGetsWhatWasMeasured) {
  const TaskFile first = ArriveAtEvaluation({std::string(kEarlierResultsCapability)});
  ASSERT_EQ(first.expected_cells.size(), 2u);
  EXPECT_TRUE(first.earlier.empty());

  const TaskFile second = Interrupt(first, 1);

  ASSERT_EQ(second.task, first.task);
  EXPECT_EQ(second.expected_cells, first.expected_cells);
  ASSERT_EQ(second.earlier.size(), 1u);
  EXPECT_EQ(second.earlier[0].attempt, first.attempt);
  EXPECT_EQ(second.earlier[0].measured_with, Json({{"version", "0.1.0"}}));
  ASSERT_EQ(second.earlier[0].results.size(), 1u);
  EXPECT_EQ(second.earlier[0].results[0].row, SampleResult(first.expected_cells.front()));
  EXPECT_TRUE(second.earlier[0].results[0].artifacts.empty());

  // The newest row of a number is enough.
  const TaskFile third = Interrupt(second, 2);
  ASSERT_EQ(third.task, first.task);
  ASSERT_EQ(third.earlier.size(), 1u);
  EXPECT_EQ(third.earlier[0].attempt, second.attempt);
  EXPECT_EQ(third.earlier[0].results.size(), 2u);
}

// Its time is not that of the work.
TEST_F(EarlierResultsTest, ForecastsLeaveOutAnAttemptThatMayHaveTakenResultsOver) {
  const TaskFile first = ArriveAtEvaluation({std::string(kEarlierResultsCapability)});
  CarryOut(*sink, session, Interrupt(first, 1));
  CarryOut(*sink, session);
  CarryOut(*sink, session);
  EXPECT_EQ(SweepState(), "SUCCEEDED");
  const auto reader = StoreReader::Open(store->database_path());
  ASSERT_TRUE(reader.ok());
  const Result<std::vector<MeasuredRow>> measured = (*reader)->MeasuredTasks(100);
  ASSERT_TRUE(measured.ok()) << measured.status().message();
  EXPECT_EQ(std::ranges::count(*measured, "evaluate", &MeasuredRow::kind), 1);
  EXPECT_EQ(std::ranges::count(*measured, "train", &MeasuredRow::kind), 2);
}

TEST_F(EarlierResultsTest, AWorkerOfAnEarlierReleaseGetsNone) {
  const TaskFile first = ArriveAtEvaluation({});
  EXPECT_TRUE(Interrupt(first, 1).earlier.empty());
}

TEST_F(EarlierResultsTest, WhatAnAttemptMeasuredOnDamagedDataIsMeasuredAgain) {
  const TaskFile first = ArriveAtEvaluation({std::string(kEarlierResultsCapability)});
  End(first, 1, kDataExit);
  core.reset();
  EXPECT_TRUE(Lines(first, {.after = 0, .before = first.epoch + 1}).empty());
}

// While an evaluation is measured again, for example.
TEST_F(EarlierResultsTest, OnlyTheAttemptsOfTheseEpochsAreRead) {
  const TaskFile first = ArriveAtEvaluation({std::string(kEarlierResultsCapability)});
  const TaskFile second = Interrupt(first, 1);
  End(second, 1, kYields);
  core.reset();
  const auto attempts = [&](const EpochRange& epochs, std::int64_t n_bytes) {
    std::vector<std::string> found;
    for (const EarlierLines& one : Lines(first, epochs, n_bytes)) {
      if (!one.results.empty()) found.push_back(one.attempt);
    }
    return found;
  };
  using Ids = std::vector<std::string>;
  const std::uint64_t end = second.epoch + 1;
  EXPECT_EQ(attempts({.after = 0, .before = end}, 1 << 20), (Ids{second.attempt, first.attempt}));
  EXPECT_EQ(attempts({.after = 0, .before = second.epoch}, 1 << 20), (Ids{first.attempt}));
  EXPECT_EQ(attempts({.after = first.epoch, .before = end}, 1 << 20), (Ids{second.attempt}));
  EXPECT_EQ(attempts({.after = 0, .before = end}, 1), (Ids{second.attempt}));
}

TEST_F(EarlierResultsTest, TheFilesOfARowAreNamedWithIt) {
  const TaskFile first = ArriveAtEvaluation({std::string(kEarlierResultsCapability)});
  const TaskFile second = Interrupt(first, 2, Sha256Hex("manifest"));
  ASSERT_EQ(second.earlier.size(), 1u);
  ASSERT_EQ(second.earlier[0].results.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(second.earlier[0].results[i].artifacts.size(), 1u);
    EXPECT_EQ(second.earlier[0].results[i].artifacts[0].at("name"), Str("map-", i));
  }
}

// The files of a number whose row is gone belong to no other.
TEST_F(EarlierResultsTest, ARecordThatCannotBeReadTakesOnlyItsNumberAway) {
  const TaskFile first = ArriveAtEvaluation({std::string(kEarlierResultsCapability)});
  End(first, 2, kYields, Sha256Hex("manifest"));  // artifacts 3 and 5, results 4 and 6
  core.reset();
  const auto read = [&](const std::string& sql) {
    const auto connection =
        Connection::Open(store->database_path(), Connection::Mode::kWrite).value();
    EXPECT_TRUE(connection->Execute("BEGIN").ok());
    EXPECT_TRUE(connection->Execute(sql).ok());
    EXPECT_TRUE(connection->Execute("COMMIT").ok());
    const auto earlier = ReadEarlierResults(Lines(first, {.after = 0, .before = first.epoch + 1}),
                                            [](const ArtifactRecord&) { return true; });
    std::vector<std::int64_t> lengths;
    for (const EarlierResults& one : earlier) {
      for (const EarlierResult& result : one.results) {
        EXPECT_EQ(result.artifacts.size(), 1u);
        lengths.push_back(result.row.at("context_length").get<std::int64_t>());
      }
    }
    return lengths;
  };
  const std::int64_t length = first.expected_cells[0].context_length;
  const std::int64_t next = first.expected_cells[1].context_length;
  using Lengths = std::vector<std::int64_t>;
  EXPECT_EQ(read("SELECT 1"), (Lengths{length, next}));
  EXPECT_EQ(read("DELETE FROM artifact WHERE seq = 3"), (Lengths{next}));
  EXPECT_EQ(read("DELETE FROM result WHERE seq = 4"), (Lengths{}));
}

TEST_F(EarlierResultsTest, WhatHasLostAFileIsMeasuredAgain) {
  const TaskFile first = ArriveAtEvaluation({std::string(kEarlierResultsCapability)});
  Upload("the map1");
  const std::string sha256 = Sha256Hex("the map1");
  TaskFile task = Interrupt(first, 1, sha256);
  ASSERT_EQ(task.earlier.size(), 1u);
  // The next one gives what it got, and the file goes.
  ASSERT_TRUE(RemoveAll(artifacts->Find(sha256)->path).ok());
  task = Interrupt(task, 2, Sha256Hex("manifest"));
  ASSERT_EQ(task.earlier.size(), 1u);
  EXPECT_EQ(task.earlier[0].results.size(), 2u);

  // A file that never arrived.
  task = Interrupt(task, 2, Sha256Hex("elsewhere"));
  ASSERT_EQ(task.earlier.size(), 1u);
  EXPECT_NE(task.earlier[0].attempt, first.attempt);
  EXPECT_EQ(task.earlier[0].results[0].artifacts[0].at("sha256"), Sha256Hex("manifest"));
}

// An order for a worker names what it reads by digest; a path of this machine only crosses a unix
// socket.
class SourcesTest : public CoreTest {
 protected:
  SourcesTest() {
    const std::string text = JoinPath(folder.path(), "a.txt");
    EXPECT_TRUE(WriteFileAtomic(text, "some text").ok());
    EXPECT_TRUE(ImportText({.splits = {{"train", {text}}}}, data).ok());
    listing = ListDataset(data).value();
    DatasetInfo info = SampleDataset();
    info.digest = listing.digest;
    EXPECT_TRUE(core->RegisterDataset({.info = info, .folder = data}).ok());
    SweepSubmitted event = SampleSubmission(kSweepId);
    event.sweep = ParseSweep(kSampleYaml, "sample.yaml", {},
                             {.find = [=](const std::string&) { return std::optional(info); },
                              .names = {"toy"}})
                      .value();
    event.dataset_paths["toy"] = data;
    EXPECT_TRUE(core->PostAndWait(event).status.ok());
  }
  StartMessage StartFor(std::set<std::string> capabilities, bool over_network) {
    Worker worker = SampleWorker(1);
    worker.capabilities = std::move(capabilities);
    worker.over_network = over_network;
    core->Post(WorkerArrived{
        .session = core->AddSession(sink), .worker = std::move(worker), .attempts = {}});
    return sink->Next<StartMessage>();
  }

  // The dataset's folder is on a disk that does not answer until the test lets it.
  struct SilentFolder {
    std::promise<void> asked, answers;
    std::shared_future<void> answer = answers.get_future().share();
    std::atomic<int> n_asked = 0;
  };
  // A worker arrives, and the folder is asked for what its task reads.
  SessionId ArriveBeside(SilentFolder& silent) {
    list_dataset = [&silent](const std::string& path) {
      if (++silent.n_asked == 1) silent.asked.set_value();
      silent.answer.wait();
      return ListDataset(path);
    };
    Restart();
    Worker worker = SampleWorker(1);
    worker.capabilities = {std::string(kDatasetsCapability)};
    const SessionId session = core->AddSession(sink);
    core->Post(WorkerArrived{.session = session, .worker = std::move(worker), .attempts = {}});
    silent.asked.get_future().wait();
    return session;
  }

  const std::string data = JoinPath(folder.path(), "data");
  DatasetListing listing;
  const std::shared_ptr<FakeSession> sink = std::make_shared<FakeSession>();
};

TEST_F(SourcesTest, NoPathCrossesTheNetwork) {
  const StartMessage start = StartFor({std::string(kDatasetsCapability)}, true);
  ASSERT_EQ(start.datasets.size(), 1u);
  EXPECT_EQ(start.datasets[0].digest, listing.digest);
  EXPECT_EQ(start.datasets[0].files, listing.files);
  EXPECT_EQ(start.datasets[0].problem, "");
  EXPECT_EQ(start.datasets[0].folder, "");
  EXPECT_EQ(start.dataset_path, "");
  EXPECT_EQ(start.task_json.find(folder.path()), std::string::npos) << start.task_json;
}

TEST_F(SourcesTest, AWorkerOnAUnixSocketIsToldTheFolderToo) {
  const StartMessage start = StartFor({std::string(kDatasetsCapability)}, false);
  ASSERT_EQ(start.datasets.size(), 1u);
  EXPECT_EQ(start.datasets[0].files, listing.files);
  EXPECT_EQ(start.datasets[0].folder, data);
}

TEST_F(SourcesTest, AnOlderWorkerOnAUnixSocketGetsThePathThatItKnows) {
  const StartMessage start = StartFor({}, false);
  EXPECT_TRUE(start.datasets.empty());
  EXPECT_EQ(start.dataset_path, data);
}

TEST_F(SourcesTest, WhyADatasetCannotBeSentIsSaidWithoutAPathOverTheNetwork) {
  ASSERT_TRUE(RemoveAll(data).ok());
  const StartMessage start = StartFor({std::string(kDatasetsCapability)}, true);
  ASSERT_EQ(start.datasets.size(), 1u);
  EXPECT_TRUE(start.datasets[0].files.empty());
  EXPECT_NE(start.datasets[0].problem.find("longrun data verify"), std::string::npos)
      << start.datasets[0].problem;
  EXPECT_EQ(start.datasets[0].problem.find(folder.path()), std::string::npos)
      << start.datasets[0].problem;
}

TEST_F(SourcesTest, WhyADatasetCannotBeSentIsSaid) {
  ASSERT_TRUE(RemoveAll(data).ok());
  const StartMessage start = StartFor({std::string(kDatasetsCapability)}, false);
  ASSERT_EQ(start.datasets.size(), 1u);
  EXPECT_NE(start.datasets[0].problem.find("holds no dataset.json"), std::string::npos)
      << start.datasets[0].problem;
}

TEST_F(SourcesTest, AFolderThatDoesNotAnswerHoldsUpOnlyTheOffersThatReadIt) {
  SilentFolder folder_of_data;
  const SessionId session = ArriveBeside(folder_of_data);

  for (int i = 1; i <= 3; ++i) {
    core->Post(WorkerHeard{.session = session, .number = i, .attempts = {}});
    EXPECT_EQ(sink->Next<HeartbeatReplyMessage>().number, i);
  }
  EXPECT_EQ(SweepState(), "RUNNING");
  EXPECT_EQ(folder_of_data.n_asked, 1);
  folder_of_data.answers.set_value();
  EXPECT_EQ(sink->Next<StartMessage>().datasets.at(0).files, listing.files);
}

TEST_F(SourcesTest, AnOfferThatEndedWhileItsFolderDidNotAnswerIsNotSent) {
  SilentFolder folder_of_data;
  const SessionId session = ArriveBeside(folder_of_data);
  std::string first;
  ASSERT_TRUE(
      core->LookAndWait([&](const State& state) { first = *state.index.live.begin(); }).ok());
  // It is withdrawn, and a second one is made.
  core->Post(AttemptRejected{.session = session,
                             .attempt = first,
                             .epoch = 1,
                             .failure_class = "",
                             .reason = "the worker has lost it"});
  const auto is_new = [&] {
    std::string live;
    EXPECT_TRUE(core->LookAndWait([&](const State& state) {
                      if (!state.index.live.empty()) live = *state.index.live.begin();
                    })
                    .ok());
    return !live.empty() && live != first;
  };
  const std::int64_t end_ms = BootMs() + DeadlineMs(60'000);
  while (!is_new() && BootMs() < end_ms) core->Post(TimePassed{});
  EXPECT_TRUE(is_new());
  folder_of_data.answers.set_value();
  EXPECT_NE(sink->Next<StartMessage>().attempt, first);
}

TEST_F(CoreTest, ASubmissionIsDurableBeforeItIsAnswered) {
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());

  Restart();

  EXPECT_EQ(SweepState(), "PENDING");
}

TEST_F(CoreTest, ARegisteredDatasetIsKnownAtOnceAndAfterARestart) {
  const DatasetRow dataset{.info = SampleDataset(), .folder = "/data/toy"};

  EXPECT_FALSE(core->RegisterDataset(dataset).value());

  ASSERT_EQ(core->datasets().size(), 1u);
  Restart();
  ASSERT_EQ(core->datasets().size(), 1u);
  EXPECT_EQ(core->datasets().front().info.digest, SampleDataset().digest);
}

TEST_F(CoreTest, ANameThatIsRegisteredAgainRefersToTheNewFolder) {
  DatasetRow dataset{.info = SampleDataset(), .folder = "/data/toy"};
  EXPECT_FALSE(core->RegisterDataset(dataset).value());

  dataset.folder = "/data/moved";
  EXPECT_FALSE(core->RegisterDataset(dataset).value());
  dataset.info.digest = Sha256Hex("other content");
  EXPECT_TRUE(core->RegisterDataset(dataset).value());

  ASSERT_EQ(core->datasets().size(), 1u);
  EXPECT_EQ(core->datasets().front().folder, "/data/moved");
  EXPECT_EQ(core->datasets().front().info.digest, dataset.info.digest);
}

TEST_F(CoreTest, DatasetsAreListedByNameWithoutRemovedOnes) {
  for (const char* name : {"b", "c", "a"}) {
    DatasetRow dataset{.info = SampleDataset(), .folder = "/data/toy"};
    dataset.info.name = name;
    ASSERT_FALSE(core->RegisterDataset(dataset).value());
  }

  ASSERT_TRUE(core->RemoveDataset("b").ok());
  ASSERT_TRUE(core->RemoveDataset("not there").ok());

  ASSERT_EQ(core->datasets().size(), 2u);
  EXPECT_EQ(core->datasets().front().info.name, "a");
  EXPECT_EQ(core->datasets().back().info.name, "c");
}

TEST_F(CoreTest, ARefusedModelIsAnAnswerAndTheCoreGoesOn) {
  const ModelRow model{.name = "toy",
                       .digest = Sha256Hex("one"),
                       .config_json = "{}",
                       .source = "/models/toy",
                       .n_bytes = 1,
                       .imported_wall_ms = 1};
  const std::vector<ArtifactFile> files = {
      {.name = "config.json", .sha256 = Sha256Hex("config"), .n_bytes = 1}};
  EXPECT_TRUE(core->RegisterModel(model, files).value());
  EXPECT_FALSE(core->RegisterModel(model, files).value());  // the name has it already

  ModelRow other = model;
  other.digest = Sha256Hex("another");
  EXPECT_EQ(core->RegisterModel(other, files).status().code(), Code::kAlreadyExists);
  EXPECT_EQ(core->RemoveModel("not there").status().code(), Code::kNotFound);

  ASSERT_EQ(core->models().size(), 1u);
  EXPECT_EQ(core->models().front().digest, model.digest);
  EXPECT_TRUE(core->RemoveModel("toy").value());  // nothing else refers to its bytes
  EXPECT_TRUE(core->models().empty());
}

DatasetRow DatasetOf(const std::string& owner, const std::string& name, std::int64_t n_bytes) {
  DatasetRow row{.info = SampleDataset(),
                 .folder = Str("/data/", name),
                 .owner = owner,
                 .owner_bytes = n_bytes};
  row.info.name = name;
  return row;
}

ModelRow ModelOf(const std::string& owner, const std::string& name, const std::string& content,
                 std::int64_t n_bytes) {
  return {.name = name,
          .digest = Sha256Hex(content),
          .config_json = "{}",
          .source = "",
          .n_bytes = n_bytes,
          .imported_wall_ms = 1,
          .owner = owner};
}

TEST_F(CoreTest, WhatOneOwnerStoresIsLimitedUntilSomethingIsRemovedAndOthersAreNotDisturbed) {
  EXPECT_FALSE(core->RegisterDataset(DatasetOf("ada", "words", 60), 100).value());
  EXPECT_TRUE(core->RegisterModel(ModelOf("ada", "small", "s", 30), {}, 100).value());

  const Status model = core->RegisterModel(ModelOf("ada", "large", "l", 11), {}, 100).status();
  EXPECT_EQ(model.code(), Code::kResourceExhausted);
  EXPECT_EQ(model.message(),
            "model \"large\" has 11 bytes, in addition to the 90 bytes that ada has (60 in "
            "datasets, 30 in models); the datasets and models of one owner may take 100 bytes "
            "(--registered-bytes of longrun-coordinator): remove those that you do not need "
            "(`longrun data rm`, `longrun models rm`), or ask for a higher limit");
  EXPECT_EQ(core->RegisterDataset(DatasetOf("ada", "books", 11), 100).status().code(),
            Code::kResourceExhausted);
  EXPECT_FALSE(core->RegisterDataset(DatasetOf("ben", "poems", 100), 100).value());

  Restart();
  ASSERT_EQ(core->datasets().size(), 2u);
  EXPECT_EQ(core->datasets()[0].owner, "ben");
  EXPECT_EQ(core->datasets()[1].owner, "ada");
  EXPECT_EQ(core->datasets()[1].owner_bytes, 60);
  ASSERT_EQ(core->models().size(), 1u);
  EXPECT_EQ(core->models()[0].owner, "ada");
  EXPECT_EQ(core->RegisterDataset(DatasetOf("ada", "books", 11), 100).status().code(),
            Code::kResourceExhausted);
  EXPECT_FALSE(core->RegisterDataset(DatasetOf("ada", "books", 10), 100).value());

  ASSERT_TRUE(core->RemoveDataset("words").ok());
  EXPECT_TRUE(core->RegisterModel(ModelOf("ada", "large", "l", 60), {}, 100).value());
  EXPECT_EQ(core->RegisterDataset(DatasetOf("ada", "more", 1), 100).status().code(),
            Code::kResourceExhausted);
  EXPECT_TRUE(core->RemoveModel("small").value());
  EXPECT_FALSE(core->RegisterDataset(DatasetOf("ada", "more", 30), 100).value());
}

TEST_F(CoreTest, AModelUnderTwoNamesCountsOnceForEachOwner) {
  EXPECT_TRUE(core->RegisterModel(ModelOf("ada", "one", "same", 100), {}, 100).value());
  EXPECT_TRUE(core->RegisterModel(ModelOf("ada", "two", "same", 100), {}, 100).value());
  // Below what she has: only what is new is refused.
  EXPECT_FALSE(core->RegisterModel(ModelOf("ada", "one", "same", 100), {}, 50).value());
  EXPECT_EQ(core->RegisterModel(ModelOf("ben", "three", "same", 100), {}, 99).status().code(),
            Code::kResourceExhausted);
  EXPECT_TRUE(core->RegisterModel(ModelOf("ben", "three", "same", 100), {}, 100).value());

  // Neither the other name of hers nor that of another owner makes it go, or stops a removal.
  EXPECT_FALSE(core->RemoveModel("one", ModelBytes::kMustGo).value());
  EXPECT_EQ(core->RegisterDataset(DatasetOf("ada", "words", 1), 100).status().code(),
            Code::kResourceExhausted);
  EXPECT_FALSE(core->RemoveModel("two", ModelBytes::kMustGo).value());
  EXPECT_FALSE(core->RegisterDataset(DatasetOf("ada", "words", 100), 100).value());
  EXPECT_TRUE(core->RemoveModel("three", ModelBytes::kMustGo).value());
}

TEST_F(CoreTest, ADatasetThatIsRegisteredAgainStaysItsOwnersUnlessItIsAnotherOne) {
  DatasetRow dataset = DatasetOf("ada", "words", 60);
  EXPECT_FALSE(core->RegisterDataset(dataset, 100).value());

  dataset.owner = "operator";
  dataset.owner_bytes = 0;
  EXPECT_FALSE(core->RegisterDataset(dataset).value());
  EXPECT_EQ(core->datasets()[0].owner, "ada");
  EXPECT_EQ(core->datasets()[0].owner_bytes, 60);

  dataset.folder = "/data/elsewhere";
  EXPECT_FALSE(core->RegisterDataset(dataset).value());
  EXPECT_EQ(core->datasets()[0].owner, "operator");
  EXPECT_FALSE(core->RegisterDataset(DatasetOf("ada", "books", 100), 100).value());
}

TEST_F(CoreTest, BelowTheLowWaterMarkTheDiskIsSaidToBeFull) {
  disk_low_water_bytes = std::numeric_limits<std::int64_t>::max();
  Restart();

  EXPECT_EQ(core->CheckDiskSpace().code(), Code::kResourceExhausted);
  EXPECT_EQ(core->RegisterDataset({.info = SampleDataset(), .folder = "/data/toy"}).status().code(),
            Code::kResourceExhausted);
}

// The fake journals say 2.5 nats a token for every cell: exp(2.5) = 12.1825.
TEST_F(CoreTest, PerplexitiesOfASweepThatAsksForItAreOnThePage) {
  Upload("manifest");
  const auto exports = std::make_unique<ResultExports>(store->database_path());
  SweepSubmitted submission = SampleSubmission(kSweepId);
  std::string yaml = kSampleYaml;
  yaml.replace(yaml.find("{name: sample}"), 14, "{name: sample, export: prometheus}");
  submission.sweep = SampleSweep(yaml);
  EXPECT_TRUE(core->PostAndWait(submission).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);
  exports->Refresh(*metrics);
  EXPECT_EQ(metrics->Page().find("longrun_result_ppl{"), std::string::npos);

  for (int i = 0; i < 4; ++i) CarryOut(*sink, session);
  exports->Refresh(*metrics);

  const std::string page = metrics->Page();
  for (const char* method : {"alibi", "rope"}) {
    for (const char* length : {"64", "128"}) {
      EXPECT_NE(page.find(Str(
                    "longrun_result_ppl{context_length=\"", length,
                    "\",dataset=\"toy\",evaluation=\"nonoverlap\",method=\"", method,
                    "\",protocol=\"nonoverlap\",split=\"validation\",stage=\"\",sweep=\"sample\","
                    "train_length=\"64\"} 12.182")),
                std::string::npos)
          << page;
    }
  }
  EXPECT_NE(page.find("\nlongrun_result_series_left_out 0\n"), std::string::npos);

  // The newest of its name does not ask: nothing is shown any more.
  SweepSubmitted silent = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
  EXPECT_TRUE(core->PostAndWait(silent).status.ok());
  exports->Refresh(*metrics);
  EXPECT_EQ(metrics->Page().find("longrun_result_ppl{"), std::string::npos);
}

// Of one protocol with two settings, and of one that scores two numbers of tokens,
// each has a series.
TEST_F(CoreTest, PerplexitiesOfTwoSettingsOfAProtocolAreTwoSeries) {
  Upload("manifest");
  const auto exports = std::make_unique<ResultExports>(store->database_path());
  SweepSubmitted submission = SampleSubmission(kSweepId);
  std::string yaml = kSampleYaml;
  yaml.replace(yaml.find("{name: sample}"), 14, "{name: sample, export: prometheus}");
  yaml.replace(yaml.find("[alibi, rope]"), 13, "[alibi]");
  const std::size_t evaluation = yaml.find("    - perplexity");
  yaml.replace(evaluation, std::string::npos,
               "    - perplexity: {context_lengths: [64], protocol: sliding_bos, stride: 16}\n"
               "    - perplexity: {context_lengths: [64], protocol: sliding_bos, stride: 32}\n"
               "    - perplexity: {context_lengths: [64], score_tokens: 1024}\n"
               "    - perplexity: {context_lengths: [64], score_tokens: 2048}\n");
  submission.sweep = SampleSweep(yaml);
  EXPECT_TRUE(core->PostAndWait(submission).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);

  for (int i = 0; i < 5; ++i) CarryOut(*sink, session);
  exports->Refresh(*metrics);

  const std::string page = metrics->Page();
  for (const char* label : {"sliding_bos(stride=16)", "sliding_bos(stride=32)",
                            "nonoverlap(score_tokens=1024)", "nonoverlap(score_tokens=2048)"}) {
    EXPECT_NE(page.find(Str("evaluation=\"", label, "\"")), std::string::npos) << page;
  }
}

// A stage trains its base further: their perplexities are not averaged.
TEST_F(CoreTest, PerplexitiesOfABaseAndItsStageAreTwoSeries) {
  Upload("manifest");
  const auto exports = std::make_unique<ResultExports>(store->database_path());
  SweepSubmitted submission = SampleSubmission(kSweepId);
  std::string yaml = Str(kSampleYaml, "  stages: [{name: long, train: {tokens: 8192}}]\n");
  yaml.replace(yaml.find("{name: sample}"), 14, "{name: sample, export: prometheus}");
  yaml.replace(yaml.find("[alibi, rope]"), 13, "[alibi]");
  submission.sweep = SampleSweep(yaml);
  EXPECT_TRUE(core->PostAndWait(submission).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);

  for (int i = 0; i < 4; ++i) CarryOut(*sink, session);
  exports->Refresh(*metrics);

  const std::string page = metrics->Page();
  for (const char* stage : {"base", "long"}) {
    EXPECT_NE(page.find(Str("longrun_result_ppl{context_length=\"64\",dataset=\"toy\","
                            "evaluation=\"nonoverlap\",method=\"alibi\",protocol=\"nonoverlap\","
                            "split=\"validation\",stage=\"",
                            stage, "\",sweep=\"sample\",train_length=\"64\"} 12.182")),
              std::string::npos)
        << page;
  }
}

// Under a name of their own: they are no perplexities.
TEST_F(CoreTest, PseudoPerplexitiesAreSeriesOfTheirOwn) {
  Upload("manifest");
  const auto exports = std::make_unique<ResultExports>(store->database_path());
  SweepSubmitted submission = SampleSubmission(kSweepId);
  std::string yaml = kSampleYaml;
  const auto replace = [&](std::string_view from, std::string_view to) {
    yaml.replace(yaml.find(from), from.size(), to);
  };
  replace("{name: sample}", "{name: sample, export: prometheus}");
  replace("size: micro}", "size: micro, causal: false}");
  replace("[alibi, rope]", "[rope]");
  replace("precision: fp32}", "precision: fp32, objective: masked_lm}");
  yaml.erase(yaml.find("    - perplexity"));
  submission.sweep =
      SampleSweep(yaml + "    - pseudo_perplexity: {context_lengths: [64], score_tokens: 100}\n");
  EXPECT_TRUE(core->PostAndWait(submission).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);

  for (int i = 0; i < 2; ++i) CarryOut(*sink, session);
  exports->Refresh(*metrics);

  const std::string page = metrics->Page();
  EXPECT_NE(page.find("longrun_result_pseudo_ppl{context_length=\"64\",dataset=\"toy\","
                      "evaluation=\"pll\",method=\"rope\""),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("} 12.182"), std::string::npos);  // e^2.5
  EXPECT_EQ(page.find("longrun_result_ppl{"), std::string::npos);
}

// As a peer that means ill may say it: what is counted from it stays a time that has passed.
TEST_F(CoreTest, ARecordFromBeforeAllTimeIsVeryLate) {
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);
  const TaskFile task = sink->NextTask();
  std::vector<BatchRecord> records = {SampleJournal(task).front()};
  records.front().record.t_ms = std::numeric_limits<std::int64_t>::min();

  EXPECT_TRUE(core->PostAndWait(JournalReceived{.session = session,
                                                .attempt = task.attempt,
                                                .epoch = task.epoch,
                                                .first_seq = 1,
                                                .records = std::move(records)})
                  .status.ok());

  const std::string page = metrics->Page();
  const std::string name = "\nlongrun_ingest_lag_seconds_sum ";
  const std::size_t at = page.find(name);
  ASSERT_NE(at, std::string::npos) << page;
  EXPECT_GT(std::stod(page.substr(at + name.size())), 9.2e15);  // 2^63 ms are 9.22e15 s
}

TEST_F(CoreTest, WhatTasksAndAttemptsDidIsOnThePage) {
  Upload("manifest");
  EXPECT_TRUE(core->PostAndWait(SampleSubmission(kSweepId)).status.ok());
  const auto sink = std::make_shared<FakeSession>();
  const SessionId session = Arrive(sink, 1);

  for (int i = 0; i < 4; ++i) CarryOut(*sink, session);

  const std::string page = metrics->Page();
  for (const char* line :
       {"longrun_task_transitions_total{from=\"RESERVED\",to=\"RUNNING\"} 4",
        "longrun_task_queue_seconds_count{kind=\"train\"} 2",
        "longrun_task_queue_seconds_count{kind=\"evaluate\"} 2",
        "longrun_schedule_latency_seconds_count{kind=\"train\"} 2",
        "longrun_ingest_rows_total{kind=\"result\"} 4", "longrun_ingest_lag_seconds_count 4",
        "longrun_lease_expirations_total 0"}) {
    EXPECT_NE(page.find(Str("\n", line, "\n")), std::string::npos) << line << "\n" << page;
  }
}

TEST(MetricsTest, SeriesBeyondTheLimitAreLeftOutAndCounted) {
  Metrics metrics;
  std::vector<ResultSeries> series(Metrics::kResultSeriesMax + 3);
  for (std::size_t i = 0; i < series.size(); ++i) series[i].context_length = Str(i);
  series[0].is_pseudo = true;  // both kinds together

  metrics.SetResults(series);

  const std::string page = metrics.Page();
  EXPECT_NE(page.find("context_length=\"9999\""), std::string::npos);
  EXPECT_EQ(page.find("context_length=\"10000\""), std::string::npos);
  EXPECT_NE(page.find("\nlongrun_result_series_left_out 3\n"), std::string::npos);
}

TEST(StageLabelTest, OnlySweepsWithStagesHaveOne) {
  EXPECT_EQ(StageLabel(R"({"position":"rope","seed":1,"stage":"pose"})"), "pose");
  EXPECT_EQ(StageLabel(R"({"position":"rope","seed":1})"), "");
  EXPECT_EQ(StageLabel("null"), "");
}

TEST(MethodLabelTest, ParametersStandInBrackets) {
  EXPECT_EQ(MethodLabel(R"({"position":"rope","seed":1})"), "rope");
  EXPECT_EQ(MethodLabel(R"({"position":{"method":"rope","theta":500000}})"), "rope(theta=500000)");
  EXPECT_EQ(MethodLabel(R"({"position":{"method":"rope"}})"), "rope");
  EXPECT_EQ(MethodLabel("{}"), "");
}

TEST_F(CoreTest, WhatIsCommittedIntoADeletedStateFolderIsNotAnswered) {
  std::promise<Status> fatal;
  on_fatal = [&](const Status& status) { fatal.set_value(status); };
  Restart();
  std::atomic<bool> is_answered = false;

  ASSERT_TRUE(RemoveAll(folder.path()).ok());
  core->Post(SampleSubmission(kSweepId), [&](const StepResult&) { is_answered = true; });

  std::future<Status> ended = fatal.get_future();
  ASSERT_EQ(ended.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const Status status = ended.get();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find(Str("the state folder ", folder.path(), " was deleted")),
            std::string::npos)
      << status.message();
  core->Stop();
  EXPECT_FALSE(is_answered);
  EXPECT_FALSE(PathExists(folder.path()));
}

TEST_F(CoreTest, AMovedStateFolderIsNoticedWhileNothingIsToBeDone) {
  std::promise<Status> fatal;
  on_fatal = [&](const Status& status) { fatal.set_value(status); };
  Restart();
  const TempFolder elsewhere;
  const std::string moved = JoinPath(elsewhere.path(), "state");

  ASSERT_TRUE(RenameSync(folder.path(), moved).ok());

  std::future<Status> ended = fatal.get_future();
  ASSERT_EQ(ended.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const Status status = ended.get();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find(Str("is now at ", moved)), std::string::npos) << status.message();
}

TEST_F(CoreTest, ARemovedFolderOfArtifactsIsNoticed) {
  std::promise<Status> fatal;
  on_fatal = [&](const Status& status) { fatal.set_value(status); };
  Restart();
  const std::string path = JoinPath(folder.path(), "artifacts");

  ASSERT_TRUE(RemoveAll(path).ok());

  std::future<Status> ended = fatal.get_future();
  ASSERT_EQ(ended.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const Status status = ended.get();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find(Str("the folder ", path, " was deleted")), std::string::npos)
      << status.message();
}

// A core whose store fails, which ends the process unless it is a test's.
class FailingCoreTest : public CoreTest {
 protected:
  FailingCoreTest() {
    on_fatal = [](const Status&) {};
    Restart();
  }
  // The code with which the call is answered; kOk if it still waits.
  template <typename Call>
  static Code Answer(Call call) {
    const auto answered = std::make_shared<std::promise<Code>>();
    std::future<Code> answer = answered->get_future();
    std::thread([answered, call] { answered->set_value(call()); }).detach();
    const auto wait = std::chrono::milliseconds(DeadlineMs(10'000));
    if (answer.wait_for(wait) == std::future_status::ready) return answer.get();
    ADD_FAILURE() << "the caller waits for ever";
    return Code::kOk;
  }
  // Of a submission, of which the third cannot be stored: SQLite has the row of its run already.
  static std::vector<SweepSubmitted> Parts() {
    SweepSubmitted event = SampleSubmission(kSweepId);
    event.sweep = SampleSweep(
        std::regex_replace(std::string(kSampleYaml), std::regex("seed: \\[1\\]"), "seed: [1, 2]"));
    std::vector<SweepSubmitted> parts = InParts(event, 1);
    EXPECT_EQ(parts.size(), 4u);
    parts[2].part->first_run = 1;
    return parts;
  }
};

TEST_F(CoreTest, NeitherTheCoreNorTheCallerIsLeftWithTheTablesOfASubmissionInParts) {
  const StepResult result = core->SubmitInParts(InParts(SampleSubmission(kSweepId), 1));
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.submit.runs_new, 2);
  EXPECT_EQ(result.leftover, nullptr);
}

TEST_F(FailingCoreTest, ASubmissionIsAnsweredIfOneOfItsPartsCannotBeStored) {
  EXPECT_EQ(Answer([&] { return core->SubmitInParts(Parts()).status.code(); }), Code::kUnavailable);
}

TEST_F(FailingCoreTest, AnEventThatCannotBeStoredIsAnswered) {
  const std::vector<SweepSubmitted> parts = Parts();
  ASSERT_TRUE(core->PostAndWait(parts[0]).status.ok());
  ASSERT_TRUE(core->PostAndWait(parts[1]).status.ok());

  EXPECT_EQ(Answer([&] { return core->PostAndWait(parts[2]).status.code(); }), Code::kUnavailable);
}

TEST_F(FailingCoreTest, AWriteThatFailsIsAnswered) {
  const auto write = [](Store&) { return Status(Code::kInternal, "as in a broken database"); };
  EXPECT_EQ(Answer([&] { return core->Write(write).code(); }), Code::kUnavailable);
}

TEST_F(CoreTest, AfterItsStopNothingWaitsForEver) {
  core->Stop();

  EXPECT_EQ(core->PostAndWait(SampleSubmission(kSweepId)).status.code(), Code::kUnavailable);
  EXPECT_EQ(core->LookAndWait([](const State&) {}).code(), Code::kUnavailable);
}

}  // namespace
}  // namespace longrun::coordinator
