// What `longrun why` says of a task: the first thing that holds it, and what ends that.
#include <algorithm>
#include <csignal>

#include "base/units.h"
#include "sweeps/cost.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class WhyTest : public SchedulerTest {
 protected:
  std::int64_t WallMs() const { return 1'700'000'000'000 + wall_set_ms + now; }
  Why Of(const Task& task) const { return WhyHeld(state, task, now, WallMs()); }
  std::vector<WhyGroup> GroupsOf(const std::string& sweep = "sweep-1") const {
    return GroupByGate(state, state.sweep_tasks.at(sweep), now, WallMs());
  }
  // Time goes on while every connected worker is heard from.
  void WaitHeard(std::int64_t ms) {
    for (const Instant end = now + ms; now < end;) {
      Wait(std::min<std::int64_t>(end - now, 1'000));
      const std::map<SessionId, std::string> sessions = state.index.sessions;
      for (const auto& [session, worker] : sessions) {
        std::vector<LiveAttempt> listed;
        for (const std::string& id : state.index.live) {
          const Attempt& attempt = state.attempts.at(id);
          if (attempt.worker == worker) listed.push_back(Listed(attempt));
        }
        Do(WorkerHeard{.session = session,
                       .number = 1,
                       .attempts = std::move(listed),
                       .disk = state.workers.at(worker).disk});
      }
    }
  }
  // The worker of the session refuses the training that it was offered.
  void RejectAsBusy(SessionId session) {
    Do(AttemptRejected{.session = session,
                       .attempt = Train().attempt,
                       .epoch = Train().epoch,
                       .failure_class = "",
                       .reason = "busy"});
  }
  // The only task of a sweep.
  Task& OnlyOf(const std::string& sweep) {
    return state.tasks.at(*state.sweep_tasks.at(sweep).begin());
  }
  // What Train() needs with micro-batch 1.
  // With fused attention on a GPU.
  std::int64_t TrainBytes(DeviceKind kind) {
    const RunRecord& record = state.runs.at(Train().run_key);
    return TrainMemoryBytes(record.run.model, record.run.train, 1,
                            NewRunMemoryPath(record.run.model, kind, false, 256));
  }
  static Slot GpuSlot(const std::string& name) {
    Slot slot = CpuSlot();
    slot.kind = DeviceKind::kGpu;
    slot.name = name;
    return slot;
  }
};

#define EXPECT_WHY(why, expected_gate, expected_text, expected_remedy)            \
  do {                                                                            \
    const Why got = (why);                                                        \
    EXPECT_EQ(EnumName(got.gate), EnumName(Gate::expected_gate));                 \
    EXPECT_NE(got.text.find(expected_text), std::string::npos) << got.text;       \
    EXPECT_NE(got.remedy.find(expected_remedy), std::string::npos) << got.remedy; \
  } while (false)

TEST_F(WhyTest, WithoutAWorkerItSaysHowToStartOne) {
  Submit({.context_lengths = {}});

  EXPECT_WHY(Of(Train()), kNoWorker, "no worker is connected", "`longrun up` on this machine");
  EXPECT_EQ(Of(Train()).until, std::nullopt) << "nobody knows when one comes";
}

TEST_F(WhyTest, ACallerOnAnotherMachineLearnsHowAWorkerJoins) {
  Submit({});

  const auto expect = [](const Why& why) {
    EXPECT_NE(why.remedy.find("`longrun admin join-token create`"), std::string::npos)
        << why.remedy;
    EXPECT_EQ(why.remedy.find("`longrun up`"), std::string::npos) << why.remedy;
  };
  expect(WhyHeld(state, Train(), now, WallMs(), /*is_remote=*/true));
  const std::vector<WhyGroup> groups =
      GroupByGate(state, state.sweep_tasks.at("sweep-1"), now, WallMs(), /*is_remote=*/true);
  ASSERT_EQ(groups.size(), 2u) << "the evaluation waits for the training";
  for (const WhyGroup& group : groups) expect(group.why);
}

TEST_F(WhyTest, WhileAllSlotsAreBusyItCountsTheTasksThatArePlacedBefore) {
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
  Submit({.seeds = {1, 2, 3, 4}, .context_lengths = {}});
  Submit({.seeds = {5}, .context_lengths = {}, .priority = 7}, "urgent");

  const Task& urgent = OnlyOf("urgent");
  EXPECT_WHY(Of(urgent), kNoFreeSlot,
             "no slot that can run it is free: 2 are busy; it is the next one",
             "starts by itself when a slot is free");
  std::vector<std::int64_t> before;
  for (const auto& [id, task] : state.tasks) {
    if (task.state == TaskState::kReady) before.push_back(Of(task).n_before.value());
  }
  std::ranges::sort(before);
  EXPECT_EQ(before, (std::vector<std::int64_t>{0, 1, 2}));
}

// Tasks that need other slots take none from it.
TEST_F(WhyTest, TasksForOtherSlotsAreNotCountedAsPlacedBefore) {
  Arrive("w", {CpuSlot(0)}, 1);
  Submit({.seeds = {1}, .context_lengths = {}});
  Submit({.seeds = {2}, .context_lengths = {}, .priority = 7, .device_kind = DeviceChoice::kGpu},
         "gpu");
  Submit({.seeds = {3}, .context_lengths = {}}, "cpu");

  EXPECT_WHY(Of(OnlyOf("cpu")), kNoFreeSlot, "1 is busy; it is the next one", "");
}

TEST_F(WhyTest, OfAKindThatNoWorkerHasItNamesTheNearestSlotAndWhatToConnect) {
  Submit({.context_lengths = {}, .device_kind = DeviceChoice::kGpu});
  Arrive("w", {CpuSlot()}, 1);

  EXPECT_WHY(Of(Train()), kNoFit, Train().reason,
             Str("connect a worker with a gpu slot of at least ",
                 FormatBytes(TrainBytes(DeviceKind::kGpu)), ", for training with micro-batch 1 ("));
}

TEST_F(WhyTest, TheRequiredMemorySaysForWhatItIs) {
  Slot small = CpuSlot();
  small.memory_bytes = 1 << 20;
  Arrive("w", {small}, 1);
  Submit({.context_lengths = {}});

  const auto needed = [&](DeviceKind kind) { return FormatBytes(TrainBytes(kind)); };
  EXPECT_WHY(Of(Train()), kNoFit,
             Str("its memory is 1 MiB, less than the ", needed(DeviceKind::kCpu),
                 " that training with micro-batch 1 needs on a cpu"),
             Str("connect a worker with a cpu slot of at least ", needed(DeviceKind::kCpu),
                 " or a gpu slot of at least ", needed(DeviceKind::kGpu),
                 ", for training with micro-batch 1 ("));
  EXPECT_EQ(Of(Train()).remedy.find("--cpu-slots"), std::string::npos) << "it has only one";
}

TEST_F(WhyTest, AWorkerWithMemoryForOneSlotOnlyIsToHaveFewer) {
  Submit({.context_lengths = {}});
  std::vector<Slot> halves = {CpuSlot(0), CpuSlot(1)};
  for (Slot& slot : halves) slot.memory_bytes = TrainBytes(DeviceKind::kCpu) / 2 + 1;
  Arrive("w", halves, 1);

  EXPECT_WHY(Of(Train()), kNoFit, "its memory is ",
             "give each slot of worker w more memory (fewer --cpu-slots), or connect a worker "
             "with a cpu slot of at least ");
}

TEST_F(WhyTest, AWorkerWithThreadsForOneSlotOnlyIsToHaveFewer) {
  Slot whole = CpuSlot();
  whole.threads = 2;
  Arrive("w", {whole}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(SIGSEGV));
  std::vector<Slot> halves = {CpuSlot(0), CpuSlot(1)};
  for (Slot& slot : halves) slot.threads = 1;
  Arrive("w", halves, 2, {}, "B");
  WaitHeard(60'000);

  EXPECT_WHY(Of(Train()), kNoFit, "its number of threads is 1, not 2",
             "give each slot of worker w more threads (fewer --cpu-slots), or connect a worker "
             "with ");
}

// Runs stick to instruction set, matrix path and device name.
TEST_F(WhyTest, InAMixedClusterItSaysThatTheRunIsBoundToTheSettingsWithWhichItBegan) {
  Arrive("w", {GpuSlot("NVIDIA H100")}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(SIGSEGV));
  Arrive("w", {GpuSlot("NVIDIA A100")}, 2, {}, "B");
  WaitHeard(60'000);

  EXPECT_WHY(Of(Train()), kNoFit,
             "with the settings with which its run began: slot 0 of worker w (w.example) comes "
             "closest, but its device is NVIDIA A100, not NVIDIA H100",
             "device NVIDIA H100, instruction set avx2");
}

TEST_F(WhyTest, WhileTheOnlySlotOfItsSettingsIsBusyItCountsTheOthers) {
  Arrive("w", {GpuSlot("NVIDIA H100")}, 1);
  Submit({.seeds = {1}, .context_lengths = {}}, "bound");
  Begin(Current(OnlyOf("bound")));
  Finish(Current(OnlyOf("bound")), Signal(SIGSEGV));
  Submit({.seeds = {2}, .context_lengths = {}}, "other");
  Arrive("x", {GpuSlot("NVIDIA A100"), CpuSlot(1)}, 2);
  WaitHeard(60'000);

  EXPECT_WHY(Of(OnlyOf("bound")), kNoFreeSlot,
             "1 is busy; 2 other slots do not have the settings with which its run began (device "
             "NVIDIA H100); it is the next one",
             "");
}

TEST_F(WhyTest, ADrainedWorkerIsNamedWithTheCommand) {
  Arrive("w", {CpuSlot()}, 1);
  Do(WorkerDrained{.worker = "w"});
  Submit({.context_lengths = {}});

  EXPECT_WHY(Of(Train()), kDrained, "every worker that can run it is drained",
             "`longrun undrain w`");
}

TEST_F(WhyTest, AQuarantinedSlotIsNamedWithTheCommandThatReleasesIt) {
  Arrive("w", {CpuSlot(3)}, 1);
  state.workers.at("w").quarantined[3] = {.reason = "3 attempts failed", .since_wall_ms = 1};
  state.index.workers_version += 1;
  Submit({.context_lengths = {}});

  EXPECT_WHY(Of(Train()), kQuarantined, "It is quarantined, since 3 attempts failed",
             "`longrun worker release w --slot 3`");
}

TEST_F(WhyTest, AWorkerOfAnOlderReleaseIsNamed) {
  Arrive("w", {CpuSlot()}, 1);
  state.workers.at("w").over_network = true;
  state.index.workers_version += 1;
  Submit({.context_lengths = {}});

  EXPECT_WHY(Of(Train()), kOutdated, "cannot get datasets over the network",
             "update worker w to this release");
}

TEST_F(WhyTest, ASilentFolderOfADatasetHoldsItsTasks) {
  Arrive("w", {CpuSlot()}, 1);
  Do(DatasetsSilent{.digests = {Sha256Hex("dataset")}});
  Submit({.context_lengths = {}});

  EXPECT_WHY(Of(Train()), kSilentFolder, "the folder of a dataset that it reads does not answer",
             "look at that file system");
}

TEST_F(WhyTest, ACacheThatIsTooSmallIsNamedWithItsOption) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Do(AttemptRejected{.session = 1,
                     .attempt = Train().attempt,
                     .epoch = Train().epoch,
                     .failure_class = "storage",
                     .reason = "too large",
                     .cache_needed_bytes = 3 << 20,
                     .cache_limit_bytes = 1 << 20});

  EXPECT_WHY(Of(Train()), kCacheTooSmall, "may take 1 MiB, less than the 3 MiB",
             "start worker w with larger --cache-bytes");
}

TEST_F(WhyTest, ACacheThatOthersUseHoldsItUntilTheNextOffer) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Do(AttemptRejected{.session = 1,
                     .attempt = Train().attempt,
                     .epoch = Train().epoch,
                     .failure_class = "storage",
                     .reason = "in use",
                     .cache_needed_bytes = 1 << 20,
                     .cache_limit_bytes = 1 << 20});

  EXPECT_WHY(Of(Train()), kCacheInUse, "1 is on a worker whose cache is in use by other tasks",
             "offered again by itself");
  EXPECT_EQ(Of(Train()).until, now + 15'000);
}

// More --cache-bytes would not help. The slot takes what reads less.
TEST_F(WhyTest, ADiskThatIsTooSmallForADatasetIsNamedWithWhatTheWorkerSaid) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Do(AttemptRejected{.session = 1,
                     .attempt = Train().attempt,
                     .epoch = Train().epoch,
                     .failure_class = "storage",
                     .reason = "dataset d takes 3 GiB, but only 2 GiB are free in /srv/cache",
                     .cache_needed_bytes = std::int64_t{3} << 30,
                     .cache_limit_bytes = std::int64_t{9} << 30,
                     .lacks_disk = true});

  EXPECT_WHY(Of(Train()), kWorkerDiskFull,
             "1 is on a worker whose disk has too little room for what it reads; worker w on "
             "w.example refused a task that reads the same data: dataset d takes 3 GiB, but only 2 "
             "GiB are free in /srv/cache",
             "make room in that folder on w.example; it is then offered again by itself; or let a "
             "worker with a larger disk join");
  EXPECT_EQ(Of(Train()).until, now + 15'000);

  EXPECT_EQ(Train().losses, 0);
  EXPECT_EQ(Commands<SendStart>(Wait(16'000)).size(), 1u);
}

TEST_F(WhyTest, ASlotThatRefusedAnOfferPausesForAMoment) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  RejectAsBusy(1);

  EXPECT_WHY(Of(Train()), kSlotPauses, "1 pauses after a failure or a refusal",
             "offered again by itself");
  EXPECT_EQ(Of(Train()).until, now + state.limits.busy_ms);
}

// A worker of an earlier release says only in its refusal that its disk is full.
TEST_F(WhyTest, ASlotWhoseWorkerRefusedATaskForItsDiskSaysWhatTheWorkerSaid) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Do(AttemptRejected{.session = 1,
                     .attempt = Train().attempt,
                     .epoch = Train().epoch,
                     .failure_class = "storage",
                     .reason = "100 bytes free in /w, at least 200 required"});

  EXPECT_WHY(Of(Train()), kSlotPauses,
             "worker w refused a task: 100 bytes free in /w, at least 200 required",
             "offered again by itself");
  EXPECT_EQ(state.index.ended.at(Train().id).n_withdrawn, 1);
}

TEST_F(WhyTest, ABusySlotDoesNotHideThatAnotherOneRefusedATaskForTheDisk) {
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
  Submit({.context_lengths = {}});
  const std::int64_t first = Current(Train()).device_index;
  Do(AttemptRejected{.session = 1,
                     .attempt = Train().attempt,
                     .epoch = Train().epoch,
                     .failure_class = "storage",
                     .reason = "100 bytes free in /w, at least 200 required"});
  ASSERT_NE(Current(Train()).device_index, first) << "it was offered to the other slot";
  RejectAsBusy(1);

  EXPECT_WHY(Of(Train()), kSlotPauses,
             "2 pause after failures or refusals; worker w refused a task: 100 bytes free",
             "offered again by itself");
}

TEST_F(WhyTest, AWorkerThatReportsAFullDiskGetsNothingUntilItHasRoom) {
  Do(WorkerArrived{.session = 1,
                   .worker = {.id = "w",
                              .incarnation = "A",
                              .host = "h",
                              .version = "0.1.0",
                              .slots = {CpuSlot()},
                              .dataset_digests = {},
                              .disk = {.free_bytes = 100 << 20,
                                       .bytes = std::int64_t{1} << 40,
                                       .wanted_bytes = 256 << 20},
                              .folder = "/srv/w",
                              .session = {},
                              .busy = {},
                              .pauses = {}},
                   .attempts = {}});
  Submit({.context_lengths = {}});

  EXPECT_EQ(Train().attempts, 0);
  EXPECT_WHY(Of(Train()), kWorkerDiskFull,
             "1 is on a worker whose disk is full; worker w takes no tasks, since only 100 MiB "
             "are free on its disk, 256 MiB required (--disk-free-bytes-min)",
             "free some space in /srv/w on h; worker w then takes tasks by itself");

  EXPECT_EQ(Of(Train()).text.find("free some space"), std::string::npos)
      << "the remedy is said only once";

  const DiskSpace still_full = {
      .free_bytes = 200 << 20, .bytes = std::int64_t{1} << 40, .wanted_bytes = 256 << 20};
  EXPECT_TRUE(Commands<SendStart>(
                  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {}, .disk = still_full}))
                  .empty());
  EXPECT_WHY(Of(Train()), kWorkerDiskFull, "only 200 MiB", "free some space in /srv/w on h");

  const DiskSpace has_room = {.free_bytes = 300 << 20, .bytes = std::int64_t{1} << 40};
  EXPECT_EQ(Commands<SendStart>(
                Do(WorkerHeard{.session = 1, .number = 2, .attempts = {}, .disk = has_room}))
                .size(),
            1u);
  EXPECT_EQ(Train().attempts, 1);
}

// Else the task would wait for a slot that it cannot have, while the one at hand is free.
TEST_F(WhyTest, ATaskDoesNotWaitForAnotherWorkerWhoseDiskIsFull) {
  Arrive("a", {CpuSlot()}, 1);
  Submit({.context_lengths = {}, .retry = {.failures_max = 5, .losses_max = 5}});
  Begin(Current(Train()));
  Arrive("b", {CpuSlot()}, 2);
  Do(WorkerHeard{.session = 2,
                 .number = 1,
                 .attempts = {},
                 .disk = {.free_bytes = 1, .bytes = 100, .wanted_bytes = 10}});
  Finish(Current(Train()), Signal(SIGSEGV));
  WaitHeard(Train().not_before - now + 1);

  EXPECT_EQ(Current(Train()).n, 2);
  EXPECT_EQ(Current(Train()).worker, "a");
}

TEST_F(WhyTest, APausedSweepHoldsItsTasksAlsoThoseThatWaitForATraining) {
  Submit({});
  Do(SweepPaused{.sweep_id = "sweep-1"});

  EXPECT_WHY(Of(Train()), kPaused, "paused", "`longrun resume sweep-1`");
  EXPECT_WHY(Of(Evaluate()), kPaused, "paused", "`longrun resume sweep-1`");
}

TEST_F(WhyTest, AfterAFailureItPausesUntilAKnownTime) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}, .retry = {.failures_max = 5, .losses_max = 5}});
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(SIGSEGV));

  EXPECT_WHY(Of(Train()), kBackOff, "attempt 1 ended (crashed): the trainer died of signal 11",
             "tried again by itself");
  EXPECT_EQ(Of(Train()).until, Train().not_before);
  EXPECT_GT(Train().not_before, now);
}

