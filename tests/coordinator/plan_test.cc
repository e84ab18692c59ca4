// Plans of a small sweep against a state that each test arranges: what fits, what diverged, what
// the position method cannot read, and what it costs, with the numbers known by hand.
#include "coordinator/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "coordinator/prompts.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/cost.h"
#include "sweeps/failure.h"
#include "sweeps/protocol.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kAmpleDisk = std::numeric_limits<std::int64_t>::max();

class PlanTest : public testing::Test {
 protected:
  PlanTest() { AfterLoad(state_, now_, 1); }

  void Do(const SchedulerEvent& event) { Step(state_, event, now_, 1'700'000'000'000 + now_); }
  void Arrive(const Worker& worker) {
    Do(WorkerArrived{.session = 1, .worker = worker, .attempts = {}});
  }
  void Submit() {
    SweepSubmitted event = SampleSubmission("sweep-1");
    event.sweep = sweep_;
    Do(event);
  }
  Task& TrainingOf(const PlannedRun& planned) {
    return state_.tasks.at(TrainTaskKey(planned.run_key));
  }
  SweepPlan Plan(const std::vector<MeasuredTask>& measured = {},
                 std::int64_t disk_free_bytes = kAmpleDisk, bool is_remote = false) {
    CellCosts costs(datasets_);
    SubmissionPlanner planner(sweep_, {});
    planner.Look(state_, now_, 1'700'000'000'000 + now_);
    return planner.Plan(datasets_, costs, measured, disk_free_bytes, is_remote);
  }
  static MeasuredTask Measured(TaskKind kind, const longrun::Run& run, double flops_per_second) {
    return {.kind = kind,
            .device = "cpu, 1 thread",
            .position = run.model.position.method,
            .shape = ShapeOf(run),
            .flops = flops_per_second,
            .seconds = 1};
  }

  Instant now_ = 1000;
  State state_;
  Sweep sweep_ = SampleSweep();
  std::vector<DatasetRow> datasets_;
};

TEST_F(PlanTest, ANewSweepFitsAndIsAllToDo) {
  Arrive(SampleWorker(2));
  const SweepPlan plan = Plan();
  EXPECT_EQ(plan.problems, std::vector<std::string>());
  EXPECT_EQ(plan.slots.n, 2);
  EXPECT_EQ(plan.slots.of, "workers");
  EXPECT_EQ(plan.counts.train_tasks_new, 2);
  EXPECT_FALSE(plan.time_left);
  ASSERT_EQ(plan.runs.size(), 2U);
  double train_flops = 0;
  for (std::size_t i = 0; i < plan.runs.size(); ++i) {
    const RunPlan& run = plan.runs[i];
    const longrun::Run& planned = sweep_.runs[i].run;
    EXPECT_EQ(run.training, PlannedTraining::kToDo);
    EXPECT_EQ(run.parameters, planned.model.ParameterCount());
    EXPECT_EQ(run.cells_missing, 2);
    EXPECT_EQ(run.cells_known, 0);
    EXPECT_EQ(run.cells_not_applicable, 0);
    EXPECT_EQ(run.disk_bytes, (sweep_.checkpoint_keep + 1) * CheckpointBytes(planned.model));
    EXPECT_EQ(run.device_kind, DeviceKind::kCpu);
    EXPECT_GT(run.micro_batch, 0);
    EXPECT_LE(run.memory_bytes, std::int64_t{8} << 30);
    train_flops += TrainFlops(planned.model, planned.train);
  }
  EXPECT_DOUBLE_EQ(plan.train_flops, train_flops);
}

TEST_F(PlanTest, WhatNoSlotHasTheMemoryForIsAProblemOfItsRun) {
  Worker worker = SampleWorker(1);
  worker.slots[0].memory_bytes = 1 << 20;
  Arrive(worker);
  const SweepPlan plan = Plan();
  ASSERT_EQ(plan.problems.size(), 4U);  // of each run the training and the evaluation
  const std::string run = Str("run ", sweep_.runs[0].run_key.substr(0, 8), ": ");
  EXPECT_TRUE(plan.problems[0].starts_with(run + "training needs about ")) << plan.problems[0];
  EXPECT_TRUE(plan.problems[1].starts_with(run + "evaluating at 128 needs about "))
      << plan.problems[1];
  for (const std::string& problem : plan.problems) {
    EXPECT_NE(problem.find("but the largest slot has 1 MiB"), std::string::npos) << problem;
    EXPECT_NE(problem.find("or a worker with more memory"), std::string::npos) << problem;
  }
}

