// What the host does while the device works: the results of a step are read later than it is
// queued, and checkpoints are written while training goes on. The records, checkpoints and errors
// are those of a training that waits for each.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/position/method.h"
#include "tests/journal_json.h"
#include "tests/model/net/fake_gpu.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/session.h"
#include "worker/trainer/train.h"

namespace longrun::trainer {
namespace {

// While this file is missing, no checkpoint's second file of tensors is written. Its name is set
// before the failpoints are read.
std::string& HeldBack() {
  static std::string* const path = new std::string(
      JoinPath(::testing::TempDir(), Str("overlap_test-", getpid(), "-checkpoints-go-on")));
  return *path;
}
[[gnu::constructor]] void HoldCheckpoints() {
  setenv("LONGRUN_FAILPOINTS", Str("trainer_mid_checkpoint:wait_for:", HeldBack()).c_str(), 1);
}

constexpr std::int64_t kSteps = 8;
constexpr std::int64_t kStepTokens = 64;

// A text in which "Q" occurs once: it is first read as an input in step 5.
std::string Text(std::size_t n_bytes) {
  std::string text;
  while (text.size() < n_bytes) text += "the sea was calm and a ship ";
  text[4 * kStepTokens + 20] = 'Q';
  return text;
}

Run TheRun(const Dataset& dataset) {
  Run run;
  run.model = {.n_layer = 1, .n_head = 2, .d_model = 16, .d_ff = 32, .vocab_size = 320};
  run.model.tie_embeddings = false;
  run.model.position = ResolvePosition("cable").value();
  run.train.train_length = 16;
  run.train.batch_tokens = kStepTokens;
  run.train.tokens = kSteps * kStepTokens;
  run.train.order = OrderKind::kStream;
  run.train.optimizer.lr = 1e-2;
  run.train.validate = {.every = 3 * kStepTokens, .tokens = 128};
  run.seed = 5;
  run.dataset_digest = dataset.digest();
  run.tokenizer_fingerprint = dataset.tokenizer_fingerprint();
  return run;
}

// One training, by hand.
struct Training {
  Overlap overlap = {};
  std::int64_t checkpoint_every_ms = 600'000;
  c10::Device device = at::kCPU;
  bool validates = true;
  bool q_is_nan = false;  // the embedding of "Q", so that the step that reads it has no loss
  std::int64_t batch_tokens = kStepTokens;
  std::optional<CheckpointRef> resume = {};
  std::int64_t checkpoints_wait_for = 0;  // the record of this step
  std::int64_t throws_at = 0;             // the record of this step
};

struct Outcome {
  Status status;
  std::string place;
  // Kind, step and body of each record, without the times.
  std::vector<std::string> records;
  std::vector<CheckpointRef> checkpoints;
};

class OverlapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Import(2000);
    ASSERT_TRUE(WriteFileAtomic(HeldBack(), "").ok());
  }
  void TearDown() override { static_cast<void>(RemoveAll(HeldBack())); }
  void Import(std::size_t n_bytes) {
    ASSERT_TRUE(RemoveAll(At("dataset")).ok());
    ASSERT_TRUE(WriteFileAtomic(At("train.txt"), Text(n_bytes)).ok());
    const std::string other = Text(2000).substr(1000);
    ASSERT_TRUE(WriteFileAtomic(At("validation.txt"), "no wind blew: " + other).ok());
    const Status imported = ImportText(
        {.tokenizer = "bytes",
         .splits = {{"train", {At("train.txt")}}, {"validation", {At("validation.txt")}}}},
        At("dataset"));
    ASSERT_TRUE(imported.ok()) << imported.message();
  }
  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }

  Outcome Run(const Training& training) {
    const Dataset dataset = Dataset::Open(At("dataset")).value();
    TaskFile task;
    task.run = TheRun(dataset);
    if (!training.validates) task.run.train.validate = {.every = 0, .tokens = 0};
    task.run.train.batch_tokens = training.batch_tokens;
    task.run.train.tokens = kSteps * training.batch_tokens;
    task.run_key = task.run.Key();
    task.execution.micro_batch = task.run.train.batch_sequences() / 2;
    task.attempt_dir = At(Str("attempt-", n_attempts_++));
    task.checkpoint_every_ms = training.checkpoint_every_ms;
    task.checkpoint_keep = kSteps;
    task.resume = training.resume;
    EXPECT_TRUE(MakeFolders(task.attempt_dir).ok());
    Machine machine;
    machine.compute.device = training.device;
    Outcome outcome;
    if (training.checkpoints_wait_for > 0) {
      EXPECT_TRUE(RemoveAll(HeldBack()).ok());
    }
    Session session = Session::Begin(task, [&](const RecordBody& body, std::int64_t step) {
                        const auto* const checkpoint = std::get_if<CheckpointRecord>(&body);
                        if (checkpoint == nullptr) {
                          if (step > 0 && step == training.checkpoints_wait_for) {
                            EXPECT_TRUE(WriteFileAtomic(HeldBack(), "").ok());
                          }
                          if (step > 0 && step == training.throws_at) {
                            throw std::runtime_error("thrown by the test");
                          }
                          return;
                        }
                        outcome.checkpoints.push_back(
                            {.attempt = task.attempt,
                             .checkpoint = JoinPath(task.attempt_dir, *checkpoint->path),
                             .sha256 = checkpoint->sha256,
                             .step = *checkpoint->step});
                      }).value();
    TrainStart start = LoadStart(session.task()).value();
    if (training.q_is_nan) {
      start.parameters.at("transformer.wte.weight")[int{'Q'}] =
          std::numeric_limits<float>::quiet_NaN();
    }
    try {
      outcome.status = Train(session, dataset, machine, std::move(start), training.overlap);
    } catch (const std::runtime_error& error) {
      outcome.status = Status(Code::kInternal, error.what());
    }
    outcome.place = session.place();
    for (JsonRecord& record : ReadJsonJournal(JoinPath(task.attempt_dir, kJournalName))) {
      if (record.kind != RecordKind::kSeries && record.kind != RecordKind::kCheckpoint) continue;
      record.body.erase("tokens_per_s");
      outcome.records.push_back(Str(EnumName(record.kind), " ", record.step.value_or(0), " ",
                                    CanonicalJson(record.body)));
    }
    return outcome;
  }

  TempFolder folder_{"overlap_test"};
  int n_attempts_ = 0;
};