TEST_F(WhyTest, ATaskThatFailedOnTheFreeSlotWaitsForAnother) {
  Arrive("a", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {}, .retry = {.failures_max = 5, .losses_max = 5}},
         "failed");
  Begin(Current(OnlyOf("failed")));
  Finish(Current(OnlyOf("failed")), Signal(SIGSEGV));
  Submit({.seeds = {2}, .context_lengths = {}}, "on-a");
  Arrive("b", {CpuSlot()}, 2);
  Submit({.seeds = {3}, .context_lengths = {}}, "on-b");
  ASSERT_EQ(Current(OnlyOf("on-b")).worker, "b");
  Complete(Current(OnlyOf("on-a")));
  const Task& task = OnlyOf("failed");
  while (now < task.not_before) WaitHeard(1'000);

  EXPECT_WHY(Of(task), kAvoids, "it failed on worker a and waits for a slot elsewhere", "worker a");
  EXPECT_EQ(Of(task).until, task.not_before + 120'000);
}

TEST_F(WhyTest, ATaskThatWaitsForItsTrainingSaysWhatHoldsTheTraining) {
  Submit({});
  EXPECT_WHY(Of(Evaluate()), kNeedsTask,
             Str("waits for its training (task ", Train().id.substr(0, 8),
                 "), which is READY: no worker is connected"),
             "`longrun up`");
  EXPECT_EQ(Of(Evaluate()).root, Train().id);

  Arrive("w", {CpuSlot()}, 1);
  Begin(Current(Train()));
  EXPECT_WHY(Of(Evaluate()), kNeedsTask,
             "which is RUNNING: nothing holds it: attempt 1 runs on "
             "worker w, slot 0",
             "it starts when that task has succeeded");
}

TEST_F(WhyTest, WhatFailedNamesItsLogTheRemedyOfItsClassAndHowToTryAgain) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.retry = {.failures_max = 0, .losses_max = 0}});
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(81));

  const std::string id = Train().id.substr(0, 8), run = Train().run_key.substr(0, 8);
  EXPECT_WHY(Of(Train()), kEnded, "out_of_memory: ",
             Str("`longrun logs ", id, "` shows its log; once the cause is gone, `longrun retry ",
                 run, "` tries it again"));
  EXPECT_NE(Of(Train()).text.find(FailureOf(FailureClass::kOutOfMemory).advice), std::string::npos);
  EXPECT_WHY(Of(Evaluate()), kEnded, Str("the training it needs (task ", id, ") failed"),
             Str("`longrun logs ", id));
  EXPECT_EQ(Of(Evaluate()).root, Train().id);
}