TEST_F(PlanTest, AKindOfDeviceThatNoWorkerHasIsAProblem) {
  sweep_.device_kind = DeviceChoice::kGpu;
  Arrive(SampleWorker(1));
  const SweepPlan plan = Plan();
  EXPECT_EQ(plan.slots.n, 0);
  std::int64_t needed = 0;
  for (const PlannedRun& planned : sweep_.runs) {
    const longrun::Run& run = planned.run;
    needed = std::max(needed,
                      TrainMemoryBytes(run.model, run.train, 1,
                                       NewRunMemoryPath(run.model, DeviceKind::kGpu, false, 256)));
  }
  EXPECT_EQ(plan.problems,
            std::vector{Str("resources.kind: no known worker has a gpu slot; training with "
                            "micro-batch 1 needs one of at least ",
                            FormatBytes(needed), ": start a worker on a machine that has one")});
}

TEST_F(PlanTest, WithoutASlotOfItsKindASweepHasTheMemoryOfTheSmallestMicroBatch) {
  sweep_.device_kind = DeviceChoice::kGpu;
  const auto expect = [&](const SweepPlan& plan) {
    ASSERT_EQ(plan.runs.size(), sweep_.runs.size());
    for (std::size_t i = 0; i < plan.runs.size(); ++i) {
      const longrun::Run& run = sweep_.runs[i].run;
      EXPECT_EQ(plan.runs[i].device_kind, DeviceKind::kGpu);
      EXPECT_EQ(plan.runs[i].micro_batch, 1);
      EXPECT_EQ(plan.runs[i].memory_bytes,
                TrainMemoryBytes(run.model, run.train, 1,
                                 NewRunMemoryPath(run.model, DeviceKind::kGpu, false, 256)));
    }
  };
  expect(Plan());
  EXPECT_TRUE(Plan().problems.empty()) << "the first worker may have one";
  Arrive(SampleWorker(1));
  expect(Plan());
}

// Wide heads take the reference on such a GPU, which keeps the probabilities of all pairs.
TEST_F(PlanTest, TheMemoryIsThatOfTheAttentionWhichTheLargestSlotHas) {
  sweep_.device_kind = DeviceChoice::kGpu;
  for (PlannedRun& planned : sweep_.runs) {
    planned.run.model.n_head = 1;
    planned.run.model.d_model = 136;
  }
  const auto memory_with = [&](const std::string& attention) {
    Worker worker = SampleWorker(1);
    worker.slots[0].kind = DeviceKind::kGpu;
    worker.slots[0].attention = attention;
    Arrive(worker);
    const SweepPlan plan = Plan();
    EXPECT_EQ(plan.slots.n, 1);
    return plan.runs[0].memory_bytes;
  };
  const auto memory_of = [&](std::int64_t gpu_head_dim_max) {
    const longrun::Run& run = sweep_.runs[0].run;
    const MemoryPath path = NewRunMemoryPath(run.model, DeviceKind::kGpu, false, gpu_head_dim_max);
    const std::int64_t slot_bytes = SampleWorker(1).slots[0].memory_bytes;
    return TrainMemoryBytes(run.model, run.train,
                            AutoMicroBatch(run.model, run.train, slot_bytes, path), path);
  };
  EXPECT_EQ(memory_with("fused"), memory_of(256));
  EXPECT_EQ(memory_with("fused/128"), memory_of(128));
  EXPECT_GT(memory_with("fused/128"), memory_with("fused"));
}