TEST_F(OverlapTest, RecordsAndCheckpointsAreThoseOfReadingAtOnce) {
  for (const std::int64_t every_ms : {0, 600'000}) {
    const Outcome at_once = Run({.checkpoint_every_ms = every_ms});
    ASSERT_TRUE(at_once.status.ok()) << at_once.status.message();
    std::set<std::string> steps;
    for (const std::string& record : at_once.records) {
      if (record.find("\"loss\"") != std::string::npos) steps.insert(record);
    }
    EXPECT_EQ(std::ssize(steps), kSteps);
    for (const std::size_t n_unread_max : {1, 3, 100}) {
      const Outcome late =
          Run({.overlap = {.n_unread_max = n_unread_max}, .checkpoint_every_ms = every_ms});
      ASSERT_TRUE(late.status.ok()) << late.status.message();
      EXPECT_EQ(late.records, at_once.records) << n_unread_max;
    }
  }
}

// Where the record of a checkpoint stands among those of steps depends on the disk.
std::vector<std::string> Sorted(std::vector<std::string> records) {
  std::ranges::sort(records);
  return records;
}

TEST_F(OverlapTest, ACheckpointIsWrittenWhileTrainingGoesOn) {
  const Outcome at_once = Run({});  // the best of some validations, and the last
  ASSERT_GE(at_once.checkpoints.size(), 3u);
  const Outcome behind =
      Run({.overlap = {.n_unread_max = 1, .writes_behind = true}, .checkpoints_wait_for = 4});
  ASSERT_TRUE(behind.status.ok()) << behind.status.message();
  EXPECT_EQ(Sorted(behind.records), Sorted(at_once.records));
  const auto is_of = [](const std::string& record, const std::string& what) {
    return record.starts_with(what);
  };
  const auto checkpoint = std::ranges::find_if(
      behind.records, [&](const std::string& record) { return is_of(record, "checkpoint 3 "); });
  const auto step = std::ranges::find_if(
      behind.records, [&](const std::string& record) { return is_of(record, "series 4 "); });
  ASSERT_NE(checkpoint, behind.records.end());
  EXPECT_LT(step, checkpoint);
}

TEST_F(OverlapTest, OneCheckpointIsWrittenAtATime) {
  const Outcome at_once = Run({.checkpoint_every_ms = 0});
  const Outcome behind =
      Run({.overlap = {.n_unread_max = 1, .writes_behind = true}, .checkpoint_every_ms = 0});
  ASSERT_TRUE(behind.status.ok()) << behind.status.message();
  EXPECT_EQ(Sorted(behind.records), Sorted(at_once.records));
  EXPECT_TRUE(std::ranges::is_sorted(behind.checkpoints, {}, &CheckpointRef::step));
  const Outcome resumed =
      Run({.overlap = {.n_unread_max = 1, .writes_behind = true}, .resume = behind.checkpoints[3]});
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.message();
  EXPECT_EQ(resumed.checkpoints.back().sha256, at_once.checkpoints.back().sha256);
}

// The checkpoint of step 3 is not complete before the results of step 4 are read, and the next
// results are those of step 5, which has no loss.
TEST_F(OverlapTest, AnErrorTakesNothingFromACheckpointBeforeIt) {
  const Outcome at_once = Run({.q_is_nan = true});
  const Outcome behind = Run({.overlap = {.n_unread_max = 1, .writes_behind = true},
                              .q_is_nan = true,
                              .checkpoints_wait_for = 4});
  EXPECT_EQ(behind.place, at_once.place);
  EXPECT_EQ(behind.status.message(), at_once.status.message());
  ASSERT_EQ(behind.checkpoints.size(), 1u);
  EXPECT_EQ(Sorted(behind.records), Sorted(at_once.records));
}

TEST_F(OverlapTest, NorDoesAnException) {
  const Outcome behind = Run({.overlap = {.n_unread_max = 1, .writes_behind = true},
                              .checkpoints_wait_for = 4,
                              .throws_at = 4});
  EXPECT_EQ(behind.status.message(), "thrown by the test");
  ASSERT_EQ(behind.checkpoints.size(), 1u);
  EXPECT_EQ(behind.checkpoints[0].step, 3);
}

TEST_F(OverlapTest, ACheckpointThatCannotBeWrittenEndsTheTraining) {
  // Its folder's name is taken by a file.
  const std::string attempt = At(Str("attempt-", n_attempts_));
  ASSERT_TRUE(MakeFolders(attempt).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(attempt, "checkpoints"), "").ok());
  const Outcome behind = Run({.overlap = {.n_unread_max = 1, .writes_behind = true}});
  EXPECT_FALSE(behind.status.ok());
  EXPECT_NE(behind.status.message().find("checkpoints"), std::string::npos)
      << behind.status.message();
  EXPECT_EQ(behind.place, "checkpoint of step 3");
  EXPECT_TRUE(behind.checkpoints.empty());
}