TEST_F(WhyTest, WhatWasSkippedSaysThatItsTrainingHasSucceededSince) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({});
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(78));
  ASSERT_EQ(Evaluate().state, TaskState::kSkipped);
  Submit({.context_lengths = {}}, "sweep-2");
  ASSERT_EQ(Evaluate().state, TaskState::kSkipped);

  const std::string id = Train().id.substr(0, 8), run = Train().run_key.substr(0, 8);
  EXPECT_WHY(Of(Evaluate()), kEnded,
             Str("task ", id, ") had ended without a result; since then it is"),
             Str("when it has succeeded, `longrun retry ", run, "`"));
  Complete(Current(Train()));
  EXPECT_WHY(Of(Evaluate()), kEnded, "since then it has succeeded",
             Str("`longrun retry ", run, "` tries this task again"));
  EXPECT_EQ(Of(Evaluate()).root, "");
}

TEST_F(WhyTest, WhatDivergedIsNotToBeRetriedButChanged) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(80));

  EXPECT_WHY(Of(Train()), kEnded, "diverged: ", "it would diverge again, so change the sweep file");
}

TEST_F(WhyTest, WhatWasCancelledSaysHowToContinueIt) {
  Submit({});
  Do(SweepCancelled{.sweep_id = "sweep-1"});

  EXPECT_WHY(Of(Train()), kEnded, "cancelled: sweep sweep-1 was cancelled",
             "submit its sweep again");
  EXPECT_WHY(Of(Evaluate()), kEnded, "cancelled", "or `longrun retry sweep-1`, to continue it");
}