TEST_F(PlanTest, ASlotWithoutRoomForWideChunksOfLogitsTakesTheOthers) {
  for (PlannedRun& planned : sweep_.runs) planned.run.model.vocab_size = 1 << 18;
  const longrun::Run& run = sweep_.runs[0].run;
  const auto bytes = [&](HeadChunks head) {
    MemoryPath path = NewRunMemoryPath(run.model, DeviceKind::kCpu, false);
    path.head = head;
    return TrainMemoryBytes(run.model, run.train, 1, path);
  };
  ASSERT_LT(bytes(HeadChunks::kByLogits), bytes(HeadChunks::kByWidth));
  const auto planned_with = [&](std::int64_t memory_bytes) {
    Worker worker = SampleWorker(1);
    worker.slots[0].memory_bytes = memory_bytes;
    Arrive(worker);
    const SweepPlan plan = Plan();
    for (const std::string& problem : plan.problems) {
      EXPECT_EQ(problem.find("training needs about "), std::string::npos) << problem;
    }
    return plan.runs[0].memory_bytes;
  };
  for (const HeadChunks head : {HeadChunks::kByLogits, HeadChunks::kByWidth}) {
    EXPECT_EQ(planned_with(bytes(head)), bytes(head));
  }
}

TEST_F(PlanTest, DatasetsTravelToWorkersOverTheNetworkThatLackThem) {
  datasets_ = {{.info = SampleDataset(), .folder = "/data/toy"}};
  Worker local = SampleWorker(1), has = SampleWorker(1), lacks = SampleWorker(1);
  SessionId session = 0;
  for (Worker* const worker : {&local, &has, &lacks}) {
    worker->id = Str("worker-", ++session);
    worker->over_network = worker != &local;
    worker->capabilities = {std::string(kDatasetsCapability)};
    if (worker == &has) worker->dataset_digests = {SampleDataset().digest};
    Do(WorkerArrived{.session = session, .worker = *worker, .attempts = {}});
  }
  const SweepPlan plan = Plan();
  ASSERT_EQ(plan.travels.size(), 1U);
  EXPECT_EQ(plan.travels[0].name, "toy");
  EXPECT_EQ(plan.travels[0].digest, SampleDataset().digest);
  EXPECT_EQ(plan.travels[0].n_workers, 1);
  Do(WorkerHolds{.session = 3, .dataset_digests = {SampleDataset().digest}});
  EXPECT_TRUE(Plan().travels.empty());
}

TEST_F(PlanTest, CheckpointsThatExceedTheDiskAreAProblem) {
  const std::int64_t n_bytes = Plan().counts.checkpoint_bytes;
  ASSERT_GT(n_bytes, 0);
  EXPECT_TRUE(Plan({}, n_bytes).problems.empty());
  const SweepPlan plan = Plan({}, n_bytes - 1);
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_TRUE(plan.dataset_problems.empty());
  EXPECT_TRUE(plan.problems[0].starts_with("disk: the checkpoints that are kept need about "))
      << plan.problems[0];
}

TEST_F(PlanTest, ADatasetThatIsGoneOrDamagedIsAProblem) {
  const TempFolder folder;
  datasets_ = {{.info = SampleDataset(), .folder = folder.path()}};
  SweepPlan plan = Plan();
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_EQ(plan.problems[0].substr(0, 53 + folder.path().size()),
            Str("matrix.dataset: dataset \"toy\" is no longer in ", folder.path(), ": put i"));
  EXPECT_EQ(plan.dataset_problems, plan.problems);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), kManifestName), "{").ok());
  plan = Plan();
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_TRUE(plan.problems[0].starts_with("matrix.dataset: dataset \"toy\": "))
      << plan.problems[0];
}

TEST_F(PlanTest, AShardThatWasCutOrRemovedIsAProblem) {
  const TempFolder folder;
  const std::string text = JoinPath(folder.path(), "a.txt");
  const std::string data = JoinPath(folder.path(), "data");
  ASSERT_TRUE(WriteFileAtomic(text, "some text").ok());
  ASSERT_TRUE(ImportText({.splits = {{"train", {text}}}}, data).ok());
  datasets_ = {{.info = SampleDataset(), .folder = data}};
  ASSERT_TRUE(Plan().problems.empty());
  const std::string shard = JoinPath(data, "train-00000.lrtk");
  const std::size_t n_bytes = ReadFile(shard)->size();

  std::filesystem::resize_file(shard, n_bytes - 1);
  const SweepPlan cut = Plan();
  ASSERT_TRUE(RemoveAll(shard).ok());
  const SweepPlan removed = Plan();

  const std::string where = Str("matrix.dataset: dataset \"toy\": ", shard, ": ");
  const std::string remedy = ": the dataset is damaged; import it again";
  EXPECT_EQ(cut.dataset_problems,
            (std::vector<std::string>{Str(where, "it has ", n_bytes - 1,
                                          " bytes, but dataset.json says ", n_bytes, remedy)}));
  EXPECT_EQ(removed.dataset_problems,
            (std::vector<std::string>{Str(where, "the file is missing", remedy)}));
}

