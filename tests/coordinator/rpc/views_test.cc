// What a watcher is shown of a training that is under way, what is said of refused workers, and
// what a caller on another machine is not told.
#include "coordinator/rpc/views.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/rpc/call.h"
#include "coordinator/rpc/models.h"
#include "coordinator/rpc/reasons.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

class SweepViewTest : public testing::Test {
 protected:
  SweepViewTest() {
    EXPECT_TRUE(core_->PostAndWait(SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVRZ")).status.ok());
  }

  // The first offer of the sample's sweep, which its worker takes.
  TaskFile Begin() {
    const StepResult arrived = core_->PostAndWait(
        WorkerArrived{.session = kSession, .worker = SampleWorker(1), .attempts = {}});
    TaskFile task;
    for (const Command& command : arrived.commands) {
      if (const auto* start = std::get_if<SendStart>(&command)) task = start->task;
    }
    EXPECT_FALSE(task.attempt.empty()) << "nothing was offered";
    core_->PostAndWait(
        AttemptAccepted{.session = kSession, .attempt = task.attempt, .epoch = task.epoch});
    return task;
  }
  // The next records of its journal.
  struct Entry {
    RecordKind kind;
    Json body;
    std::optional<std::int64_t> step = {};
  };
  void Receive(const TaskFile& task, const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
      ASSERT_TRUE(writer_.Append(entry.kind, entry.body, entry.step).ok());
    }
    auto lines = reader_.Next(1000, 1 << 20);
    ASSERT_TRUE(lines.ok() && lines->size() == entries.size());
    JournalReceived event = {.session = kSession,
                             .attempt = task.attempt,
                             .epoch = task.epoch,
                             .first_seq = lines->front().record.seq,
                             .records = {}};
    for (auto& line : *lines) {
      event.records.push_back({.record = std::move(line.record), .line = std::move(line.bytes)});
    }
    core_->PostAndWait(std::move(event));
  }
  v1::TaskInfo InfoOf(const TaskFile& task) {
    v1::WatchSweepResponse message;
    EXPECT_TRUE(view_.Fill(*store_reader_, &message).ok());
    for (const v1::RunInfo& run : message.runs()) {
      for (const v1::TaskInfo& info : run.tasks()) {
        if (info.task() == task.task) return info;
      }
    }
    ADD_FAILURE() << "the task is not shown";
    return {};
  }
  v1::TaskProgress ProgressOf(const TaskFile& task) { return InfoOf(task).progress(); }

  static constexpr SessionId kSession = 1;
  const TempFolder folder_;
  const std::string journal_ = JoinPath(folder_.path(), "journal.jsonl");
  JournalWriter writer_ = JournalWriter::Create(journal_).value();
  JournalReader reader_{journal_};
  const std::unique_ptr<Store> store_ = Store::Open(JoinPath(folder_.path(), "state")).value();
  const std::unique_ptr<ArtifactStore> artifacts_ =
      ArtifactStore::Open({.folder = JoinPath(folder_.path(), "artifacts")}).value();
  Metrics metrics_;
  const std::unique_ptr<Core> core_ = Core::Start(*store_, *artifacts_, metrics_, {}).value();
  const std::unique_ptr<StoreReader> store_reader_ =
      StoreReader::Open(store_->database_path()).value();
  SweepView view_{*core_, SweepRow{.id = "01BX5ZZKBKACTAV9WEVGEMMVRZ", .name = "sample"},
                  SweepView::Durations::kOfEndedOnly, SweepView::Losses::kShown};
};

// Trainers report a loss at each step, and their progress once a second.
TEST_F(SweepViewTest, TheStepOfATrainingIsThatOfItsLoss) {
  const TaskFile task = Begin();
  Receive(task,
          {{RecordKind::kAttempt, {{"format", 1}, {"attempt", task.attempt}, {"task", task.task}}},
           {RecordKind::kStarted, {{"version", "0.1.0"}, {"steps", 64}}},
           {RecordKind::kSeries, {{"loss", 3.0}}, 1},
           {RecordKind::kProgress, {{"phase", "train"}, {"done", 1}, {"of", 64}}, 1},
           {RecordKind::kSeries, {{"loss", 2.5}}, 2},
           {RecordKind::kSeries, {{"loss", 2.25}}, 3}});
  v1::TaskProgress progress = ProgressOf(task);
  EXPECT_EQ(progress.done(), 3);
  EXPECT_EQ(progress.of(), 64);
  EXPECT_EQ(progress.loss(), 2.25);

  // Other phases count something else.
  Receive(task, {{RecordKind::kProgress, {{"phase", "validate"}, {"done", 7}, {"of", 9}}, 3}});
  progress = ProgressOf(task);
  EXPECT_EQ(progress.done(), 7);
  EXPECT_EQ(progress.loss(), 2.25);
}

// `longrun why` says the same.
TEST_F(SweepViewTest, ATaskSaysAtOnceThatItsWorkersConnectionHasEnded) {
  const TaskFile task = Begin();
  Receive(task,
          {{RecordKind::kAttempt, {{"format", 1}, {"attempt", task.attempt}, {"task", task.task}}},
           {RecordKind::kStarted, {{"version", "0.1.0"}, {"steps", 64}}},
           {RecordKind::kProgress, {{"phase", "train"}, {"done", 1}, {"of", 64}}, 1}});
  ASSERT_EQ(ProgressOf(task).phase(), "train");

  core_->PostAndWait(WorkerGone{.session = kSession});

  const v1::TaskInfo info = InfoOf(task);
  EXPECT_TRUE(info.reason().ends_with(", whose connection has just ended")) << info.reason();
  EXPECT_EQ(info.progress().phase(), "");
}

TEST_F(SweepViewTest, OffersThatAWorkerRefusedAreCountedApart) {
  core_->PostAndWait(WorkerArrived{.session = kSession, .worker = SampleWorker(1), .attempts = {}});
  v1::WatchSweepResponse message;
  std::string attempt, task;
  std::uint64_t epoch = 0;
  EXPECT_TRUE(core_
                  ->LookAndWait([&](const State& state) {
                    for (const auto& [id, one] : state.attempts) {
                      attempt = id;
                      task = one.task;
                      epoch = one.epoch;
                    }
                  })
                  .ok());
  core_->PostAndWait(AttemptRejected{.session = kSession,
                                     .attempt = attempt,
                                     .epoch = epoch,
                                     .failure_class = "storage",
                                     .reason = "full"});
  ASSERT_TRUE(view_.Fill(*store_reader_, &message).ok());
  int n_withdrawn = 0;
  for (const v1::RunInfo& run : message.runs()) {
    for (const v1::TaskInfo& info : run.tasks()) {
      n_withdrawn += info.withdrawn();
      EXPECT_EQ(info.attempts(), info.task() == task ? 1 : 0) << info.task();
    }
  }
  EXPECT_EQ(n_withdrawn, 1);
}

class RefusedTest : public SweepViewTest {
 protected:
  // A worker that has connected once, and is away.
  void ComeAndGo(SessionId session, const std::string& id, DeviceKind kind) {
    Worker worker = SampleWorker(1);
    worker.id = id;
    worker.slots[0].kind = kind;
    core_->PostAndWait(WorkerArrived{.session = session, .worker = worker, .attempts = {}});
    core_->PostAndWait(WorkerGone{.session = session});
  }
  // What is said of a waiting task that only a CPU can run, while these workers are refused.
  v1::TaskReason Told(const std::string& gate, const std::vector<std::string>& refused) {
    SweepSubmitted cpu = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVS0");
    std::string yaml = Str(kSampleYaml, "  resources: {kind: cpu}\n");
    yaml.replace(yaml.find("seed: [1]"), 9, "seed: [2]");  // not the tasks of the other sweep
    cpu.sweep = SampleSweep(yaml);
    RefusedWorkers all;
    for (const std::string& id : refused) all[id] = {.cause = "revoked", .remedy = "let in " + id};
    EXPECT_TRUE(core_->PostAndWait(cpu).status.ok());
    v1::GetReasonsResponse response;
    EXPECT_TRUE(core_
                    ->LookAndWait([&](const State& state) {
                      v1::TaskReason* const reason = response.add_reasons();
                      for (const std::string& id : state.sweep_tasks.at(cpu.sweep_id)) {
                        const Task& task = state.tasks.at(id);
                        if (task.state == TaskState::kReady) reason->set_task(id);
                      }
                      EXPECT_FALSE(reason->task().empty());
                      reason->set_gate(gate);
                      reason->set_text("it waits");
                      reason->set_remedy("wait");
                      TellRefused(all, state, &response);
                    })
                    .ok());
    return response.reasons(0);
  }
};

TEST_F(RefusedTest, OnlyWorkersThatCouldRunTheTaskAreNamed) {
  ComeAndGo(1, "of-cpu", DeviceKind::kCpu);
  ComeAndGo(2, "of-gpu", DeviceKind::kGpu);

  const v1::TaskReason reason = Told("WORKER_AWAY", {"of-cpu", "of-gpu"});
  EXPECT_EQ(reason.text(), "it waits; worker of-cpu is refused");
  EXPECT_EQ(reason.remedy(), "let in of-cpu; or wait");
}

TEST_F(RefusedTest, AWorkerThatHasNeverConnectedCouldRunIt) {
  EXPECT_EQ(Told("NO_WORKER", {"unknown"}).text(), "it waits; worker unknown is refused");
}

TEST_F(RefusedTest, WhatHoldsATaskForAnotherReasonIsNotExplainedByARefusal) {
  ComeAndGo(1, "of-cpu", DeviceKind::kCpu);

  EXPECT_EQ(Told("PAUSED", {"of-cpu"}).text(), "it waits");
}

TEST(RemoteTest, AnErrorForAnotherMachineHasAnotherNameForAFolder) {
  const auto shown = [](const std::string& text) {
    return WithOtherName(text, "/srv/lr", "STATE");
  };
  EXPECT_EQ(shown("cannot read /srv/lr/pki/key.pem, nor /srv/lr: \"/srv/lr\" is away"),
            "cannot read STATE/pki/key.pem, nor STATE: \"STATE\" is away");
  // Other folders.
  for (const char* const other :
       {"/srv/lr2/a", "/srv/lr-old", "/data/srv/lr", "a/srv/lr", "/srv"}) {
    EXPECT_EQ(shown(other), other);
  }
}

TEST(RemoteTest, AModelsSourceHasItsPathOnlyOnTheMachineThatHasTheFolder) {
  EXPECT_EQ(SourceShown("/srv/models/gpt2", /*is_remote=*/false), "/srv/models/gpt2");
  EXPECT_EQ(SourceShown("/srv/models/gpt2", /*is_remote=*/true), "gpt2");
}

// A worker with both trainings of the sweep, which is silent for longer than 15 s.
class MissedWorkerTest : public testing::Test {
 protected:
  MissedWorkerTest() {
    AfterLoad(state_, now_, 1);
    Do(SampleSubmission("sweep-1"));
    Do(WorkerArrived{.session = 1, .worker = SampleWorker(2), .attempts = {}});
    for (const auto& [id, attempt] : std::map(state_.attempts)) {
      Do(AttemptAccepted{.session = 1, .attempt = id, .epoch = attempt.epoch});
    }
    for (int i = 0; i < 20; ++i) {
      now_ += 1'000;
      Do(TimePassed{});
    }
  }

