// What the watchers of a sweep share, and when they look at it again.
#include "coordinator/rpc/watched_sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "coordinator/store/sqlite.h"
#include "tests/coordinator/sample.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kSweep = "01BX5ZZKBKACTAV9WEVGEMMVRZ";
constexpr std::int64_t kPatienceMs = DeadlineMs(20'000);  // far above the second that it takes

v1::WatchSweepResponse MessageOf(const SweepSight& sight) {
  v1::WatchSweepResponse message;
  EXPECT_TRUE(message.ParseFromArray(sight.bytes.begin(), static_cast<int>(sight.bytes.size())));
  return message;
}

class WatchedSweepTest : public testing::Test {
 protected:
  WatchedSweepTest() { EXPECT_TRUE(core_->PostAndWait(SampleSubmission(kSweep)).status.ok()); }

  static SweepRow Row() { return {.id = kSweep, .name = "sample"}; }
  // What this watcher is shown now.
  std::shared_ptr<const SweepSight> See(std::int64_t first_look) {
    auto seen = watched_.See(*reader_, first_look);
    EXPECT_TRUE(seen.ok()) << seen.status().message();
    return seen.ok() ? seen->sight : nullptr;
  }
  // The first offer to a worker that comes now.
  TaskFile Arrive() {
    const StepResult arrived = core_->PostAndWait(
        WorkerArrived{.session = kSession, .worker = SampleWorker(1), .attempts = {}});
    TaskFile task;
    for (const Command& command : arrived.commands) {
      if (const auto* start = std::get_if<SendStart>(&command)) task = start->task;
    }
    EXPECT_FALSE(task.attempt.empty()) << "nothing was offered";
    return task;
  }

  static constexpr SessionId kSession = 1;
  const TempFolder folder_;
  const std::unique_ptr<Store> store_ = Store::Open(JoinPath(folder_.path(), "state")).value();
  const std::unique_ptr<ArtifactStore> artifacts_ =
      ArtifactStore::Open({.folder = JoinPath(folder_.path(), "artifacts")}).value();
  Metrics metrics_;
  const std::unique_ptr<Core> core_ = Core::Start(*store_, *artifacts_, metrics_, {}).value();
  const std::unique_ptr<StoreReader> reader_ = StoreReader::Open(store_->database_path()).value();
  // Whose looks fail while there is `failure`.
  class Failing final : public WatchedSweep {
   public:
    using WatchedSweep::WatchedSweep;
    Status failure;

   protected:
    Status Fill(SweepView& view, StoreReader& reader, v1::WatchSweepResponse* message) override {
      RETURN_IF_ERROR(failure);
      return WatchedSweep::Fill(view, reader, message);
    }
  };
  static inline const Status kTooLong = Status(Code::kDeadlineExceeded, "it took too long");

  WatchedSweep watched_{*core_, kSweep, {.passing_ms = 0}};
};

TEST_F(WatchedSweepTest, WatchersThatComeTogetherShareOneLook) {
  const std::int64_t a = watched_.Join(Row()), b = watched_.Join(Row());
  const auto seen = See(a);
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(See(b), seen);
  EXPECT_EQ(watched_.n_looks(), 1);
  EXPECT_EQ(MessageOf(*seen).runs_size(), 2);
}

TEST_F(WatchedSweepTest, NothingIsLookedAtAgainWhileNothingChanges) {
  const std::int64_t a = watched_.Join(Row()), b = watched_.Join(Row());
  const std::int64_t version = core_->version();
  const auto seen = See(a);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(See(a), seen);
    EXPECT_EQ(See(b), seen);
  }
  EXPECT_EQ(core_->version(), version);
  EXPECT_EQ(watched_.n_looks(), 1);
}

TEST_F(WatchedSweepTest, WhatIsStoredIsLookedAtOnceForAll) {
  const std::int64_t a = watched_.Join(Row()), b = watched_.Join(Row());
  const std::int64_t version = core_->version();
  const std::int64_t before = See(a)->n;
  Arrive();
  std::shared_ptr<const SweepSight> after;
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return (after = See(a))->n != before; }));
  EXPECT_EQ(See(b), after);
  EXPECT_LE(watched_.n_looks(), 1 + core_->version() - version);  // each is one transaction
  EXPECT_EQ(MessageOf(*after).workers_size(), 1);
}

