// When a run's execution is decided: with the first attempt that starts, not with an offer.
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class ExecutionTest : public SchedulerTest {
 protected:
  // Of another kind than CpuSlot.
  static Slot WideSlot(std::int64_t index = 0) {
    Slot slot = CpuSlot(index);
    slot.simd = "avx512";
    return slot;
  }
  void Reject(const Attempt& attempt, const std::string& failure_class = "",
              SessionId session = 1) {
    Do(AttemptRejected{.session = session,
                       .attempt = attempt.id,
                       .epoch = attempt.epoch,
                       .failure_class = failure_class,
                       .reason = "a trainer is on the slot"});
  }
  // Two evaluations of an imported model: nothing has to be trained first, so both are ready.
  static Sweep Imported() {
    Sweep sweep = MakeSweep({.context_lengths = {}});
    PlannedRun& planned = sweep.runs[0];
    planned.run.train.tokens = 0;
    planned.run.init = RunInit{.sha256 = Sha256Hex("imported")};
    planned.run_key = planned.run.Key();
    for (const char* const split : {"validation", "test"}) {
      PlannedEvaluation evaluation;
      evaluation.evaluation = {{"perplexity", {{"split", split}}}};
      evaluation.text = evaluation.evaluation;
      evaluation.cells = {{.cell = CellKey(planned.run_key, evaluation.evaluation, 64),
                           .metric = "nll",
                           .context_length = 64,
                           .variant = ""}};
      planned.evaluations.push_back(std::move(evaluation));
    }
    return sweep;
  }
  StepResult SubmitImported() {
    return Do(SweepSubmitted{
        .sweep_id = "imported", .sweep = Imported(), .dataset_paths = SampleDatasets()});
  }
  const RunRecord& TheRun() const { return state.runs.begin()->second; }
  // The live attempts, by the instruction set of their slots' workers.
  std::vector<std::string> LiveSets() const {
    std::vector<std::string> sets;
    for (const std::string& id : state.index.live) {
      sets.push_back(state.workers.at(state.attempts.at(id).worker).slots.at(0).simd);
    }
    return sets;
  }
  Task& Waiting() {
    for (auto& [id, task] : state.tasks) {
      if (task.state == TaskState::kReady) return task;
    }
    ADD_FAILURE() << "no task waits";
    std::abort();
  }
};

TEST_F(ExecutionTest, ARefusedFirstOfferLeavesTheRunFreeForAnotherKindOfSlot) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Reject(Current(Train()));
  EXPECT_EQ(TheRun().execution, std::nullopt);
  const auto starts = Commands<SendStart>(Arrive("v", {WideSlot()}, 2));

  ASSERT_EQ(starts.size(), 1u) << Train().reason;
  EXPECT_EQ(starts[0].task.execution.simd, "avx512");
  Begin(Current(Train()), 2);
  EXPECT_EQ(store.runs.begin()->second.execution, starts[0].task.execution);
}

TEST_F(ExecutionTest, AnOfferThatNobodyAnswersLeavesTheRunFree) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Do(WorkerGone{.session = 1});
  Arrive("v", {WideSlot()}, 2);
  Wait(11'000);

  EXPECT_EQ(Current(Train()).worker, "v") << Train().reason;
}

TEST_F(ExecutionTest, AnAttemptThatIsLostBeforeItStartsLeavesTheRunFree) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Accept(Current(Train()));
  Wait(state.limits.lease_ms + 1000);
  ASSERT_EQ(Train().losses, 1);
  Arrive("v", {WideSlot()}, 2);
  Wait(60'000);

  EXPECT_EQ(Current(Train()).worker, "v") << Train().reason;
}

// Its journal has begun, but it reported no device: nothing was computed.
TEST_F(ExecutionTest, ATrainerThatFailsBeforeItStartsLeavesTheRunFree) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  const Attempt attempt = Current(Train());
  Accept(attempt);
  SampleJournal journal;
  journal.Append(RecordKind::kAttempt, {{"task", attempt.task}, {"resume", nullptr}});
  journal.Append(RecordKind::kFailed, {{"class", "crashed"}, {"message", "no device"}});
  Deliver(attempt, journal, 1, 2);
  Finish(Current(Train()), Exit(70));

  EXPECT_EQ(store.runs.begin()->second.execution, std::nullopt);
}

TEST_F(ExecutionTest, AnAttemptThatStartedBindsTheRunHoweverItEnds) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(11));
  Arrive("v", {WideSlot()}, 2);
  Restart();
  Arrive("v", {WideSlot()}, 3);
  Wait(200'000);

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(TheRun().execution->simd, "avx2");
}

