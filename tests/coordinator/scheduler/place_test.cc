// Which task gets which slot.
#include "base/units.h"
#include "sweeps/cost.h"
#include "sweeps/protocol.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class PlaceTest : public SchedulerTest {
 protected:
  const std::string& Remedy(const Task& task) const {
    return state.index.ready.at(task.ready_class).unfit_remedy;
  }
};

TEST_F(PlaceTest, HigherPriorityGoesFirst) {
  Submit({.seeds = {1}, .context_lengths = {}}, "low");
  Submit({.seeds = {2}, .context_lengths = {}, .priority = 7}, "high");
  const auto starts = Commands<SendStart>(Arrive("w", {CpuSlot()}, 1));

  ASSERT_EQ(starts.size(), 1u);
  EXPECT_EQ(starts[0].task.run.seed, 2);
}

TEST_F(PlaceTest, TheSweepThatWasPutFirstGoesBeforeAllOthersWhateverTheirPriority) {
  Submit({.seeds = {1, 2}, .context_lengths = {}, .priority = 7}, "abandoned");
  Do(SweepSubmitted{.sweep_id = "next",
                    .sweep = MakeSweep({.seeds = {3, 4}, .context_lengths = {}}),
                    .dataset_paths = SampleDatasets(),
                    .first = true});
  const auto starts = Commands<SendStart>(Arrive("w", {CpuSlot(0), CpuSlot(1), CpuSlot(2)}, 1));

  ASSERT_EQ(starts.size(), 3u);
  EXPECT_EQ(starts[0].task.run.seed, 3);
  EXPECT_EQ(starts[1].task.run.seed, 4);
  EXPECT_EQ(starts[2].task.run.seed, 1);  // what is left over is not idle
  EXPECT_EQ(SweepStateName(state, "next"), "RUNNING");
}

TEST_F(PlaceTest, AnotherSweepMayBePutFirstAndARestartPutsNoneFirst) {
  Submit({.seeds = {1}, .context_lengths = {}}, "a");
  Submit({.seeds = {2}, .context_lengths = {}}, "b");
  Submit({.seeds = {3}, .context_lengths = {}}, "c");
  Do(SweepPrioritized{.sweep_id = "b"});
  Do(SweepPrioritized{.sweep_id = "c"});
  EXPECT_EQ(Do(SweepPrioritized{.sweep_id = "none"}).status.code(), Code::kNotFound);
  EXPECT_EQ(Commands<SendStart>(Arrive("w", {CpuSlot()}, 1)).at(0).task.run.seed, 3);

  Restart();
  EXPECT_EQ(Commands<SendStart>(Arrive("v", {CpuSlot()}, 2)).at(0).task.run.seed, 1);
}

TEST_F(PlaceTest, ASweepOfWhichNothingRunsIsPendingAgain) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {}}, "a");
  Begin(Current(Train()));
  EXPECT_EQ(SweepStateName(state, "a"), "RUNNING");
  Do(WorkerLeaves{.session = 1});
  Finish(Current(Train()), Exit(75));

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(SweepStateName(state, "a"), "PENDING");
  EXPECT_TRUE(IsActiveSweep(state, "a"));
}

TEST_F(PlaceTest, ALaterSweepRaisesThePriorityOfASharedTask) {
  Submit({.seeds = {1}, .context_lengths = {}}, "a");
  Submit({.seeds = {2}, .context_lengths = {}}, "b");
  Submit({.seeds = {2}, .context_lengths = {}, .priority = 1}, "c");

  EXPECT_EQ(Commands<SendStart>(Arrive("w", {CpuSlot()}, 1)).at(0).task.run.seed, 2);
}

TEST_F(PlaceTest, AnEvaluationGoesBeforeTheNextTraining) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1, 2}, .context_lengths = {64}});
  Complete(state.attempts.at(*state.index.live.begin()));

  const Attempt& next = state.attempts.at(*state.index.live.begin());
  EXPECT_EQ(state.tasks.at(next.task).kind, TaskKind::kEvaluate);
}