// No row changes with the end of a connection, nor with a worker's silence after that.
TEST_F(WatchedSweepTest, AWorkerThatLeavesIsSeenAlthoughNothingIsStored) {
  core_->PostAndWait(SweepPaused{.sweep_id = kSweep});  // so that nothing is offered
  core_->PostAndWait(WorkerArrived{.session = kSession, .worker = SampleWorker(1), .attempts = {}});
  const std::int64_t a = watched_.Join(Row());
  EXPECT_EQ(MessageOf(*See(a)).workers(0).state(), "READY");
  const std::int64_t version = core_->version();
  core_->PostAndWait(WorkerGone{.session = kSession});
  EXPECT_EQ(core_->version(), version);
  EXPECT_TRUE(
      WaitUntil(kPatienceMs, [&] { return MessageOf(*See(a)).workers(0).state() == "SUSPECT"; }));
}

TEST_F(WatchedSweepTest, ACountdownIsLookedAtWhileItRuns) {
  const TaskFile task = Arrive();
  core_->PostAndWait(
      AttemptAccepted{.session = kSession, .attempt = task.attempt, .epoch = task.epoch});
  AttemptFinished end;
  end.session = kSession;
  end.attempt = task.attempt;
  end.epoch = task.epoch;
  end.evidence.exit_known = true;
  end.evidence.exit_code = 1;
  core_->PostAndWait(end);
  core_->PostAndWait(WorkerLeaves{.session = kSession});
  const std::int64_t a = watched_.Join(Row());
  const auto left_ms = [&] {
    std::int64_t longest = 0;
    const v1::WatchSweepResponse message = MessageOf(*See(a));
    for (const v1::RunInfo& run : message.runs()) {
      for (const v1::TaskInfo& info : run.tasks()) {
        longest = std::max(longest, info.not_before_in_ms());
      }
    }
    return longest;
  };
  const std::int64_t first_ms = left_ms();
  ASSERT_GT(first_ms, 0) << "the task does not wait before it is tried again";
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return left_ms() < first_ms; }));
}

TEST_F(WatchedSweepTest, AWatcherThatJoinsLateIsShownAllOfItAnew) {
  const std::int64_t early = watched_.Join(Row());
  const auto before = See(early);
  SweepRow row = Row();
  row.note = "of today";
  const std::int64_t late = watched_.Join(row);
  EXPECT_GT(late, early);
  const auto seen = See(late);
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(watched_.n_looks(), 2);
  EXPECT_EQ(MessageOf(*seen).runs_size(), 2);
  EXPECT_EQ(MessageOf(*seen).info().note(), "of today");
  EXPECT_NE(seen->n, before->n);
  EXPECT_EQ(See(early), seen);
}

TEST_F(WatchedSweepTest, AllWatchersAreToldOfARowThatIsDamaged) {
  {
    const auto raw = Connection::Open(store_->database_path(), Connection::Mode::kWrite).value();
    ASSERT_TRUE(raw->Execute("UPDATE run SET sum = sum + 1"
                             " WHERE run_key = (SELECT min(run_key) FROM run)")
                    .ok());
  }
  const std::int64_t a = watched_.Join(Row()), b = watched_.Join(Row());
  See(a);
  EXPECT_FALSE(watched_.DamagedSince(a).empty());
  EXPECT_EQ(watched_.DamagedSince(a), watched_.DamagedSince(b));
  // A later one looks for itself.
  const std::int64_t late = watched_.Join(Row());
  EXPECT_TRUE(watched_.DamagedSince(late).empty());
  See(late);
  EXPECT_EQ(watched_.DamagedSince(late), watched_.DamagedSince(a));
}

TEST_F(WatchedSweepTest, ASweepThatIsRemovedIsAnErrorForEachWatcher) {
  const std::int64_t a = watched_.Join(Row()), b = watched_.Join(Row());
  See(a);
  ASSERT_TRUE(core_->PostAndWait(SweepCancelled{.sweep_id = kSweep}).status.ok());
  ASSERT_TRUE(core_->PostAndWait(SweepRemoved{.sweep_id = kSweep}).status.ok());
  for (const std::int64_t first_look : {a, b}) {
    EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
      return watched_.See(*reader_, first_look).status().code() == Code::kNotFound;
    }));
  }
}