  void Do(const SchedulerEvent& event) { Step(state_, event, now_, kWallMs + now_); }
  void ArriveOther(std::int64_t memory_bytes) {
    Worker other = SampleWorker(1);
    other.id = "other";
    other.host = "elsewhere";
    for (Slot& slot : other.slots) slot.memory_bytes = memory_bytes;
    Do(WorkerArrived{.session = 2, .worker = other, .attempts = {}});
  }
  std::string Notice(const std::set<std::string>* of_tasks = nullptr) const {
    Notices notices;
    AddMissedWorkers(state_, now_, kWallMs + now_, of_tasks, &notices);
    return notices.empty() ? "" : notices.at(0).text();
  }

  static constexpr std::int64_t kWallMs = 1'700'000'000'000;
  Instant now_ = 1000;
  State state_;
};

TEST_F(MissedWorkerTest, ItsNoticePromisesAnotherWorkerOnlyIfThereIsOne) {
  const std::string waits =
      "the tasks are taken from it; no other connected worker can run them, so they wait until "
      "this worker or a fitting one connects";
  EXPECT_NE(Notice().find(waits), std::string::npos) << Notice();
  ArriveOther(1 << 20);
  EXPECT_NE(Notice().find(waits), std::string::npos) << Notice();
  ArriveOther(std::int64_t{8} << 30);
  EXPECT_NE(Notice().find("the tasks are given to another worker, which continues from the last "
                          "checkpoint"),
            std::string::npos)
      << Notice();
}

TEST_F(MissedWorkerTest, ItsNoticeIsShownForTheTasksThatItHas) {
  const std::set<std::string> its = {state_.attempts.begin()->second.task};
  const std::set<std::string> others = {"another"};
  EXPECT_NE(Notice(&its), "");
  EXPECT_EQ(Notice(&others), "");
}

// As of a run whose row is damaged, or of a newer release.
TEST_F(MissedWorkerTest, ARunThatCannotBeReadFitsNoOtherWorker) {
  for (auto& [key, record] : state_.runs) {
    record.run = longrun::Run();
    record.unknown = "damaged";
  }
  ArriveOther(std::int64_t{8} << 30);
  EXPECT_NE(Notice().find("no other connected worker can run them"), std::string::npos);
}

// A resumed training has several: what the earlier ones did counts, too.
TEST(RanTimeTest, AllAttemptsOfATaskCount) {
  State state;
  state.boot = "boot-1";
  Task& task = state.tasks["t"];
  task.id = "t";
  task.state = TaskState::kRunning;
  task.attempts = 2;
  task.attempt = "b";
  Attempt& first = state.attempts["a"];
  first.id = "a";
  first.task = "t";
  first.state = AttemptState::kPreempted;
  first.duration_ms = 24'417;
  Attempt& second = state.attempts["b"];
  second.id = "b";
  second.task = "t";
  second.state = AttemptState::kRunning;
  second.worker = "w";
  second.started_boot_ms = 100'000;
  second.started_boot = "boot-1";
  AfterLoad(state, 100'000, 1);
  EXPECT_EQ(RanTimeOf(state, task, 103'500).ms, 24'417);  // its worker has not come
  Worker& worker = state.workers["w"];
  worker.id = "w";
  worker.session = SessionId{1};
  worker.heard_at = 103'000;
  EXPECT_EQ(RanTimeOf(state, task, 103'500).ms, 24'417 + 3'000);
  EXPECT_FALSE(RanTimeOf(state, task, 103'500).is_partial);
  EXPECT_EQ(RanTimeOf(state, task, std::nullopt).ms, 24'417);
  EXPECT_FALSE(RanTimeOf(state, task, std::nullopt).is_partial);
  worker.lost = true;
  state.attempts.at("b").duration_ms = 2'500;
  EXPECT_EQ(RanTimeOf(state, task, 103'500).ms, 24'417 + 2'500);
  EXPECT_EQ(RanTimeOf(state, task, std::nullopt).ms, 24'417);

  state.attempts.erase("a");  // its stored row is damaged
  AfterLoad(state, 100'000, 1);
  EXPECT_TRUE(RanTimeOf(state, task, 103'500).is_partial);
}

}  // namespace
}  // namespace longrun::coordinator