TEST_F(WhyTest, WhatCancelledSweepsAloneWantIsTriedAgainWithTheSweep) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Submit({.context_lengths = {}}, "sweep-2");
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(78));
  EXPECT_WHY(Of(Train()), kEnded, "", Str("`longrun retry ", Train().run_key.substr(0, 8)));

  state.cancelled_sweeps = {"sweep-1", "sweep-2"};

  EXPECT_WHY(Of(Train()), kEnded, "", "`longrun retry sweep-2` tries it again");
}

TEST_F(WhyTest, WhatSucceededNeedsNothing) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Complete(Current(Train()));

  EXPECT_EQ(Of(Train()).gate, Gate::kEnded);
  EXPECT_EQ(Of(Train()).text, "complete with attempt 1");
  EXPECT_EQ(Of(Train()).remedy, "");
}

TEST_F(WhyTest, OfALiveAttemptItSaysWhereItIsAndWhatItDoes) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  EXPECT_WHY(Of(Train()), kOffered,
             "attempt 1 is offered to worker w, slot 0, which has not answered yet", "by itself");
  Accept(Current(Train()));
  EXPECT_WHY(Of(Train()), kOffered, "attempt 1 is prepared on worker w, slot 0", "by itself");
  Begin(Current(Train()));
  EXPECT_EQ(Of(Train()).gate, Gate::kNone);
  EXPECT_EQ(Of(Train()).text, "nothing holds it: attempt 1 runs on worker w, slot 0");
  EXPECT_EQ(Of(Train()).remedy, "");

  Do(SweepPaused{.sweep_id = "sweep-1"});
  EXPECT_WHY(Of(Train()), kStopping, "paused", "20 s to write a checkpoint");
}

