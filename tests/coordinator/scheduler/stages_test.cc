// Runs that start from the final weights of another: their training waits for it, shares its
// fate, and keeps it.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "base/hash.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class StagesTest : public SchedulerTest {
 protected:
  // The training or the evaluation of the base, or of the run that starts from it.
  Task& Of(TaskKind kind, bool of_base) {
    for (auto& [id, task] : state.tasks) {
      const bool is_of_base = state.runs.at(task.run_key).run.BaseKey().empty();
      if (task.kind == kind && is_of_base == of_base) return task;
    }
    ADD_FAILURE() << "there is no such task";
    std::abort();
  }
  Task& Base() { return Of(TaskKind::kTrain, true); }
  Task& Tuned() { return Of(TaskKind::kTrain, false); }
  Task& TunedEvaluation() { return Of(TaskKind::kEvaluate, false); }

  void SubmitBoth(const std::string& id = "sweep-1") { Submit({.tunes = true}, id); }
  void AwaitPlacement(const Task& task) {
    for (int i = 0; i < 60 && task.state != TaskState::kReserved; ++i) Wait(1000);
    ASSERT_EQ(task.state, TaskState::kReserved) << task.reason;
  }
};

TEST_F(StagesTest, ATrainingWaitsForItsBaseAndStartsFromItsFinalWeights) {
  SubmitBoth();
  EXPECT_EQ(Tuned().needs, Base().id);
  EXPECT_EQ(Tuned().state, TaskState::kBlocked);
  EXPECT_EQ(Tuned().reason,
            Str("waits for the training that it starts from (task ", Base().id.substr(0, 8), ")"));
  EXPECT_EQ(TunedEvaluation().needs, Tuned().id);
  EXPECT_EQ(TunedEvaluation().state, TaskState::kBlocked);

  Arrive("worker-1", {CpuSlot(0), CpuSlot(1)}, 1);
  EXPECT_EQ(Tuned().state, TaskState::kBlocked);  // although a slot is free
  Complete(Current(Base()));
  EXPECT_EQ(TunedEvaluation().state, TaskState::kBlocked);
  Complete(Current(Of(TaskKind::kEvaluate, true)));
  AwaitPlacement(Tuned());
  EXPECT_FALSE(Current(Tuned()).resume.has_value());
  Complete(Current(Tuned()));
  EXPECT_EQ(TunedEvaluation().state, TaskState::kReserved);
}

// Both the run's row and that of its base's training are damaged: nothing says what the training
// needs until the sweep is submitted again.
class ForgottenBaseTest : public StagesTest {
 protected:
  void Check(TaskState before) {
    const SampleSweep sample = {.context_lengths = {}, .tunes = true};
    Submit(sample);
    const std::string base = Base().id, id = Tuned().id;
    store.tasks.erase(base);
    store.folded.erase(Str("task ", base));
    store.sweeps.at("sweep-1") = {id};
    store.tasks.at(id).needs.clear();
    store.tasks.at(id).state = before;
    store.folded.at(Str("task ", id)) = EnumName(before);
    RunRecord& run = store.runs.at(Tuned().run_key);
    run.run = longrun::Run();
    run.unknown = "its row is damaged";
    run.damaged = true;
    Restart();

    Submit(sample);

    const Task& tuned = state.tasks.at(id);
    EXPECT_EQ(tuned.needs, base);
    EXPECT_EQ(tuned.state, TaskState::kBlocked) << tuned.reason;
    Arrive("worker-1", {CpuSlot(0), CpuSlot(1)}, 1);
    EXPECT_EQ(tuned.state, TaskState::kBlocked);
    Complete(Current(Base()));
    AwaitPlacement(tuned);
  }
};

TEST_F(ForgottenBaseTest, ATrainingThatWaitedWaitsAgain) { Check(TaskState::kBlocked); }
TEST_F(ForgottenBaseTest, ATrainingThatWasReadyWaitsAgain) { Check(TaskState::kReady); }