// Nothing of a run's row is read again: there is none any more.
TEST_F(WatchedSweepTest, TheExecutionOfARunThatStartsIsShownWithoutReadingTheRuns) {
  const std::int64_t a = watched_.Join(Row());
  const auto executions = [](const SweepSight& sight) {
    std::vector<std::string> known;
    const v1::WatchSweepResponse message = MessageOf(sight);
    for (const v1::RunInfo& run : message.runs()) {
      if (!run.execution_json().empty()) known.push_back(run.execution_json());
    }
    return known;
  };
  EXPECT_TRUE(executions(*See(a)).empty());
  const auto raw = Connection::Open(store_->database_path(), Connection::Mode::kWrite).value();
  ASSERT_TRUE(raw->Execute("DELETE FROM sweep_run").ok());

  const TaskFile task = Arrive();
  core_->PostAndWait(
      AttemptAccepted{.session = kSession, .attempt = task.attempt, .epoch = task.epoch});
  std::vector<BatchRecord> records = SampleJournal(task);
  records.resize(2);  // up to "started"
  core_->PostAndWait(JournalReceived{.session = kSession,
                                     .attempt = task.attempt,
                                     .epoch = task.epoch,
                                     .first_seq = 1,
                                     .records = std::move(records)});
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return executions(*See(a)).size() == 1; }));
  auto stored = raw->Prepare("SELECT execution FROM run WHERE execution <> ''");
  ASSERT_TRUE(stored.ok()) << stored.status().message();
  ASSERT_TRUE(stored->Step().value());
  EXPECT_EQ(executions(*See(a)), std::vector<std::string>{stored->Text(0)});
  EXPECT_EQ(MessageOf(*See(a)).runs_size(), 2);
}

TEST_F(WatchedSweepTest, WatchersKeepTheNewestViewWhileReadingTakesTooLong) {
  Failing watched(*core_, kSweep, {.passing_ms = 0});
  const std::int64_t a = watched.Join(Row());
  const auto see = [&](std::int64_t first_look) {
    auto seen = watched.See(*reader_, first_look);
    EXPECT_TRUE(seen.ok()) << seen.status().message();
    return seen.ok() ? seen->sight : nullptr;
  };
  const auto before = see(a);
  ASSERT_NE(before, nullptr);

  watched.failure = kTooLong;
  Arrive();
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return see(a) == before && watched.n_looks() > 1; }));
  const std::int64_t late = watched.Join(Row());
  EXPECT_EQ(see(late), nullptr) << "the view of those who came before";
  EXPECT_EQ(see(a), before);

  watched.failure = Status();
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return see(late) != nullptr; }));
  EXPECT_NE(see(a), before);
  EXPECT_EQ(MessageOf(*see(a)).workers_size(), 1);
}

TEST_F(WatchedSweepTest, AWatcherWaitsForTheFirstViewButNotForEver) {
  Failing watched(*core_, kSweep, {.passing_ms = 0, .too_long_ms = 3'000});
  watched.failure = kTooLong;
  const std::int64_t a = watched.Join(Row());
  const auto first = watched.See(*reader_, a);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(first->sight, nullptr);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return watched.See(*reader_, a).status().code() == Code::kDeadlineExceeded;
  }));
}

TEST_F(WatchedSweepTest, AnotherErrorOfALookIsOneAtOnce) {
  Failing watched(*core_, kSweep, {.passing_ms = 0});
  const std::int64_t a = watched.Join(Row());
  watched.failure = Status(Code::kUnavailable, "the disk cannot be read");
  EXPECT_EQ(watched.See(*reader_, a).status().code(), Code::kUnavailable);
}

TEST(LookDueTest, TheViewRestsLongerTheMoreTimeALookTakes) {
  EXPECT_TRUE(IsLookDue(LookCause::kStored, 0, 0));
  EXPECT_TRUE(IsLookDue(LookCause::kTimePassed, 0, 0));
  EXPECT_FALSE(IsLookDue(LookCause::kNone, 1'000'000, 0));
  // At most a tenth of the time, and a 21st part.
  EXPECT_FALSE(IsLookDue(LookCause::kStored, 2'699, 300));
  EXPECT_TRUE(IsLookDue(LookCause::kStored, 2'700, 300));
  EXPECT_FALSE(IsLookDue(LookCause::kTimePassed, 5'999, 300));
  EXPECT_TRUE(IsLookDue(LookCause::kTimePassed, 6'000, 300));
}

TEST_F(WatchedSweepTest, ASweepIsForgottenWithItsLastWatcher) {
  WatchedSweeps all;
  std::shared_ptr<WatchedSweep> a = all.Of(*core_, kSweep), b = all.Of(*core_, kSweep);
  EXPECT_EQ(a, b);
  EXPECT_NE(all.Of(*core_, "01BX5ZZKBKACTAV9WEVGEMMVS0"), a);
  EXPECT_EQ(all.n(), 1U);
  a.reset();
  EXPECT_EQ(all.n(), 1U);
  b.reset();
  EXPECT_EQ(all.n(), 0U);
}

}  // namespace
}  // namespace longrun::coordinator