TEST_F(OverlapTest, AResumedTrainingReachesTheSameCheckpoint) {
  const Outcome whole = Run({.overlap = {.n_unread_max = 1}, .checkpoint_every_ms = 0});
  ASSERT_GE(whole.checkpoints.size(), 5u);
  const Outcome resumed = Run({.overlap = {.n_unread_max = 1}, .resume = whole.checkpoints[3]});
  ASSERT_TRUE(resumed.status.ok()) << resumed.status.message();
  EXPECT_EQ(resumed.checkpoints.back().step, kSteps);
  EXPECT_EQ(resumed.checkpoints.back().sha256, whole.checkpoints.back().sha256);
}

TEST_F(OverlapTest, TheStepWithoutALossIsNamedAndNothingAfterItIsRecorded) {
  for (const std::int64_t every_ms : {0, 600'000}) {
    const Outcome at_once = Run({.checkpoint_every_ms = every_ms, .q_is_nan = true});
    EXPECT_EQ(at_once.status.code(), Code::kAborted);
    EXPECT_EQ(at_once.status.message(), "step 5: the loss is nan, the gradient's norm nan");
    EXPECT_EQ(at_once.place, "step 5");
    ASSERT_FALSE(at_once.records.empty());
    for (const std::size_t n_unread_max : {1, 3}) {
      const Outcome late = Run({.overlap = {.n_unread_max = n_unread_max},
                                .checkpoint_every_ms = every_ms,
                                .q_is_nan = true});
      EXPECT_EQ(late.status.code(), Code::kAborted);
      EXPECT_EQ(late.status.message(), at_once.status.message()) << n_unread_max;
      EXPECT_EQ(late.place, at_once.place) << n_unread_max;
      EXPECT_EQ(late.records, at_once.records) << n_unread_max;
    }
  }
}

// Without a validation and without a checkpoint in between, several steps follow the one that has
// no loss, and the last results are read at the end.
TEST_F(OverlapTest, AStepWithoutALossIsFoundBeforeTheFinalCheckpoint) {
  const Outcome late =
      Run({.overlap = {.n_unread_max = 100}, .validates = false, .q_is_nan = true});
  EXPECT_EQ(late.status.message(), "step 5: the loss is nan, the gradient's norm nan");
  EXPECT_EQ(late.records.size(), 4u);
  EXPECT_TRUE(late.checkpoints.empty());
}

TEST_F(OverlapTest, ASampleThatCannotBeReadHidesNoResult) {
  // Tokens take two bytes, and a hash is of 1 MiB of them: the damage lies in the second MiB. The
  // last target of the second step is there.
  constexpr std::int64_t kTokens = 1 << 18;
  Import(600'000);
  std::fstream file(At("dataset/train-00000.lrtk"),
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp((1 << 20) + 50'000);
  file.write("wrong", 5);
  file.close();
  ASSERT_TRUE(file.good());
  const Outcome at_once = Run({.validates = false, .batch_tokens = kTokens});
  EXPECT_EQ(at_once.status.code(), Code::kDataLoss) << at_once.status.message();
  EXPECT_EQ(at_once.records.size(), 1u);
  const Outcome late =
      Run({.overlap = {.n_unread_max = 1}, .validates = false, .batch_tokens = kTokens});
  EXPECT_EQ(late.status.message(), at_once.status.message());
  EXPECT_EQ(late.records, at_once.records);
}

// Each step has two updates. Without a validation, the host waits for nothing but the results of
// the step before, once the next is queued.
TEST_F(OverlapTest, OnAGpuTheHostReadsTheResultsOfAStepWhenTheNextIsQueued) {
  Machine machine;
  EXPECT_EQ(OverlapOf(machine).n_unread_max, 0u);
  EXPECT_FALSE(OverlapOf(machine).writes_behind);
  machine.compute.device = testing::FakeGpu();
  EXPECT_EQ(OverlapOf(machine).n_unread_max, 1u);
  EXPECT_TRUE(OverlapOf(machine).writes_behind);
  testing::TakeFakeGpuLog();
  testing::TakeFakeGpuLeads();

  const Outcome late =
      Run({.overlap = OverlapOf(machine), .device = testing::FakeGpu(), .validates = false});

  ASSERT_TRUE(late.status.ok()) << late.status.message();
  std::vector<std::string> expected = {"update", "update"};
  for (std::int64_t step = 2; step <= kSteps; ++step) {
    expected.insert(expected.end(), {"update", "update", "read"});
  }
  expected.push_back("read");
  std::vector<std::string> log = testing::TakeFakeGpuLog();
  // The weights come to the device before the first step, and to the host after the last.
  log.erase(log.begin(), std::ranges::find(log, "update"));
  log.resize(std::min(log.size(), expected.size()));
  EXPECT_EQ(log, expected);
  // The samples of a step arrive while the step before computes. Those of the first two, ids and
  // targets, are copied to new memory.
  const std::vector<std::size_t> leads = testing::TakeFakeGpuLeads();
  ASSERT_GE(leads.size(), 2U * kSteps);
  EXPECT_EQ(std::ranges::count(leads, 0U), 4);
  const Outcome at_once = Run({.device = testing::FakeGpu(), .validates = false});
  EXPECT_EQ(late.records, at_once.records);
}

// A validation after every third step: passes are recorded in the second and in the fifth step.
TEST_F(OverlapTest, RecordedPassesGiveTheSameRecordsAndCheckpoints) {
  Machine machine;
  machine.compute.device = testing::FakeGpu();
  machine.recorder = testing::FakeGpuRecorder();
  EXPECT_EQ(OverlapOf(machine).recorder, machine.recorder);
  const Outcome expected = Run({.device = testing::FakeGpu()});
  testing::TakeFakeGpuLog();

  const Outcome recorded =
      Run({.overlap = {.recorder = machine.recorder}, .device = testing::FakeGpu()});

  ASSERT_TRUE(recorded.status.ok()) << recorded.status.message();
  const std::vector<std::string> log = testing::TakeFakeGpuLog();
  EXPECT_GE(std::ranges::count(log, "record"), 4);
  EXPECT_EQ(std::ranges::count(log, "freed under a recording"), 0);
  EXPECT_EQ(recorded.records, expected.records);
}

}  // namespace
}  // namespace longrun::trainer