TEST_F(PlanTest, AProblemForAnotherMachineNamesNoFolder) {
  const TempFolder folder;
  datasets_ = {{.info = SampleDataset(), .folder = folder.path()}};
  SweepPlan plan = Plan({}, kAmpleDisk, /*is_remote=*/true);
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_EQ(plan.problems[0],
            "matrix.dataset: dataset \"toy\" is no longer in its folder on the coordinator's "
            "machine: put it back; if it was moved, register its new place there: `longrun data "
            "register toy FOLDER`; or import it again");
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), kManifestName), "{").ok());
  plan = Plan({}, kAmpleDisk, /*is_remote=*/true);
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_EQ(plan.problems[0],
            "matrix.dataset: dataset \"toy\": a file of it is damaged: on the coordinator's "
            "machine, `longrun data verify toy` says how; import the dataset again");
}

TEST_F(PlanTest, KnownCellsThatAreMeasuredAgainCostTimeAndTrainNothing) {
  Arrive(SampleWorker(1));
  Submit();
  for (auto& [id, task] : state_.tasks) task.state = TaskState::kSucceeded;
  const PlannedRun& run = sweep_.runs[0];
  const std::string cell = run.evaluations[0].cells[1].cell;  // at 128
  CellCosts costs(datasets_);
  SubmissionPlanner planner(sweep_, {}, {cell});
  planner.Look(state_, now_, 1'700'000'000'000 + now_);
  const SweepPlan plan = planner.Plan(datasets_, costs, {}, kAmpleDisk);

  EXPECT_EQ(plan.runs[0].cells_known, 2);
  EXPECT_EQ(plan.runs[0].cells_refreshed, 1);
  EXPECT_EQ(plan.runs[0].cells_missing, 0);
  EXPECT_EQ(plan.runs[1].cells_refreshed, 0);
  const auto flops =
      costs.Flops(run.run, run.evaluations[0].evaluation, std::array{CellLength{128}});
  EXPECT_EQ(plan.evaluate_flops, flops.value_or(0));
  EXPECT_GT(plan.runs[0].evaluate_memory_bytes, 0);
  EXPECT_EQ(plan.train_flops, 0);
}

// Single bytes as tokens: 357 repetitions of 89 bytes for a context length of 9000.
TEST_F(PlanTest, PromptsThatAreLongerThanTheirContextLengthArePricedAsTheyAre) {
  const TempFolder folder;
  const std::string text = JoinPath(folder.path(), "a.txt");
  const std::string data = JoinPath(folder.path(), "data");
  ASSERT_TRUE(WriteFileAtomic(text, "some text").ok());
  ASSERT_TRUE(ImportText({.splits = {{"train", {text}}}}, data).ok());
  std::string yaml = kSampleYaml;
  const std::size_t at = yaml.find("    - perplexity");
  yaml.replace(at, std::string::npos,
               "    - passkey: {context_lengths: [2000, 9000], trials: 10}\n");
  Arrive(SampleWorker(1));
  sweep_ = SampleSweep(yaml);
  DatasetInfo info = SampleDataset();
  datasets_ = {{.info = info, .folder = data}};
  EXPECT_TRUE(MeasurePrompts(datasets_, sweep_).empty()) << "another dataset is in the folder";
  const SweepPlan before = Plan();

  info.digest = Dataset::Open(data)->digest();
  datasets_ = {{.info = info, .folder = data}};
  for (PlannedRun& run : sweep_.runs) run.run.dataset_digest = info.digest;
  const std::vector<std::string> notes = MeasurePrompts(datasets_, sweep_);
  const SweepPlan plan = Plan();

  const std::int64_t longest = sweep_.runs[0].evaluations[0].cells.back().prompt_tokens;
  EXPECT_NEAR(static_cast<double>(longest), 357 * 89 + 248, 10);
  EXPECT_EQ(notes, std::vector{Str(
                       "passkey (protocol: pose): with the tokenizer of dataset toy, the longest "
                       "prompt has ",
                       sweep_.runs[0].evaluations[0].cells.front().prompt_tokens,
                       " tokens at context length 2000, ", longest,
                       " tokens at context length 9000; protocol: fitted makes prompts that fit")});
  const ModelConfig& model = sweep_.runs[0].run.model;
  EXPECT_EQ(plan.runs[0].evaluate_memory_bytes,
            EvaluateMemoryBytes(model, longest, NewRunMemoryPath(model, DeviceKind::kCpu, false),
                                /*keys_held=*/1));
  EXPECT_LT(before.runs[0].evaluate_memory_bytes, plan.runs[0].evaluate_memory_bytes);
  double flops = 0;
  for (const ExpectedCell& cell : sweep_.runs[0].evaluations[0].cells) {
    flops +=
        EvaluateFlops(model, 10.0 * static_cast<double>(cell.prompt_tokens), cell.prompt_tokens);
  }
  EXPECT_NEAR(plan.runs[0].evaluate_flops / flops, 1, 1e-9);
  EXPECT_GT(plan.runs[0].evaluate_flops, 3 * before.runs[0].evaluate_flops);
}