TEST_F(StagesTest, TheOrderNamesTheBasesFinalCheckpointUntilThereIsOneOfItsOwn) {
  Submit({.context_lengths = {}, .tunes = true});
  Arrive("worker-1", {CpuSlot()}, 1);
  SampleJournal journal = Begin(Current(Base()));
  journal.Checkpoint(Sha256Hex("final"), 125, true);
  journal.Final();
  const Attempt base = Current(Base());
  Deliver(base, journal, 3, static_cast<std::int64_t>(journal.entries.size()));
  const std::vector<SendStart> first = Commands<SendStart>(Finish(base, Exit(0)));
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].task.init->sha256, Sha256Hex("final"));
  EXPECT_EQ(first[0].task.init->attempt, base.id);
  EXPECT_FALSE(first[0].task.resume.has_value());

  SampleJournal own = Begin(Current(Tuned()));
  own.Checkpoint(Sha256Hex("own"), 40, false);
  Deliver(Current(Tuned()), own, 3, 3);
  Finish(Current(Tuned()), Signal(SIGKILL));
  std::vector<SendStart> second;
  for (int i = 0; i < 60 && second.empty(); ++i) second = Commands<SendStart>(Wait(1000));
  ASSERT_EQ(second.size(), 1u);
  EXPECT_FALSE(second[0].task.init.has_value());
  EXPECT_EQ(second[0].task.resume->sha256, Sha256Hex("own"));
  EXPECT_EQ(second[0].task.resume->step, 40);
}

// The execution changes bits, so a run that continues another takes its parent's. This run only
// takes weights.
TEST_F(StagesTest, TheExecutionIsTheRunsOwn) {
  Submit({.context_lengths = {}, .tunes = true});
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Base()));
  EXPECT_TRUE(state.runs.at(Base().run_key).execution.has_value());
  EXPECT_FALSE(state.runs.at(Tuned().run_key).execution.has_value());
  Begin(Current(Tuned()));
  EXPECT_TRUE(state.runs.at(Tuned().run_key).execution.has_value());
}

TEST_F(StagesTest, ADivergedBaseSkipsTheTrainingAndItsEvaluationsForGood) {
  SubmitBoth();
  Arrive("worker-1", {CpuSlot()}, 1);
  SampleJournal journal = Begin(Current(Base()));
  journal.Append(RecordKind::kFailed, {{"class", "numerical"}, {"message", "loss is NaN"}});
  Deliver(Current(Base()), journal, 3, 3);
  Finish(Current(Base()), Exit(80));
  EXPECT_EQ(Tuned().state, TaskState::kSkipped);
  EXPECT_NE(Tuned().reason.find("failed: diverged"), std::string::npos) << Tuned().reason;
  EXPECT_EQ(TunedEvaluation().state, TaskState::kSkipped);
  EXPECT_NE(TunedEvaluation().reason.find("was skipped: the training it needs"), std::string::npos)
      << TunedEvaluation().reason;
  EXPECT_TRUE(FailedForGood(state, Tuned()));
  EXPECT_TRUE(FailedForGood(state, TunedEvaluation()));

  const StepResult again = Submit({.tunes = true});
  EXPECT_EQ(again.submit.tasks_retried, 0);
  EXPECT_EQ(again.submit.tasks_failed_for_good, 4);

  // A stage that is added later is stored, and skipped at once.
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  Do(SweepRemoved{.sweep_id = "sweep-1"});
}