TEST_F(PlaceTest, TheFirstAttemptThatStartsDecidesTheExecutionForGood) {
  Submit({});
  const auto starts = Commands<SendStart>(Arrive("w", {CpuSlot()}, 1));

  ASSERT_EQ(starts.size(), 1u);
  const Execution& execution = starts[0].task.execution;
  EXPECT_EQ(execution.device_kind, DeviceKind::kCpu);
  EXPECT_EQ(execution.threads, 2);
  EXPECT_EQ(execution.simd, "avx2");
  EXPECT_EQ(execution.linear, "aten/AuthenticAMD");
  EXPECT_EQ(execution.attention, AttentionBackend::kFused);
  EXPECT_EQ(execution.operators, OperatorSet::kLongrun);
  EXPECT_EQ(execution.subnormals, Subnormals::kFlushed);
  const longrun::Run run = SampleRun(1);  // not testing::Test::Run
  EXPECT_EQ(execution.micro_batch,
            AutoMicroBatch(run.model, run.train, 4'000'000'000,
                           NewRunMemoryPath(run.model, DeviceKind::kCpu, false)));
  EXPECT_FALSE(store.runs.begin()->second.execution.has_value()) << "nothing has started";
  Begin(Current(Train()));
  EXPECT_EQ(store.runs.begin()->second.execution, execution);
}