// Single bytes as tokens: a prompt without filler has more than 240.
TEST_F(PlanTest, PromptsThatCannotFitAreANoteWithTheSweepsNameOfTheDataset) {
  const TempFolder folder;
  const std::string text = JoinPath(folder.path(), "a.txt");
  const std::string data = JoinPath(folder.path(), "data");
  ASSERT_TRUE(WriteFileAtomic(text, "some text").ok());
  ASSERT_TRUE(ImportText({.splits = {{"train", {text}}}}, data).ok());
  const auto notes_of = [&](const std::string& evaluation) {
    std::string yaml = kSampleYaml;
    yaml.replace(yaml.find("    - perplexity"), std::string::npos, Str("    - ", evaluation, "\n"));
    sweep_ = SampleSweep(yaml);
    DatasetInfo info = SampleDataset();
    info.name = "another-name";
    info.digest = Dataset::Open(data)->digest();
    datasets_ = {{.info = info, .folder = data}};
    for (PlannedRun& run : sweep_.runs) run.run.dataset_digest = info.digest;
    return Join(MeasurePrompts(datasets_, sweep_), "\n");
  };

  EXPECT_EQ(notes_of("passkey: {context_lengths: [128, 256, 1024], protocol: fitted}"),
            "passkey (protocol: fitted): with the tokenizer of dataset toy, a prompt does not fit "
            "into 128, 256 tokens (without any filler it has 248, and the answer 10): such cells "
            "will be not_applicable");
  EXPECT_EQ(notes_of("needle: {context_lengths: [1024], filler: fitted}"), "");
  const std::string needle = notes_of("needle: {context_lengths: [256], filler: fitted}");
  EXPECT_TRUE(
      needle.starts_with("needle (filler: fitted): with the tokenizer of dataset toy, a "
                         "prompt does not fit into 256 tokens"))
      << needle;
  const std::string landmark =
      notes_of("passkey: {context_lengths: [512], protocol: landmark, filler_characters: 1024}");
  EXPECT_NE(landmark.find("with filler_characters 1024 it has "), std::string::npos) << landmark;
  const std::string drt = notes_of("passkey: {context_lengths: [64], protocol: drt}");
  EXPECT_NE(drt.find("such cells will be not_applicable"), std::string::npos) << drt;
}

// On a CPU, an evaluation in fp16 has a copy of the head in fp32.
TEST_F(PlanTest, AnEvaluationInFp16NeedsMemoryForTheHeadTwice) {
  Arrive(SampleWorker(1));
  const std::int64_t before = Plan().runs[0].evaluate_memory_bytes;

  sweep_.runs[0].evaluations[0].evaluation["perplexity"]["precision"] = "fp16";

  const ModelConfig& model = sweep_.runs[0].run.model;
  EXPECT_EQ(Plan().runs[0].evaluate_memory_bytes - before, 4 * model.vocab_size * model.d_model);
}