TEST_F(WhyTest, OfASilentWorkerItSaysWhenAnotherContinuesItsTask) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  const Instant heard_at = now;
  Wait(20'000);

  EXPECT_WHY(Of(Train()), kWorkerSilent, "attempt 1 is on worker w, which has not been heard from",
             "look at the machine of worker w");
  EXPECT_EQ(Of(Train()).until, heard_at + state.limits.lease_ms);
}

// Its state is SUSPECT from this moment on.
TEST_F(WhyTest, OfAWorkerWhoseConnectionHasEndedItSaysSoAtOnce) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  Do(WorkerGone{.session = 1});

  EXPECT_WHY(Of(Train()), kWorkerSilent,
             "attempt 1 is on worker w, whose connection has just ended",
             "look at the machine of worker w");
}

TEST_F(WhyTest, OfASilentTrainerItNamesTheLog) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  for (int i = 0; i < 70; ++i) {
    Wait(10'000);
    LiveAttempt listed = Listed(Current(Train()));
    listed.last_seq = 2;
    Do(WorkerHeard{.session = 1, .number = i, .attempts = {listed}});
  }

  EXPECT_WHY(Of(Train()), kTrainerSilent, "has reported nothing for unusually long",
             Str("`longrun logs ", Train().id.substr(0, 8)));
}