TEST_F(PlaceTest, ARunInBf16KeepsTheInstructionsThatMultiplyIt) {
  Slot amx = CpuSlot();
  amx.bf16 = "amx";
  Sweep sweep = MakeSweep({.seeds = {1}, .context_lengths = {}});
  sweep.runs[0].run.train.precision = Precision::kBf16;
  sweep.runs[0].run_key = sweep.runs[0].run.Key();
  Arrive("w", {amx}, 1);
  Do(SweepSubmitted{.sweep_id = "one", .sweep = sweep, .dataset_paths = SampleDatasets()});
  Begin(Current(Train()));
  EXPECT_EQ(store.runs.begin()->second.execution->bf16, "amx");
  Finish(Current(Train()), Signal(11));
  Slot other = CpuSlot();
  other.bf16 = "avx512_bf16";
  Arrive("w", {other}, 2, {}, "B");
  Wait(60'000);

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_NE(Train().reason.find("its path of products in bf16 is avx512_bf16, not amx"),
            std::string::npos)
      << Train().reason;
  EXPECT_NE(Remedy(Train()).find(", products in bf16 by amx"), std::string::npos)
      << Remedy(Train());
}

// With more than 2^23 logits in as many rows as the model is wide.
Sweep OfLargeVocabulary(std::vector<std::int64_t> context_lengths = {}) {
  Sweep sweep = MakeSweep({.seeds = {1}, .context_lengths = std::move(context_lengths)});
  sweep.runs[0].run.model.vocab_size = 1 << 18;
  sweep.runs[0].run_key = sweep.runs[0].run.Key();
  return sweep;
}

TEST_F(PlaceTest, ARunKeepsTheChunksOfLogitsThatItBeganWith) {
  Slot slot = CpuSlot();
  slot.head = EnumName(HeadChunks::kByWidth);
  Arrive("w", {slot}, 1);
  Do(SweepSubmitted{
      .sweep_id = "one", .sweep = OfLargeVocabulary(), .dataset_paths = SampleDatasets()});
  Begin(Current(Train()));
  EXPECT_EQ(store.runs.begin()->second.execution->head, HeadChunks::kByWidth);
  Finish(Current(Train()), Signal(11));
  Arrive("w", {CpuSlot()}, 2, {}, "B");  // an older release
  Wait(60'000);

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_NE(Train().reason.find("its way of cutting logits into chunks is logits, not width"),
            std::string::npos)
      << Train().reason;
  EXPECT_NE(Remedy(Train()).find(", a worker of this release or a newer one"), std::string::npos)
      << Remedy(Train());
}

TEST_F(PlaceTest, AnOlderWorkerEvaluatesARunOfAnyChunksOfLogits) {
  Slot slot = CpuSlot();
  slot.head = EnumName(HeadChunks::kByWidth);
  Arrive("v", {slot}, 1);
  Do(SweepSubmitted{
      .sweep_id = "one", .sweep = OfLargeVocabulary({64}), .dataset_paths = SampleDatasets()});
  Arrive("w", {CpuSlot()}, 2);
  Do(WorkerDrained{.worker = "v"});  // after this training
  Complete(Current(Train()));

  EXPECT_EQ(store.runs.begin()->second.execution->head, HeadChunks::kByWidth);
  ASSERT_EQ(Evaluate().state, TaskState::kReserved) << Evaluate().reason;
  EXPECT_EQ(Current(Evaluate()).worker, "w");
}

// A run that was queued on an older release, and only just fitted, still starts.
TEST_F(PlaceTest, ASlotWithoutRoomForWideChunksOfLogitsTakesTheOthers) {
  const Sweep sweep = OfLargeVocabulary();
  const longrun::Run& run = sweep.runs[0].run;
  MemoryPath path = NewRunMemoryPath(run.model, DeviceKind::kCpu, false);
  ASSERT_EQ(path.head, HeadChunks::kByWidth);
  const std::int64_t wide_bytes = TrainMemoryBytes(run.model, run.train, 1, path);
  path.head = HeadChunks::kByLogits;
  const std::int64_t least_bytes = TrainMemoryBytes(run.model, run.train, 1, path);
  ASSERT_LT(least_bytes, wide_bytes);
  const auto head_with = [&](std::int64_t memory_bytes) -> std::optional<HeadChunks> {
    const std::string name = Str("of-", memory_bytes);
    Sweep one = sweep;
    one.runs[0].run.seed = memory_bytes;
    one.runs[0].run_key = one.runs[0].run.Key();
    Do(SweepSubmitted{.sweep_id = name, .sweep = one, .dataset_paths = SampleDatasets()});
    Slot slot = CpuSlot();
    slot.head = EnumName(HeadChunks::kByWidth);
    slot.memory_bytes = memory_bytes;
    const auto starts = Commands<SendStart>(Arrive(name, {slot}, memory_bytes));
    if (starts.empty()) return std::nullopt;
    return starts[0].task.execution.head;
  };

  EXPECT_EQ(head_with(wide_bytes), HeadChunks::kByWidth);
  EXPECT_EQ(head_with(wide_bytes - 1), HeadChunks::kByLogits);
  EXPECT_EQ(head_with(least_bytes), HeadChunks::kByLogits);
  EXPECT_EQ(head_with(least_bytes - 1), std::nullopt);
}

TEST_F(PlaceTest, ARunThatBeginsOnAnOlderWorkerHasTheChunksOfLogitsOfThatRelease) {
  Arrive("w", {CpuSlot()}, 1);
  Do(SweepSubmitted{
      .sweep_id = "one", .sweep = OfLargeVocabulary(), .dataset_paths = SampleDatasets()});
  Begin(Current(Train()));
  EXPECT_EQ(store.runs.begin()->second.execution->head, HeadChunks::kByLogits);
  Finish(Current(Train()), Signal(11));
  Slot slot = CpuSlot();
  slot.head = EnumName(HeadChunks::kByWidth);
  Wait(60'000);
  const auto starts = Commands<SendStart>(Arrive("w", {slot}, 2, {}, "B"));

  ASSERT_EQ(starts.size(), 1u) << Train().reason;
  EXPECT_EQ(starts[0].task.execution.head, HeadChunks::kByLogits);
}

TEST_F(PlaceTest, ARunOnAGpuKeepsItsAttention) {
  Slot gpu = CpuSlot();
  gpu.kind = DeviceKind::kGpu;
  gpu.attention = "fused";
  gpu.operators = "longrun";
  Arrive("w", {gpu}, 1);
  Submit({});
  Begin(Current(Train()));
  EXPECT_EQ(store.runs.begin()->second.execution->attention, AttentionBackend::kFused);
  EXPECT_EQ(store.runs.begin()->second.execution->operators, OperatorSet::kLongrun);
  Finish(Current(Train()), Signal(11));
  gpu.attention = gpu.operators = "";  // another build of the trainer
  Arrive("w", {gpu}, 2, {}, "B");
  Wait(60'000);

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_NE(Train().reason.find("its attention is reference, not fused"), std::string::npos)
      << Train().reason;
  EXPECT_NE(Train().reason.find("its set of operators is aten, not longrun"), std::string::npos)
      << Train().reason;
}

TEST_F(PlaceTest, AGpuOfAnOlderWorkerGetsARunWithTheOperatorsThatItHas) {
  Slot gpu = CpuSlot();
  gpu.kind = DeviceKind::kGpu;
  gpu.attention = "fused";
  Arrive("w", {gpu}, 1);
  Submit({});
  Begin(Current(Train()));

  EXPECT_EQ(store.runs.begin()->second.execution->attention, AttentionBackend::kFused);
  EXPECT_EQ(store.runs.begin()->second.execution->operators, OperatorSet::kAten);
}

TEST_F(PlaceTest, HeadsTooWideForTheFusedAttentionOfAGpuTakeTheReference) {
  Slot gpu = CpuSlot();
  gpu.kind = DeviceKind::kGpu;
  gpu.attention = "fused/128";
  for (const std::int64_t head_dim : {128, 136}) {
    const std::string name = Str("sweep-", head_dim);
    Sweep sweep = MakeSweep({.seeds = {head_dim}});
    sweep.runs[0].run.model.n_head = 1;
    sweep.runs[0].run.model.d_model = head_dim;
    Do(SweepSubmitted{.sweep_id = name, .sweep = sweep, .dataset_paths = SampleDatasets()});
    Arrive(Str("w", head_dim), {gpu}, head_dim);
    const Attempt& offer = Current(state.tasks.at(*state.sweep_tasks.at(name).begin()));
    ASSERT_NE(offer.execution, nullptr);
    EXPECT_EQ(offer.execution->attention,
              head_dim == 128 ? AttentionBackend::kFused : AttentionBackend::kReference);
  }
}

// The reference keeps the probabilities of all pairs.
TEST_F(PlaceTest, ATextThatOnlyFusedAttentionHasRoomForNeedsASlotThatHasIt) {
  const longrun::Run run = SampleRun(1);
  const std::int64_t head_dim = run.model.attention_shape().head_dim;
  const auto bytes = [&](bool is_fused) {
    return TrainMemoryBytes(
        run.model, run.train, 1,
        NewRunMemoryPath(run.model, DeviceKind::kGpu, false, is_fused ? head_dim : 0));
  };
  Slot gpu = CpuSlot();
  gpu.kind = DeviceKind::kGpu;
  gpu.memory_bytes = (bytes(false) + bytes(true)) / 2;
  ASSERT_LT(bytes(true), gpu.memory_bytes);
  ASSERT_LT(gpu.memory_bytes, bytes(false));
  Arrive("w", {gpu}, 1);
  Submit({});
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_NE(Train().reason.find("memory"), std::string::npos) << Train().reason;
  gpu.attention = "fused";
  Arrive("v", {gpu}, 2);

  EXPECT_EQ(Train().state, TaskState::kReserved) << Train().reason;
}

TEST_F(PlaceTest, ARunThatBeganWithTheReferenceGoesToAGpuWithFusedAttention) {
  Slot gpu = CpuSlot();
  gpu.kind = DeviceKind::kGpu;
  Arrive("w", {gpu}, 1);
  Submit({});
  Begin(Current(Train()));
  EXPECT_EQ(store.runs.begin()->second.execution->attention, AttentionBackend::kReference);
  EXPECT_EQ(store.runs.begin()->second.execution->operators, OperatorSet::kAten);
  Finish(Current(Train()), Signal(11));
  gpu.attention = "fused";
  Wait(60'000);
  Arrive("v", {gpu}, 2);

  EXPECT_EQ(Train().state, TaskState::kReserved) << Train().reason;
}

TEST_F(PlaceTest, ARunInFp32GoesToAMachineWithOtherInstructionsForBf16) {
  Slot slot = CpuSlot();
  slot.bf16 = "amx";
  Arrive("w", {slot}, 1);
  Submit({});
  Begin(Current(Train()));
  EXPECT_EQ(store.runs.begin()->second.execution->bf16, "");
  Finish(Current(Train()), Signal(11));
  slot.bf16 = "none";
  Wait(60'000);
  Arrive("v", {slot}, 2);

  EXPECT_EQ(Train().state, TaskState::kReserved) << Train().reason;
}

// A slot that is too small for one sequence as it is takes it with activation checkpointing.
TEST_F(PlaceTest, ActivationCheckpointingNeedsLessMemoryAndIsToldToTheTrainer) {
  const longrun::Run run = SampleRun(1);
  Slot small = CpuSlot();
  small.memory_bytes = TrainMemoryBytes(run.model, run.train, 1,
                                        NewRunMemoryPath(run.model, DeviceKind::kCpu, false)) -
                       1;
  Sweep sweep = MakeSweep({.seeds = {1}, .context_lengths = {}});
  Do(SweepSubmitted{.sweep_id = "plain", .sweep = sweep, .dataset_paths = SampleDatasets()});
  EXPECT_TRUE(Commands<SendStart>(Arrive("w", {small}, 1)).empty());
  Do(SweepCancelled{.sweep_id = "plain"});

  sweep.activation_checkpointing = true;
  const auto starts = Commands<SendStart>(
      Do(SweepSubmitted{.sweep_id = "again", .sweep = sweep, .dataset_paths = SampleDatasets()}));

  ASSERT_EQ(starts.size(), 1u);
  EXPECT_TRUE(starts[0].task.activation_checkpointing);
  EXPECT_EQ(starts[0].task.execution.micro_batch,
            AutoMicroBatch(run.model, run.train, small.memory_bytes,
                           NewRunMemoryPath(run.model, DeviceKind::kCpu, true)));
}

TEST_F(PlaceTest, AnEvaluationThatACpuHasNoMemoryForIsNotOfferedAndTheReasonSaysSo) {
  constexpr std::int64_t kLong = 1 << 21;
  const ModelConfig model = SampleRun(1).model;
  ASSERT_GT(EvaluateMemoryBytes(model, kLong, NewRunMemoryPath(model, DeviceKind::kCpu, false), 0),
            CpuSlot().memory_bytes);
  Slot smaller = CpuSlot();
  smaller.memory_bytes /= 2;
  Arrive("a", {smaller}, 1);
  Arrive("w", {CpuSlot()}, 2);
  Submit({.seeds = {1}, .context_lengths = {kLong}});
  Complete(Current(Train()));

  EXPECT_EQ(Evaluate().state, TaskState::kReady);
  EXPECT_NE(
      Evaluate().reason.find(Str("slot 0 of worker w (w.example) comes closest, but its memory is ",
                                 FormatBytes(CpuSlot().memory_bytes), ", less than the ")),
      std::string::npos)
      << Evaluate().reason;
  EXPECT_NE(Evaluate().reason.find(" that the evaluation needs on a cpu"), std::string::npos)
      << Evaluate().reason;
}

TEST_F(PlaceTest, AnEvaluationIsPlacedByTheLengthOfItsPrompts) {
  constexpr std::int64_t kShort = 9000, kLong = 1 << 21;
  Arrive("w", {CpuSlot()}, 1);
  Sweep sweep = MakeSweep({.seeds = {1}, .context_lengths = {kShort}});
  for (ExpectedCell& cell : sweep.runs[0].evaluations[0].cells) cell.prompt_tokens = kLong;
  Do(SweepSubmitted{.sweep_id = "prompts", .sweep = sweep, .dataset_paths = SampleDatasets()});
  Complete(Current(Train()));
  const ModelConfig model = SampleRun(1).model;
  const MemoryPath path = NewRunMemoryPath(model, DeviceKind::kCpu, false);
  ASSERT_LT(EvaluateMemoryBytes(model, kShort, path, 0), CpuSlot().memory_bytes);

  EXPECT_EQ(Evaluate().state, TaskState::kReady);
  EXPECT_NE(Evaluate().reason.find(" that the evaluation needs on a cpu"), std::string::npos)
      << Evaluate().reason;

  Restart();
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(Evaluate().state, TaskState::kReady) << Evaluate().reason;
}

// There the cell says out_of_memory, and the shorter ones have their numbers.
TEST_F(PlaceTest, AGpuIsAskedWhateverAnEvaluationSeemsToNeed) {
  Slot gpu = CpuSlot();
  gpu.kind = DeviceKind::kGpu;
  Arrive("w", {gpu}, 1);
  Submit({.seeds = {1}, .context_lengths = {1 << 20}});
  Complete(Current(Train()));

  EXPECT_EQ(Evaluate().state, TaskState::kReserved) << Evaluate().reason;
}

TEST_F(PlaceTest, AMachineThatCannotHonourTheExecutionGetsNoAttemptAndTheReasonNamesIt) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({});
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(11));
  Slot other = CpuSlot();
  other.simd = "avx512";
  Arrive("w", {other}, 2, {}, "B");
  Wait(60'000);

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_NE(Train().reason.find("its instruction set is avx512, not avx2"), std::string::npos)
      << Train().reason;
  // The right machine comes: it runs, and the reason is not the old one.
  Arrive("v", {CpuSlot()}, 3);
  EXPECT_EQ(Train().state, TaskState::kReserved);
}

TEST_F(PlaceTest, ASlotOfMoreThreadsTakesARunThatWasBegunWithFewer) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({});
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(11));
  Slot wide = CpuSlot();
  wide.threads = 8;
  Arrive("w", {wide}, 2, {}, "B");
  Wait(60'000);

  EXPECT_GT(Train().attempts, 1) << Train().reason;
  EXPECT_EQ(store.runs.begin()->second.execution->threads, 2);
}

TEST_F(PlaceTest, ATaskThatNoWorkerCouldRunNamesWhatItWantsAndTheNearest) {
  Submit({.device_kind = DeviceChoice::kGpu});
  EXPECT_EQ(Train().reason, "waits for a free slot");
  Slot small = CpuSlot(1);
  small.memory_bytes = 1;
  Arrive("w", {CpuSlot(0), small}, 1);

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(
      Train().reason,
      "no worker can run it: slot 0 of worker w (w.example) comes closest, but it is a cpu slot, "
      "not a gpu slot");
}

TEST_F(PlaceTest, ATaskThatJoinsAnUnplaceableClassGetsItsReasonAtOnce) {
  Submit({.context_lengths = {}, .device_kind = DeviceChoice::kGpu});
  Arrive("w", {CpuSlot()}, 1);
  ASSERT_TRUE(Train().reason.starts_with("no worker can run it")) << Train().reason;
  const std::string reason = Train().reason;

  Submit({.seeds = {2}, .context_lengths = {}, .device_kind = DeviceChoice::kGpu}, "later");

  const Task& joined = state.tasks.at(*state.sweep_tasks.at("later").begin());
  EXPECT_EQ(joined.reason, reason);
  EXPECT_EQ(store.tasks.at(joined.id).reason, reason) << "it is also stored";
}

TEST_F(PlaceTest, ATaskThatIsUnplaceableNoMoreAfterARestartLosesThatReason) {
  Submit({.context_lengths = {}, .device_kind = DeviceChoice::kGpu});
  Arrive("w", {CpuSlot()}, 1);
  ASSERT_TRUE(Train().reason.starts_with("no worker can run it")) << Train().reason;
  Do(WorkerGone{.session = 1});
  Restart();
  state.workers.clear();  // it was forgotten, as a job that has left

  Wait(1'000);

  EXPECT_EQ(Train().reason, "waits for a free slot");
}

// Invariant I-3.
TEST_F(PlaceTest, ASlotHasOneAttemptAtATime) {
  Submit({.seeds = {1, 2, 3}, .context_lengths = {}});
  EXPECT_EQ(Commands<SendStart>(Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1)).size(), 2u);
  EXPECT_TRUE(Commands<SendStart>(Wait(1000)).empty());
}

TEST_F(PlaceTest, ASuspectWorkerGetsNothingNew) {
  Arrive("w", {CpuSlot()}, 1);
  Wait(16'000);
  Submit({});
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Commands<SendStart>(Do(WorkerHeard{.session = 1, .number = 1, .attempts = {}})).size(),
            1u);
}

TEST_F(PlaceTest, AFailedTaskPrefersAnotherWorkerButDoesNotStarveWithoutOne) {
  Arrive("a", {CpuSlot()}, 1);
  Submit({.context_lengths = {}, .retry = {.failures_max = 5, .losses_max = 5}});
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(11));
  ASSERT_EQ(Train().avoid_worker, "a");
  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {}});
  for (int i = 0; i < 20 && Train().state == TaskState::kReady; ++i) {
    Wait(1'000);
    Do(WorkerHeard{.session = 1, .number = 2, .attempts = {}});
  }
  EXPECT_EQ(Current(Train()).n, 2) << "the only worker gets it again";
  EXPECT_EQ(Current(Train()).worker, "a");

  Begin(Current(Train()));
  Arrive("b", {CpuSlot()}, 2);
  Finish(Current(Train()), Signal(11));
  for (int i = 0; i < 40 && Train().state == TaskState::kReady; ++i) {
    Wait(1'000);
    Do(WorkerHeard{.session = 1, .number = 3, .attempts = {}});
    Do(WorkerHeard{.session = 2, .number = 3, .attempts = {}});
  }
  EXPECT_EQ(Current(Train()).worker, "b");
}

TEST_F(PlaceTest, AnEvaluationPrefersTheWorkerThatTrained) {
  Arrive("b", {CpuSlot(0), CpuSlot(1)}, 1);
  Submit({});
  Arrive("a", {CpuSlot()}, 2);
  Complete(Current(Train()));
  EXPECT_EQ(Current(Evaluate()).worker, "b");
}

TEST_F(PlaceTest, AWorkerThatHasTheDatasetIsPreferredAlsoOnceItHasFetchedIt) {
  Submit({.seeds = {1}, .context_lengths = {}});
  const std::string digest = state.runs.begin()->second.run.dataset_digest;
  Arrive("a", {}, 1);
  Arrive("b", {}, 2);
  Do(WorkerHolds{.session = 2, .dataset_digests = {digest}});
  EXPECT_EQ(state.workers.at("b").dataset_digests, std::set<std::string>{digest});
  // Both get a slot at the same moment.
  state.workers.at("a").slots = state.workers.at("b").slots = {CpuSlot()};
  state.index.workers_version += 1;
  Wait(1'000);
  EXPECT_EQ(Current(Train()).worker, "b");
  Restart();
  EXPECT_EQ(state.workers.at("b").dataset_digests, std::set<std::string>{digest});
}

TEST_F(PlaceTest, AWorkerThatRemovedTheDatasetIsNotPreferredAnyMore) {
  Submit({.seeds = {1}, .context_lengths = {}});
  const std::string digest = state.runs.begin()->second.run.dataset_digest;
  Arrive("a", {}, 1);
  Arrive("b", {}, 2);
  Do(WorkerHolds{.session = 2, .dataset_digests = {digest}});
  Do(WorkerHolds{.session = 2, .dataset_digests = {}});
  state.workers.at("a").slots = state.workers.at("b").slots = {CpuSlot()};
  state.index.workers_version += 1;
  Wait(1'000);
  EXPECT_EQ(Current(Train()).worker, "a");
}

TEST_F(PlaceTest, AWorkerThatCannotGetDatasetsOverTheNetworkGetsNothingAndTheReasonSaysSo) {
  const auto arrive = [&](SessionId session, std::set<std::string> capabilities) {
    return Do(WorkerArrived{.session = session,
                            .worker = {.id = "w",
                                       .incarnation = "A",
                                       .host = "h",
                                       .version = "0.1.0",
                                       .slots = {CpuSlot()},
                                       .dataset_digests = {},
                                       .capabilities = std::move(capabilities),
                                       .over_network = true,
                                       .session = {},
                                       .busy = {},
                                       .pauses = {}},
                            .attempts = {}});
  };
  Submit({.seeds = {1}, .context_lengths = {}});
  EXPECT_TRUE(Commands<SendStart>(arrive(1, {})).empty());
  EXPECT_EQ(Train().reason,
            "every worker that can run it is outdated: worker w cannot get datasets over the "
            "network: update it to this release");
  EXPECT_EQ(Commands<SendStart>(arrive(2, {std::string(kDatasetsCapability)})).size(), 1u);
}

TEST_F(PlaceTest, ATaskThatNeverFitsIntoAWorkersCacheIsNotOfferedThereAgain) {
  Submit({.seeds = {1, 2}, .context_lengths = {}});
  const SendStart first = Commands<SendStart>(Arrive("w", {CpuSlot()}, 1)).at(0);
  const auto refuse = [&](const SendStart& start) {
    return Do(AttemptRejected{.session = 1,
                              .attempt = start.task.attempt,
                              .epoch = start.task.epoch,
                              .failure_class = "storage",
                              .reason = "too large",
                              .cache_needed_bytes = 3 << 20,
                              .cache_limit_bytes = 1 << 20});
  };
  // The slot takes the other task at once.
  const auto next = Commands<SendStart>(refuse(first));
  ASSERT_EQ(next.size(), 1u);
  EXPECT_NE(next[0].task.task, first.task.task);
  const Task& task = state.tasks.at(first.task.task);
  EXPECT_EQ(task.state, TaskState::kReady);
  EXPECT_NE(task.reason.find("slot 0 of worker w (w.example) comes closest, but the worker's cache "
                             "may take 1 MiB, less than the 3 MiB that the task reads: start the "
                             "worker with larger --cache-bytes"),
            std::string::npos)
      << task.reason;

  EXPECT_TRUE(Commands<SendStart>(refuse(next[0])).empty());
  EXPECT_TRUE(Commands<SendStart>(Wait(60'000)).empty());
  EXPECT_TRUE(Commands<SendStart>(Arrive("w", {CpuSlot()}, 2)).empty()) << "the same process";
  // Another worker, and a later process of this one, may have more room.
  EXPECT_EQ(Commands<SendStart>(Arrive("x", {CpuSlot()}, 3)).at(0).task.task, first.task.task);
  const auto again = Commands<SendStart>(Arrive("w", {CpuSlot()}, 4, {}, "B"));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].task.task, next[0].task.task);
}

// Else each of a thousand such tasks would be offered and refused.
TEST_F(PlaceTest, TasksWhoseRoomInTheCacheOthersUseWaitAndTheSlotDoesNot) {
  Sweep sweep = MakeSweep({.seeds = {1, 2, 3}, .context_lengths = {}});
  sweep.runs[2].run.dataset_digest = Sha256Hex("another dataset");
  Do(SweepSubmitted{
      .sweep_id = "sweep-1", .sweep = std::move(sweep), .dataset_paths = SampleDatasets()});
  const SendStart start = Commands<SendStart>(Arrive("w", {CpuSlot()}, 1)).at(0);
  ASSERT_EQ(start.dataset_digest, Sha256Hex("dataset"));
  const auto next = Commands<SendStart>(Do(AttemptRejected{.session = 1,
                                                           .attempt = start.task.attempt,
                                                           .epoch = start.task.epoch,
                                                           .failure_class = "storage",
                                                           .reason = "in use",
                                                           .cache_needed_bytes = 1 << 20,
                                                           .cache_limit_bytes = 1 << 20}));
  ASSERT_EQ(next.size(), 1u) << "one that reads the same dataset was offered, or none";
  EXPECT_EQ(next[0].dataset_digest, Sha256Hex("another dataset"));
  const Task& refused = state.tasks.at(start.task.task);
  EXPECT_EQ(refused.reason, "offered again: in use");
  EXPECT_EQ(refused.losses + refused.failures, 0);
  Complete(state.attempts.at(next[0].task.attempt));
  EXPECT_TRUE(Commands<SendStart>(Wait(14'000)).empty());
  EXPECT_EQ(Commands<SendStart>(Wait(2'000)).at(0).task.task, start.task.task);
}

// The folder of a dataset does not answer: what reads it waits, and says so.
TEST_F(PlaceTest, TasksOfADatasetWhoseFolderIsSilentAreNotOffered) {
  Sweep sweep = MakeSweep({.seeds = {1, 2}, .context_lengths = {}});
  sweep.runs[1].run.dataset_digest = Sha256Hex("another dataset");
  Do(SweepSubmitted{
      .sweep_id = "sweep-1", .sweep = std::move(sweep), .dataset_paths = SampleDatasets()});
  const SendStart first = Commands<SendStart>(Arrive("w", {CpuSlot()}, 1)).at(0);

  const auto next = Commands<SendStart>(Do(DatasetsSilent{.digests = {first.dataset_digest}}));

  ASSERT_EQ(next.size(), 1u) << "the offer that cannot be sent holds up the slot";
  EXPECT_NE(next[0].dataset_digest, first.dataset_digest);
  const Task& waiting = state.tasks.at(first.task.task);
  EXPECT_EQ(waiting.state, TaskState::kReady);
  EXPECT_EQ(waiting.losses + waiting.failures, 0);
  Complete(state.attempts.at(next[0].task.attempt));
  EXPECT_TRUE(Commands<SendStart>(Wait(10'000)).empty());
  EXPECT_NE(waiting.reason.find("the folder of a dataset that it reads does not answer"),
            std::string::npos)
      << waiting.reason;

  EXPECT_EQ(Commands<SendStart>(Do(DatasetsSilent{})).at(0).task.task, first.task.task);
}

// Invariant I-2.
TEST_F(PlaceTest, EpochsGrowAndJumpWithARestore) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({});
  EXPECT_EQ(Train().epoch, 1u);
  Do(AttemptRejected{
      .session = 1, .attempt = Train().attempt, .epoch = 1, .failure_class = "", .reason = "busy"});
  EXPECT_EQ(Train().state, TaskState::kReady);
  Restart(/*restored=*/true);
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(Train().state, TaskState::kReady) << "after a restore workers speak first";
  Wait(state.limits.lease_ms - 1000);
  Arrive("w", {CpuSlot()}, 3);
  Wait(1000);
  EXPECT_EQ(Train().epoch, (std::uint64_t{1} << 32) + 2);
}

}  // namespace
}  // namespace longrun::coordinator