// Else two evaluations of one run would be computed in two ways.
TEST_F(ExecutionTest, WhileAnOfferIsOpenTheRunsOtherTasksWaitForTheSameKindOfSlot) {
  Arrive("v", {WideSlot()}, 1);
  Arrive("w", {CpuSlot()}, 2);
  SubmitImported();
  EXPECT_EQ(LiveSets(), std::vector<std::string>{"avx512"});
  EXPECT_EQ(Waiting().state, TaskState::kReady);

  Restart();
  Arrive("w", {CpuSlot()}, 4);
  EXPECT_EQ(LiveSets(), std::vector<std::string>{"avx512"}) << "a restart forgets no open offer";

  const std::string offered = *state.index.live.begin();
  Arrive("v", {WideSlot()}, 3, {Listed(state.attempts.at(offered))});
  Reject(state.attempts.at(offered), "", 3);
  EXPECT_EQ(LiveSets(), std::vector<std::string>{"avx2"}) << "the free slot takes one of them";
}

// An imported model has no training steps.
TEST_F(ExecutionTest, AnImportedModelOfALargeVocabularyHasNoWideChunksOfLogits) {
  Slot slot = CpuSlot();
  slot.head = EnumName(HeadChunks::kByWidth);
  Sweep sweep = Imported();
  sweep.runs[0].run.model.vocab_size = 1 << 18;
  ASSERT_EQ(HeadChunksFor(sweep.runs[0].run.model, slot.kind), HeadChunks::kByWidth);
  Arrive("w", {slot}, 1);
  const auto starts = Commands<SendStart>(Do(
      SweepSubmitted{.sweep_id = "imported", .sweep = sweep, .dataset_paths = SampleDatasets()}));

  ASSERT_EQ(starts.size(), 1u);
  EXPECT_EQ(starts[0].task.execution.head, HeadChunks::kByLogits);
}

TEST_F(ExecutionTest, AllOpenOffersOfARunHaveOneExecutionAndTheFirstToStartBindsIt) {
  Slot wide = CpuSlot(1);
  wide.threads = 8;
  Arrive("w", {CpuSlot(0), wide}, 1);
  const auto starts = Commands<SendStart>(SubmitImported());
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_EQ(starts[0].task.execution, starts[1].task.execution);

  Reject(state.attempts.at(starts[0].task.attempt), "data");
  EXPECT_EQ(TheRun().execution, std::nullopt);
  EXPECT_EQ(state.index.offered.size(), 1u) << "the other offer is open";
  Begin(state.attempts.at(starts[1].task.attempt));
  EXPECT_EQ(TheRun().execution, starts[1].task.execution);
  EXPECT_TRUE(state.index.offered.empty());
}

// The restored database does not know in which way the attempt computes; the attempt's own record
// does.
TEST_F(ExecutionTest, AnAdoptedAttemptBindsTheRunToTheExecutionThatItReports) {
  state.restore_count = 1;
  Submit({.context_lengths = {}});
  Attempt earlier;
  earlier.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  earlier.task = Train().id;
  earlier.epoch = 1;
  Arrive("v", {WideSlot()}, 1, {Listed(earlier)});
  Execution execution;
  execution.threads = 2;
  execution.micro_batch = 4;
  execution.simd = "avx512";
  SampleJournal journal;
  journal.Append(RecordKind::kAttempt, {{"task", earlier.task}, {"resume", nullptr}});
  journal.Append(RecordKind::kStarted, {{"execution", execution.ToJson()}});
  Deliver(earlier, journal, 1, 2);

  EXPECT_EQ(store.runs.begin()->second.execution, execution);
}

TEST_F(ExecutionTest, ACollectedEvaluationLeavesNoTrace) {
  Arrive("w", {CpuSlot()}, 1);
  SubmitImported();
  EXPECT_EQ(state.index.untrained.size(), 1u);
  Do(SweepCancelled{.sweep_id = "imported"});
  for (const std::string& id : std::set(state.index.live)) Reject(state.attempts.at(id));
  Do(SweepRemoved{.sweep_id = "imported"});
  Do(GarbageWanted{.dry_run = false, .orphans = store.OrphanTasks()});

  EXPECT_TRUE(state.tasks.empty());
  EXPECT_TRUE(state.index.untrained.empty());
}

}  // namespace
}  // namespace longrun::coordinator