TEST_F(WhyTest, ATrainerOnAFullDiskMayBeWaitingForRoom) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  const auto beat = [&](int number, std::int64_t free_bytes) {
    LiveAttempt listed = Listed(Current(Train()));
    listed.last_seq = 2;
    Do(WorkerHeard{.session = 1,
                   .number = number,
                   .attempts = {listed},
                   .disk = {.free_bytes = free_bytes, .bytes = std::int64_t{1} << 40}});
  };
  beat(1, 17 << 20);
  EXPECT_EQ(Of(Train()).remedy, "");
  beat(2, 15 << 20);
  const std::string remedy =
      "only 15 MiB are free on the worker's disk, so the trainer may be waiting for room, for "
      "10min at most: free some space there on w.example, and it goes on";
  EXPECT_EQ(Of(Train()).remedy, "") << "its trainer has reported a moment ago";
  for (int i = 3; i < 10; ++i) {
    Wait(10'000);
    beat(i, 15 << 20);
  }
  EXPECT_WHY(Of(Train()), kNone, "nothing holds it", remedy);
  for (int i = 10; i < 73; ++i) {
    Wait(10'000);
    beat(i, 15 << 20);
  }
  EXPECT_WHY(Of(Train()), kTrainerSilent, "has reported nothing for unusually long", remedy);
}

TEST_F(WhyTest, AWorkerThatIsStoppingAndOneThatIsAwayAreNamed) {
  Arrive("w", {CpuSlot()}, 1);
  Do(WorkerLeaves{.session = 1});
  Submit({.context_lengths = {}});
  EXPECT_WHY(Of(Train()), kWorkerLeaves, "1 is on worker w, which is stopping or has stopped",
             "start worker w again");

  Arrive("w", {}, 2, {}, "B");
  Arrive("x", {CpuSlot()}, 3);
  RejectAsBusy(3);
  Do(WorkerGone{.session = 3});
  EXPECT_WHY(Of(Train()), kWorkerAway, "1 is on worker x, which is not heard from",
             "look at the machine of worker x, and whether its daemon longrun-worker runs; or "
             "connect a worker with a cpu slot of at least ");
}

TEST_F(WhyTest, BesideAWorkerThatIsNotThereADrainedOneIsNamedWithItsCommand) {
  Arrive("stopped", {CpuSlot()}, 1);
  Do(WorkerLeaves{.session = 1});
  Arrive("w", {CpuSlot()}, 2);
  Do(WorkerDrained{.worker = "w"});
  Submit({.context_lengths = {}});
  EXPECT_WHY(Of(Train()), kWorkerLeaves, "1 is drained, 1 is on worker stopped",
             "`longrun undrain w`, or start worker stopped again");

  Do(WorkerGone{.session = 1});
  Do(WorkerRemoved{.worker = "stopped"});
  Arrive("gone", {CpuSlot()}, 3);
  RejectAsBusy(3);
  Do(WorkerGone{.session = 3});
  EXPECT_WHY(Of(Train()), kWorkerAway, "1 is drained, 1 is on worker gone",
             "`longrun undrain w`, or look at the machine of worker gone");
}

TEST_F(WhyTest, BesideABusyWorkerADrainedOneIsNamedWithItsCommand) {
  Arrive("busy", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {}});
  Arrive("w", {CpuSlot()}, 2);
  Do(WorkerDrained{.worker = "w"});
  Submit({.seeds = {2}, .context_lengths = {}}, "second");

  EXPECT_WHY(Of(OnlyOf("second")), kNoFreeSlot, "1 is busy, 1 is drained",
             "`longrun undrain w`, or another worker would take it sooner");
}