// One pass reads as far as the longest length needs: all other lengths cost nothing. A text of
// unknown documents is read whole at most.
TEST_F(PlanTest, LengthsThatOnePassServesCostThatPass) {
  const TempFolder folder;
  DatasetInfo info = SampleDataset();
  info.split_tokens["validation"] = 50'000;
  datasets_ = {{.info = info, .folder = folder.path()}};
  const longrun::Run& run = sweep_.runs[0].run;
  const Json once = {
      {"perplexity", {{"split", "validation"}, {"score_tokens", 0}, {"protocol", "prefix_curve"}}}};
  CellCosts costs(datasets_);
  const auto flops = [&](std::initializer_list<CellLength> lengths) {
    return costs.Flops(run, once, std::vector(lengths)).value_or(-1);
  };
  EXPECT_EQ(flops({{64}, {128}}), flops({{128}}));
  EXPECT_EQ(flops({{128}}), EvaluateFlops(run.model, 50'000, 128));
  EXPECT_EQ(flops({}), 0);
}

TEST_F(PlanTest, ATrainingThatDivergedIsNotPlannedAgain) {
  Submit();
  Task& task = TrainingOf(sweep_.runs[0]);
  task.state = TaskState::kFailed;
  task.reason = "diverged: loss is NaN at step 7";
  task.attempt = "attempt-1";
  state_.attempts["attempt-1"].failure_class = FailureOf(FailureClass::kNumerical).name;
  const SweepPlan plan = Plan();
  EXPECT_EQ(plan.runs[0].training, PlannedTraining::kFailed);
  EXPECT_EQ(plan.runs[0].cells_missing, 0);
  EXPECT_EQ(plan.runs[0].disk_bytes, 0);
  EXPECT_EQ(plan.runs[1].training, PlannedTraining::kUnderWay);
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_EQ(plan.problems[0],
            Str("run ", sweep_.runs[0].run_key.substr(0, 8),
                ": its training failed before, and would fail again: diverged: loss "
                "is NaN at step 7"));
}

TEST_F(PlanTest, AnyOtherFailureIsTriedAgain) {
  Submit();
  Task& task = TrainingOf(sweep_.runs[0]);
  task.state = TaskState::kFailed;
  task.attempt = "attempt-1";
  state_.attempts["attempt-1"].failure_class = FailureOf(FailureClass::kOutOfMemory).name;
  const SweepPlan plan = Plan();
  EXPECT_EQ(plan.runs[0].training, PlannedTraining::kToDo);
  EXPECT_TRUE(plan.problems.empty());
}

TEST_F(PlanTest, ACellLongerThanItsPositionTableIsNotApplicable) {
  std::string yaml = kSampleYaml;
  yaml.replace(yaml.find("[alibi, rope]"), 13, "[alibi, learned]");
  sweep_ = SampleSweep(yaml);
  const SweepPlan plan = Plan();
  ASSERT_EQ(sweep_.runs[1].run.model.n_positions, 64);
  EXPECT_EQ(plan.runs[0].cells_not_applicable, 0);
  EXPECT_EQ(plan.runs[1].cells_missing, 2);
  EXPECT_EQ(plan.runs[1].cells_not_applicable, 1);  // 128 of 64 and 128
}

TEST_F(PlanTest, ThePriceIsFlopsOverTheMeasuredRate) {
  Arrive(SampleWorker(2));
  const longrun::Run& run = sweep_.runs[0].run;
  datasets_ = {{.info = SampleDataset(), .folder = "/nowhere"}};
  const SweepPlan plan =
      Plan({Measured(TaskKind::kTrain, run, 1e9), Measured(TaskKind::kEvaluate, run, 2e9)});
  EXPECT_EQ(plan.device, "cpu, 1 thread");
  double slot_s = 0, longest_s = 0;
  for (std::size_t i = 0; i < plan.runs.size(); ++i) {
    const longrun::Run& planned = sweep_.runs[i].run;
    const double train_s = TrainFlops(planned.model, planned.train) / 1e9;
    const double evaluate_s = plan.runs[i].evaluate_flops / 2e9;
    ASSERT_TRUE(plan.runs[i].train_time);
    ASSERT_TRUE(plan.runs[i].evaluate_time);
    EXPECT_DOUBLE_EQ(plan.runs[i].train_time->likely_s, train_s);
    EXPECT_DOUBLE_EQ(plan.runs[i].evaluate_time->likely_s, evaluate_s);
    slot_s += train_s + evaluate_s;
    longest_s = std::max(longest_s, train_s + evaluate_s);
    // Both lengths read the validation split: at most all of it, and most of it.
    const double all =
        EvaluateFlops(planned.model, 50'000, 64) + EvaluateFlops(planned.model, 50'000, 128);
    EXPECT_LE(plan.runs[i].evaluate_flops, all);
    EXPECT_GT(plan.runs[i].evaluate_flops, all / 2);
  }
  ASSERT_TRUE(plan.slot_time);
  EXPECT_DOUBLE_EQ(plan.slot_time->likely_s, slot_s);
  ASSERT_TRUE(plan.wall_time);
  // Two slots, two runs: as long as the longer one.
  EXPECT_DOUBLE_EQ(plan.wall_time->likely_s, std::max(slot_s / 2, longest_s));
}

TEST_F(PlanTest, ThePriceIsUnknownIfThatOfAnyPartIs) {
  Arrive(SampleWorker(2));
  const longrun::Run& run = sweep_.runs[0].run;
  const SweepPlan plan =  // without the dataset nobody knows what an evaluation reads
      Plan({Measured(TaskKind::kTrain, run, 1e9), Measured(TaskKind::kEvaluate, run, 2e9)});
  EXPECT_TRUE(plan.runs[0].train_time);
  EXPECT_FALSE(plan.runs[0].evaluate_time);
  EXPECT_FALSE(plan.slot_time);
  EXPECT_FALSE(plan.wall_time);
}

TEST_F(PlanTest, WhatIsUnderWayIsNotCountedAgain) {
  Submit();
  TrainingOf(sweep_.runs[0]).state = TaskState::kSucceeded;
  const SweepPlan plan = Plan();
  EXPECT_EQ(plan.runs[0].training, PlannedTraining::kKnown);
  EXPECT_EQ(plan.runs[0].disk_bytes, 0);
  EXPECT_EQ(plan.runs[1].training, PlannedTraining::kUnderWay);
  EXPECT_GT(plan.runs[1].disk_bytes, 0);
  EXPECT_EQ(plan.runs[1].cells_known, 2);
  EXPECT_EQ(plan.runs[1].cells_under_way, 2);
  EXPECT_EQ(plan.runs[1].cells_missing, 0);
  EXPECT_EQ(plan.train_flops, 0);
  EXPECT_EQ(plan.under_way_flops, plan.runs[1].train_flops);  // without the dataset, not more
  ASSERT_TRUE(plan.time_left);
  EXPECT_EQ(plan.time_left->tasks_not_measured, 3);  // a training and two evaluations
}

// Submitted, and not begun: what it needs is what it needed before.
TEST_F(PlanTest, WhatIsUnderWayHasItsFlopsAndItsMemory) {
  Arrive(SampleWorker(1));
  datasets_ = {{.info = SampleDataset(), .folder = "/nowhere"}};
  const SweepPlan before = Plan();
  Submit();
  const SweepPlan plan = Plan();
  for (std::size_t i = 0; i < plan.runs.size(); ++i) {
    EXPECT_EQ(plan.runs[i].training, PlannedTraining::kUnderWay);
    EXPECT_EQ(plan.runs[i].train_flops, before.runs[i].train_flops);
    EXPECT_EQ(plan.runs[i].memory_bytes, before.runs[i].memory_bytes);
    EXPECT_GT(plan.runs[i].evaluate_flops, 0);
    EXPECT_EQ(plan.runs[i].evaluate_flops, before.runs[i].evaluate_flops);
    EXPECT_EQ(plan.runs[i].evaluate_memory_bytes, before.runs[i].evaluate_memory_bytes);
    EXPECT_FALSE(plan.runs[i].evaluate_time);
  }
  EXPECT_EQ(plan.evaluate_flops, 0);
  EXPECT_DOUBLE_EQ(plan.under_way_flops, before.train_flops + before.evaluate_flops);
}

TEST_F(PlanTest, ARunThatIsListedTwiceIsCountedOnce) {
  const double train_flops = Plan().train_flops;
  sweep_.runs.push_back(sweep_.runs[0]);
  const SweepPlan plan = Plan();
  ASSERT_EQ(plan.runs.size(), 3U);
  EXPECT_DOUBLE_EQ(plan.train_flops, train_flops);
  EXPECT_EQ(plan.runs[2].training, PlannedTraining::kToDo);
  EXPECT_EQ(plan.runs[2].disk_bytes, 0);
}

}  // namespace
}  // namespace longrun::coordinator
