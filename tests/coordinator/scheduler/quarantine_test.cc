// Broken slots: which slots are taken out of service, and for how long.
#include <csignal>

#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class QuarantineTest : public SchedulerTest {
 protected:
  static constexpr int kSeeds = 6;

  void SubmitSix(RetryPolicy retry) {
    Submit({.seeds = {1, 2, 3, 4, 5, 6}, .context_lengths = {}, .retry = retry});
  }
  std::vector<Attempt> LiveOn(const std::string& worker, std::int64_t slot) const {
    std::vector<Attempt> live;
    for (const std::string& id : state.index.live) {
      const Attempt& attempt = state.attempts.at(id);
      if (attempt.worker == worker && attempt.device_index == slot) live.push_back(attempt);
    }
    return live;
  }
  // Rounds of a second in which trainers on the broken slots end with `end` and all others
  // succeed, until no task is open.
  void Run(const std::vector<std::int64_t>& broken, const EndEvidence& end) {
    for (int round = 0; round < 2000; ++round) {
      Do(WorkerHeard{.session = 1, .number = round, .attempts = {}});
      for (const Slot& slot : state.workers.at("box").slots) {
        const bool is_broken = std::ranges::find(broken, slot.index) != broken.end();
        for (const Attempt& attempt : LiveOn("box", slot.index)) {
          if (!is_broken) {
            Complete(attempt);
            continue;
          }
          n_failed_ += 1;
          Begin(attempt);
          Finish(state.attempts.at(attempt.id), end);
        }
      }
      if (std::ranges::all_of(state.tasks,
                              [](const auto& task) { return IsTerminal(task.second.state); })) {
        return;
      }
      Wait(1000);
    }
    FAIL() << "tasks are still open";
  }
  std::int64_t Count(TaskState wanted) const {
    return std::ranges::count_if(state.tasks,
                                 [&](const auto& task) { return task.second.state == wanted; });
  }
  const std::map<std::int64_t, Quarantine>& Quarantined() const {
    return state.workers.at("box").quarantined;
  }

  int n_failed_ = 0;  // attempts on broken slots
};

// Invariant I-41.
TEST_F(QuarantineTest, ABrokenSlotCostsThreeAttemptsAndNoTask) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 1, .losses_max = 0});

  Run({0}, Signal(SIGSEGV));

  EXPECT_EQ(Count(TaskState::kSucceeded), kSeeds);
  EXPECT_EQ(n_failed_, 3);
  ASSERT_TRUE(Quarantined().contains(0));
  const std::string& reason = Quarantined().at(0).reason;
  EXPECT_EQ(reason.find("3 attempts in a row failed here"), 0u) << reason;
  EXPECT_NE(reason.find("succeeded on slot 1 of worker box"), std::string::npos) << reason;
  EXPECT_NE(reason.find("crashed: the trainer died of signal 11"), std::string::npos) << reason;

  Submit({.seeds = {7, 8}, .context_lengths = {}}, "sweep-2");
  EXPECT_TRUE(LiveOn("box", 0).empty());
  EXPECT_EQ(LiveOn("box", 1).size(), 1u);
}

TEST_F(QuarantineTest, AWrongSweepQuarantinesNothing) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 2, .losses_max = 0});

  Run({0, 1}, Signal(SIGSEGV));

  EXPECT_EQ(Count(TaskState::kFailed), kSeeds);
  EXPECT_TRUE(Quarantined().empty());
  Submit({.seeds = {7, 8}, .context_lengths = {}}, "sweep-2");
  const Instant begin = now;
  while (LiveOn("box", 0).size() + LiveOn("box", 1).size() < 2 && now < begin + 600'000) {
    Wait(1000);
    Do(WorkerHeard{.session = 1, .number = 1, .attempts = {}});
  }
  EXPECT_EQ(LiveOn("box", 0).size() + LiveOn("box", 1).size(), 2u);
  EXPECT_LE(now - begin, 60'000) << "a slot paused although no other one was sound";
}

// Its trainers come further on one slot than on the other before they end in the same way.
TEST_F(QuarantineTest, ComingFurtherIsNotSucceeding) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 3, .losses_max = 0});
  for (int round = 0; round < 1000 && Count(TaskState::kFailed) < kSeeds; ++round) {
    Do(WorkerHeard{.session = 1, .number = round, .attempts = {}});
    for (const std::int64_t slot : {0, 1}) {
      for (const Attempt& attempt : LiveOn("box", slot)) {
        SampleJournal journal = Begin(attempt);
        journal.Append(RecordKind::kProgress,
                       {{"phase", "train"}, {"done", 50 + slot}, {"of", 125}});
        Deliver(state.attempts.at(attempt.id), journal, 3, 3);
        Finish(state.attempts.at(attempt.id), Exit(81));
      }
    }
    Wait(1000);
  }
  EXPECT_EQ(Count(TaskState::kFailed), kSeeds);
  EXPECT_TRUE(Quarantined().empty());
}