// To start it again would not be enough.
TEST_F(WhyTest, OfTwoStoppedWorkersTheOneThatIsNotDrainedIsNamed) {
  Arrive("a", {CpuSlot()}, 1);
  Arrive("b", {CpuSlot()}, 2);
  Do(WorkerDrained{.worker = "b"});
  Do(WorkerLeaves{.session = 1});
  Do(WorkerLeaves{.session = 2});
  Submit({.context_lengths = {}});

  EXPECT_WHY(Of(Train()), kWorkerLeaves, "2 are on workers that are stopping", "start worker a");
}

TEST_F(WhyTest, AnAllocationThatIsTooShortIsSaid) {
  Submit({.context_lengths = {}});
  Train().needs_ms = 60'000;
  WorkerArrived arrival = Arrival("pilot-1", {CpuSlot()}, 1);
  arrival.allocation = AllocationSpan{.job = "slurm 7", .work_left_ms = 30'000};
  Do(arrival);

  EXPECT_WHY(Of(Train()), kTooShort, "only to workers that have at least 1min", "longer --time");
}

TEST_F(WhyTest, AfterARestoreItWaitsUntilTheWorkersHaveReported) {
  Submit({.context_lengths = {}});
  Restart(/*restored=*/true);
  Arrive("w", {CpuSlot()}, 1);

  EXPECT_WHY(Of(Train()), kRestored, "a backup was restored, and", "by itself");
  state.restored_at = "2026-01-02T03:04:05Z";
  EXPECT_WHY(Of(Train()), kRestored, "a backup was restored at 2026-01-02T03:04:05Z, and nothing",
             "by itself");
  EXPECT_EQ(Of(Train()).until, state.place_not_before);
}

TEST_F(WhyTest, APauseThatEndsBeforeTheWorkersHaveReportedLastsUntilThen) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}, .retry = {.failures_max = 5, .losses_max = 5}});
  Begin(Current(Train()));
  Restart(/*restored=*/true);
  Arrive("w", {CpuSlot()}, 1, {Listed(Current(Train()))});
  Finish(Current(Train()), Signal(SIGSEGV));

  ASSERT_LT(Train().not_before, state.place_not_before);
  EXPECT_WHY(Of(Train()), kBackOff, "attempt 1 ended (crashed)",
             "once the workers have had time to report");
  EXPECT_EQ(Of(Train()).until, state.place_not_before);
}