TEST_F(StagesTest, AStageAddedToADivergedRunIsSkippedAtOnce) {
  Submit({});
  Arrive("worker-1", {CpuSlot()}, 1);
  SampleJournal journal = Begin(Current(Train()));
  journal.Append(RecordKind::kFailed, {{"class", "numerical"}, {"message", "loss is NaN"}});
  Deliver(Current(Train()), journal, 3, 3);
  Finish(Current(Train()), Exit(80));

  const StepResult added = Submit({.tunes = true});
  EXPECT_EQ(added.submit.train_tasks_new, 0);
  EXPECT_EQ(Tuned().state, TaskState::kSkipped);
  EXPECT_EQ(TunedEvaluation().state, TaskState::kSkipped);
  EXPECT_NE(TunedEvaluation().reason.find("was skipped"), std::string::npos);
}

TEST_F(StagesTest, ARetryOfTheLastEvaluationTakesTheWholeChainAlong) {
  Submit({.retry = {.failures_max = 0}, .tunes = true});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Base()));
  Finish(Current(Base()), Signal(11));
  ASSERT_EQ(TunedEvaluation().state, TaskState::kSkipped);

  const StepResult retried = Do(RetryRequested{.sweep_id = {}, .tasks = {TunedEvaluation().id}});
  EXPECT_EQ(retried.submit.tasks_retried, 3);
  EXPECT_EQ(Base().state, TaskState::kReserved);
  EXPECT_EQ(Tuned().state, TaskState::kBlocked);
  EXPECT_EQ(TunedEvaluation().state, TaskState::kBlocked);
}

TEST_F(StagesTest, ACancelledBaseSkipsWhatStartsFromIt) {
  SubmitBoth();
  Submit({}, "other");  // only the base and its evaluation
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Base()));
  Do(SweepCancelled{.sweep_id = "other"});
  EXPECT_EQ(Base().state, TaskState::kRunning);  // the stages need it
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  EXPECT_EQ(Tuned().state, TaskState::kCancelled);
  EXPECT_EQ(TunedEvaluation().state, TaskState::kCancelled);
  Finish(Current(Base()), Exit(75));
  EXPECT_EQ(Base().state, TaskState::kCancelled);
}

TEST_F(StagesTest, ARunOfAnotherSweepMustHaveFinished) {
  EXPECT_NE(Submit({.only_tunes = true}).status.message().find("has not finished training"),
            std::string::npos);
  Submit({.context_lengths = {}}, "base");
  EXPECT_FALSE(Submit({.context_lengths = {}, .only_tunes = true}).status.ok());
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  EXPECT_TRUE(Submit({.context_lengths = {}, .only_tunes = true}).status.ok());
  EXPECT_EQ(Tuned().state, TaskState::kReserved);
}

TEST_F(StagesTest, ABaseIsNoGarbageWhileARunThatStartsFromItIsKept) {
  Submit({.context_lengths = {}}, "base");
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  Submit({.context_lengths = {}, .only_tunes = true}, "tuned");
  const std::string base = Base().id;
  Do(SweepRemoved{.sweep_id = "base"});
  const auto collect = [this] {
    return Do(GarbageWanted{.dry_run = false, .orphans = store.OrphanTasks()}).garbage_tasks;
  };
  EXPECT_TRUE(collect().empty());
  // Its checkpoint stays as well.
  const std::vector<StoredCheckpoint> candidate = {
      {.task = base, .step = 125, .sha256 = Sha256Hex("final")}};
  EXPECT_TRUE(Do(GarbageWanted{.dry_run = false, .candidates = candidate}).garbage.empty());

  Complete(Current(Tuned()));
  Do(SweepRemoved{.sweep_id = "tuned"});
  const std::vector<std::string> gone = collect();  // the run that needs the other goes first
  ASSERT_EQ(gone.size(), 2u);
  EXPECT_EQ(gone[1], base);
  EXPECT_TRUE(state.runs.empty());
}

TEST_F(StagesTest, ARestartOfTheCoordinatorChangesNothing) {
  SubmitBoth();
  Restart();
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Base()));
  Restart();
  EXPECT_EQ(Tuned().state, TaskState::kReady);
  EXPECT_EQ(TunedEvaluation().state, TaskState::kBlocked);
}

}  // namespace
}  // namespace longrun::coordinator