TEST_F(QuarantineTest, TheOnlySlotGoesOnWithoutAPause) {
  Arrive("box", {CpuSlot(0)}, 1);
  SubmitSix({.failures_max = 0, .losses_max = 0});
  const Instant begin = now;

  Run({0}, Signal(SIGSEGV));

  EXPECT_EQ(Count(TaskState::kFailed), kSeeds);
  EXPECT_LE(now - begin, kSeeds * 2000);
  EXPECT_EQ(state.workers.at("box").slot_failures.at(0).n, kSeeds);
}

TEST_F(QuarantineTest, MoreMemoryElsewhereExplainsTheFailures) {
  Slot large = CpuSlot(1);
  large.memory_bytes *= 4;
  Arrive("box", {CpuSlot(0), large}, 1);
  SubmitSix({.failures_max = 3, .losses_max = 0});

  Run({0}, Exit(81));

  EXPECT_EQ(Count(TaskState::kSucceeded), kSeeds);
  EXPECT_TRUE(Quarantined().empty());
}

// A full disk or a missing file is not the device's fault.
TEST_F(QuarantineTest, OtherFailuresSayNothingOfTheSlot) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 5, .losses_max = 5});
  Run({0}, Exit(74));
  EXPECT_TRUE(Quarantined().empty());
  EXPECT_TRUE(state.workers.at("box").slot_failures.empty());
}

TEST_F(QuarantineTest, ItOutlivesBothProcessesUntilAnOperatorReleasesTheSlot) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 1, .losses_max = 0});
  Run({0}, Signal(SIGSEGV));
  const std::map<std::int64_t, Quarantine> before = Quarantined();
  ASSERT_EQ(before.size(), 1u);

  Restart();
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 2, {}, "B");
  EXPECT_EQ(Quarantined(), before);

  EXPECT_EQ(Do(SlotReleased{.worker = "nobody"}).status.code(), Code::kNotFound);
  EXPECT_EQ(Do(SlotReleased{.worker = "box", .index = 1}).status.code(), Code::kFailedPrecondition);
  EXPECT_EQ(Quarantined(), before);
  state.workers.at("box").pauses[0] = {.until = now + 600'000};
  EXPECT_TRUE(Do(SlotReleased{.worker = "box", .index = 0}).status.ok());
  EXPECT_TRUE(Quarantined().empty());
  EXPECT_TRUE(state.workers.at("box").pauses.empty()) << "it gets tasks at once";
  EXPECT_EQ(Do(SlotReleased{.worker = "box"}).status.code(), Code::kFailedPrecondition);
  Restart();
  EXPECT_TRUE(Quarantined().empty());
}

TEST_F(QuarantineTest, AnotherDeviceInTheSlotIsNotQuarantined) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 1, .losses_max = 0});
  Run({0}, Signal(SIGSEGV));
  Slot other = CpuSlot(0);
  other.name = "Xeon";
  Arrive("box", {other, CpuSlot(1)}, 2, {}, "B");
  EXPECT_TRUE(Quarantined().empty());
}

TEST_F(QuarantineTest, AWorkerOnAnotherHostHasOtherDevices) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 1, .losses_max = 0});
  Run({0}, Signal(SIGSEGV));
  ASSERT_FALSE(Quarantined().empty());
  Worker moved = state.workers.at("box");
  moved.host = "node-2";
  moved.incarnation = "B";
  moved.quarantined.clear();
  Do(WorkerArrived{.session = 2, .worker = moved, .attempts = {}});
  EXPECT_TRUE(Quarantined().empty());
}

TEST_F(QuarantineTest, ATaskThatOnlyQuarantinedSlotsFitSaysHowToGoOn) {
  Arrive("box", {CpuSlot(0), CpuSlot(1)}, 1);
  SubmitSix({.failures_max = 1, .losses_max = 0});
  Run({0}, Signal(SIGSEGV));
  Arrive("box", {CpuSlot(0)}, 2, {}, "B");
  Submit({.seeds = {7}, .context_lengths = {}}, "sweep-2");
  for (const auto& [id, task] : state.tasks) {
    if (IsTerminal(task.state)) continue;
    EXPECT_EQ(task.reason.find("every slot that can run it is quarantined: `longrun worker release "
                               "box --slot 0` gives slot 0 of worker box work again"),
              0u)
        << task.reason;
    return;
  }
  ADD_FAILURE() << "the task was placed";
}

}  // namespace
}  // namespace longrun::coordinator