TEST_F(WhyTest, ATaskThatThisBuildCannotReadSaysSo) {
  Submit({.context_lengths = {}});
  state.runs.begin()->second.unknown = "position method \"later\" is unknown";
  AfterLoad(state, now, 1);

  EXPECT_WHY(Of(Train()), kUnreadable, "position method \"later\" is unknown",
             "use a build that can read it");
}

TEST_F(WhyTest, TasksThatTheSameThingHoldsAreOneGroup) {
  Submit({.seeds = {1, 2, 3, 4, 5}, .retry = {.failures_max = 0, .losses_max = 0}});
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
  const std::string first = *state.index.live.begin();
  Begin(state.attempts.at(first));
  Finish(state.attempts.at(first), Signal(SIGSEGV));

  std::vector<std::string> told;
  std::int64_t n_tasks = 0;
  for (const WhyGroup& group : GroupsOf()) {
    n_tasks += group.n_tasks;
    told.push_back(Str(group.n_tasks, " ", EnumName(group.example->kind), " ",
                       EnumName(group.state), " ", EnumName(group.gate)));
    EXPECT_EQ(group.why.gate, group.gate);
  }
  EXPECT_EQ(n_tasks, 10);
  // The evaluations of trainings that wait, and of those that a worker prepares.
  EXPECT_EQ(told,
            (std::vector<std::string>{"2 train READY NO_FREE_SLOT", "2 evaluate BLOCKED NEEDS_TASK",
                                      "2 evaluate BLOCKED NEEDS_TASK", "1 train FAILED ENDED",
                                      "1 evaluate SKIPPED ENDED", "2 train RESERVED OFFERED"}));
}

}  // namespace
}  // namespace longrun::coordinator
