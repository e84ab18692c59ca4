// The real programs, interrupted in ways that are no crash of the work itself: the coordinator is
// away, the user cancels, the user presses Ctrl-C. Each time the numbers are those of an
// undisturbed run.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(120'000);
constexpr const char* kSlowly =
    "trainer_mid_step:delay_ms:15";  // so that there is time to interrupt
const SweepSize kSize = {.steps = 300, .positions = {"cable"}};

class InterruptionTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const TempFolder folder("calm");
    Service calm(folder.path());
    calm.ImportWords();
    calm.WriteSweep("words", kSize);
    std::string output;
    ASSERT_EQ(calm.Client({"run", calm.At("words.yaml"), "-o", "json"}, &output), 0) << calm.Logs();
    undisturbed_ = Service::NumbersOf(output);
  }

  void SetUp() override {
    service.ImportWords();
    service.WriteSweep("words", kSize);
    ASSERT_FALSE(undisturbed_.empty());
  }
  // Trainers take their time.
  void Slowly() {
    ASSERT_TRUE(WriteFileAtomic(service.At("fates/train.default"), Str(kSlowly, "\n")).ok());
  }
  void Submit() {
    ASSERT_EQ(service.Client({"submit", service.At("words.yaml")}), 0) << service.Logs();
  }
  // The newest step in the newest attempt's journal.
  std::int64_t Step() const {
    const std::vector<std::string> folders = service.AttemptFolders();
    std::int64_t step = 0;
    if (folders.empty()) return step;
    for (const JsonRecord& record : Service::Journal(folders.back())) {
      if (record.kind == RecordKind::kSeries) step = *record.step;
    }
    return step;
  }
  void AwaitStep(std::int64_t step) {
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return Step() >= step; })) << service.Logs();
  }
  void AwaitState(const std::string& state) {
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.SweepState("words") == state; }))
        << service.SweepState("words") << service.Logs();
  }
  // Attempts of the training that were not refused by a worker on its way out, oldest first, by the
  // steps that they resumed at: "0 31".
  std::string ResumedAt() const {
    return Query(service,
                 "SELECT group_concat(ifnull(resume_step, 0), ' ') FROM (SELECT a.resume_step FROM"
                 " attempt a JOIN task t ON t.id = a.task WHERE t.kind = 'train' AND a.state <> "
                 "'REJECTED' ORDER BY a.n)");
  }
  // Whether the newest attempt evaluates and has so many results.
  bool HasResults(std::ptrdiff_t n) const {
    const std::vector<std::string> folders = service.AttemptFolders();
    if (folders.empty()) return false;
    const std::vector<JsonRecord> records = Service::Journal(folders.back());
    return std::ranges::count(records, RecordKind::kResult, &JsonRecord::kind) >= n;
  }
  // How many of the results that count were taken over from the first attempt of the evaluation:
  // "3 of 6".
  std::string TakenOver() const {
    return Query(
        service,
        "SELECT sum(json_extract(r.line, '$.body.measured_by') IS a.id) || ' of ' || count(*)"
        " FROM task t JOIN attempt a ON a.task = t.id AND a.n = 1"
        " JOIN result r ON r.attempt = t.result_attempt WHERE t.kind = 'evaluate'");
  }
  // "300 1 300": how many losses are stored, of which first and last step.
  std::string StoredSteps() const {
    return Query(service,
                 "SELECT count(*) || ' ' || min(step) || ' ' || max(step) FROM series JOIN"
                 " metric_name ON metric_name.id = series.metric WHERE name = 'loss'");
  }

  static std::string undisturbed_;
  TempFolder folder;
  Service service{folder.path()};
};

std::string InterruptionTest::undisturbed_;

TEST_F(InterruptionTest, ACoordinatorThatIsAwayCostsTheTrainerNoStep) {
  Slowly();
  service.Start();
  Submit();
  AwaitStep(10);

  service.KillCoordinator();
  const std::int64_t gone_ms = BootMs();
  const std::int64_t step = Step();
  AwaitStep(step + 100);
  service.SpawnCoordinator();
  std::printf("the coordinator was away for %lld ms\n", static_cast<long long>(BootMs() - gone_ms));
  AwaitState("SUCCEEDED");

  EXPECT_EQ(service.Table("words"), undisturbed_);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  EXPECT_EQ(ResumedAt(), "0");  // one attempt
  EXPECT_EQ(StoredSteps(), Str(kSize.steps, " 1 ", kSize.steps));
}

// A trainer keeps its last two checkpoints: the files of the others are gone when the coordinator
// is back, and their records must not hold up the journal.
TEST_F(InterruptionTest, ATrainingThatEndsWhileTheCoordinatorIsAwayIsTakenInAfterwards) {
  service.Start();
  Submit();
  AwaitStep(1);
  service.KillCoordinator();
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.Trainers().empty(); })) << service.Logs();

  service.SpawnCoordinator();
  AwaitState("SUCCEEDED");

  EXPECT_EQ(service.Table("words"), undisturbed_);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  EXPECT_EQ(ResumedAt(), "0");
}

TEST_F(InterruptionTest, ACoordinatorThatIsAwayForAMinuteCostsTheTrainerNoStep) {
  if (!GetEnv("LONGRUN_SOAK")) GTEST_SKIP() << "LONGRUN_SOAK is not set";
  const SweepSize long_size = {.steps = 5000, .positions = {"cable"}};
  service.WriteSweep("words", long_size);
  Slowly();
  service.Start();
  Submit();
  AwaitStep(10);

  service.KillCoordinator();
  const std::int64_t step = Step();
  const std::int64_t back_ms = BootMs() + 60'000;
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return BootMs() >= back_ms; }));
  EXPECT_GT(Step(), step + 500);  // of about 20 ms
  service.SpawnCoordinator();
  AwaitState("SUCCEEDED");

  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  EXPECT_EQ(ResumedAt(), "0");
  EXPECT_EQ(StoredSteps(), Str(long_size.steps, " 1 ", long_size.steps));
}

TEST_F(InterruptionTest, ACancelledTrainingGoesOnFromItsCheckpointWhenItIsSubmittedAgain) {
  Slowly();
  service.Start();
  Submit();
  AwaitStep(30);

  ASSERT_EQ(service.Client({"cancel", "words"}), 0) << service.Logs();
  // Well within the 20 s after which a trainer that writes no checkpoint would be killed.
  EXPECT_TRUE(WaitUntil(15'000, [&] { return service.Trainers().empty(); })) << service.Logs();
  const auto attempt = [&] { return Query(service, "SELECT group_concat(state) FROM attempt"); };
  EXPECT_TRUE(WaitUntil(kEndMs, [&] { return attempt() == "CANCELLED"; })) << attempt();
  EXPECT_EQ(service.SweepState("words"), "CANCELLED");

  Submit();
  AwaitState("SUCCEEDED");
  EXPECT_EQ(service.Table("words"), undisturbed_);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  const std::vector<std::string> resumed = Split(ResumedAt(), ' ');
  ASSERT_EQ(resumed.size(), 2u) << service.Logs();
  EXPECT_GE(std::stoi(resumed[1]), 30) << service.Logs();
}

TEST_F(InterruptionTest, ATrainingThatIsCancelledNowWritesNoCheckpointAndLosesNoNumber) {
  Slowly();
  service.Start();
  Submit();
  AwaitStep(30);
  // A trainer that is stopped by a signal could not end by itself.
  for (const TrainerProcess& trainer : service.Trainers()) kill(trainer.pid, SIGSTOP);

  ASSERT_EQ(service.Client({"cancel", "words", "--now"}), 0) << service.Logs();
  const auto message = [&] { return Query(service, "SELECT group_concat(message) FROM attempt"); };
  EXPECT_TRUE(WaitUntil(kEndMs, [&] { return message() == "its trainer was killed (--now)"; }))
      << message() << service.Logs();
  EXPECT_TRUE(service.Trainers().empty());
  EXPECT_EQ(service.SweepState("words"), "CANCELLED");

  Submit();
  AwaitState("SUCCEEDED");
  EXPECT_EQ(service.Table("words"), undisturbed_);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
}

// The evaluation's worker dies while it fetches the weights: no trainer has run, and it may be an
// operator who restarts the worker. Invariant I-18.
TEST_F(InterruptionTest, AWorkerThatIsKilledWhileItPreparesATaskCostsTheTaskNothing) {
  service.SpawnCoordinator();
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.CoordinatorIsReady(); })) << service.Logs();
  service.SpawnWorker("worker_mid_download:stop");
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return service.WorkerIsReady(); })) << service.Logs();
  Submit();
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return IsStopped(service.worker()); })) << service.Logs();
  service.KillWorker();
  service.SpawnWorker();
  AwaitState("SUCCEEDED");

  EXPECT_EQ(service.Table("words"), undisturbed_);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  EXPECT_EQ(Query(service, "SELECT sum(losses) + sum(failures) FROM task"), "0");
  EXPECT_EQ(Query(service,
                  "SELECT kind || ' ' || a.state || ' ' || failure_class FROM attempt a JOIN task t"
                  " ON t.id = a.task WHERE failure_class <> ''"),
            "evaluate REJECTED vanished");
}

// What is hidden of a text depends on where in the data a step is, and on nothing that a kill could
// lose. Invariant I-35.
TEST_F(InterruptionTest, AnEncoderWhoseTrainerIsKilledHasTheNumbersOfOneThatWasNot) {
  const SweepSize encoder = {
      .steps = 200, .positions = {"{method: alibi, variant: symmetric}"}, .encoder = true};
  const TempFolder calm_folder("calm-encoder");
  Service calm(calm_folder.path());
  calm.ImportWords();
  calm.WriteSweep("words", encoder);
  std::string output;
  ASSERT_EQ(calm.Client({"run", calm.At("words.yaml"), "-o", "json"}, &output), 0) << calm.Logs();
  const std::string undisturbed = Service::NumbersOf(output);
  EXPECT_NE(undisturbed.find("pseudo_perplexity"), std::string::npos) << undisturbed;

  service.WriteSweep("words", encoder);
  Slowly();
  service.Start();
  Submit();
  // The first validation, after 25 steps, is the best so far, and leaves a checkpoint.
  AwaitStep(30);
  const std::vector<TrainerProcess> trainers = service.Trainers();
  ASSERT_EQ(trainers.size(), 1u) << service.Logs();
  ASSERT_EQ(kill(trainers.front().pid, SIGKILL), 0);
  AwaitState("SUCCEEDED");

  EXPECT_EQ(service.Table("words"), undisturbed);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  const std::vector<std::string> resumed = Split(ResumedAt(), ' ');
  ASSERT_EQ(resumed.size(), 2u) << service.Logs();
  EXPECT_GE(std::stoi(resumed[1]), 25) << service.Logs();
}

// The fine-tuning starts from weights of another run, and goes on from a checkpoint of its own: its
// optimizer, its place in the data and its positions are as if nothing had happened.
TEST_F(InterruptionTest, APoseFineTuningWhoseTrainerIsKilledHasTheBitsOfOneThatWasNot) {
  const SweepSize tuned = {.steps = 150, .positions = {"rope"}, .tuned = true};
  const auto weights = [](const Service& one) {
    return Query(one,
                 "SELECT group_concat(json_extract(final_checkpoint, '$.sha256'), ' ') FROM"
                 " (SELECT final_checkpoint FROM task WHERE kind = 'train' ORDER BY needs)");
  };
  const TempFolder calm_folder("calm-pose");
  Service calm(calm_folder.path());
  calm.ImportWords();
  calm.WriteSweep("words", tuned);
  std::string output;
  ASSERT_EQ(calm.Client({"run", calm.At("words.yaml"), "-o", "json"}, &output), 0) << calm.Logs();
  const std::string undisturbed = Service::NumbersOf(output);
  ASSERT_EQ(Split(weights(calm), ' ').size(), 2u) << weights(calm);

  service.WriteSweep("words", tuned);
  Slowly();
  service.Start();
  Submit();
  const auto tunes = [&] {
    const std::vector<std::string> folders = service.AttemptFolders();
    if (folders.empty()) return false;
    const auto task = ReadFile(JoinPath(folders.back(), "task.json"));
    return task.ok() && task->find("\"kind\":\"train\"") != std::string::npos &&
           task->find("\"init\":{\"run\":") != std::string::npos;
  };
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return tunes() && Step() >= 30; })) << service.Logs();
  const std::vector<TrainerProcess> trainers = service.Trainers();
  ASSERT_EQ(trainers.size(), 1u) << service.Logs();
  ASSERT_EQ(kill(trainers.front().pid, SIGKILL), 0);
  AwaitState("SUCCEEDED");

  EXPECT_EQ(service.Table("words"), undisturbed);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  EXPECT_EQ(weights(service), weights(calm));
  const std::vector<std::string> resumed = Split(ResumedAt(), ' ');  // the base, then twice this
  ASSERT_EQ(resumed.size(), 3u) << service.Logs();
  EXPECT_GE(std::stoi(resumed[2]), 25) << service.Logs();
}

TEST_F(InterruptionTest, AfterCtrlCNothingOfOursRunsAndTheSameCommandGoesOn) {
  const int client = service.SpawnClient({"run", service.At("words.yaml")}, kSlowly);
  AwaitStep(30);

  ASSERT_EQ(kill(client, SIGINT), 0);
  const auto ended = WaitFor(client, kEndMs);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 130) << service.Logs();
  EXPECT_TRUE(service.Processes().empty());

  std::string table;
  EXPECT_EQ(service.Client({"run", service.At("words.yaml"), "-o", "json"}, &table), 0)
      << service.Logs();
  EXPECT_EQ(Service::NumbersOf(table), undisturbed_);
  EXPECT_TRUE(service.Processes().empty());
  const std::vector<std::string> resumed = Split(ResumedAt(), ' ');
  ASSERT_EQ(resumed.size(), 2u) << service.Logs();
  EXPECT_GE(std::stoi(resumed[1]), 30) << service.Logs();
}

TEST_F(InterruptionTest, AnEvaluationWhoseTrainerIsKilledMeasuresOnlyWhatIsLeft) {
  ASSERT_TRUE(
      WriteFileAtomic(service.At("fates/evaluate.1000"), "trainer_mid_evaluation:stop@4\n").ok());
  service.Start();
  Submit();
  const auto stands_still = [&] {
    const std::vector<TrainerProcess> trainers = service.Trainers();
    return trainers.size() == 1 && IsStopped(trainers.front().pid) && HasResults(3);
  };
  ASSERT_TRUE(WaitUntil(kEndMs, stands_still)) << service.Logs();
  ASSERT_EQ(kill(service.Trainers().front().pid, SIGKILL), 0);
  AwaitState("SUCCEEDED");

  EXPECT_EQ(service.Table("words"), undisturbed_);
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();
  EXPECT_EQ(TakenOver(), "3 of 6");
  // Each number has its files, which were not sent again.
  EXPECT_EQ(Query(service,
                  "SELECT count(DISTINCT name) || ' ' || count(*) FROM task t JOIN artifact a"
                  " ON a.attempt = t.result_attempt WHERE t.kind = 'evaluate'"),
            "12 12");
}

TEST_F(InterruptionTest, AnEvaluationAfterCtrlCMeasuresOnlyWhatIsLeft) {
  const int client = service.SpawnClient({"run", service.At("words.yaml")},
                                         "trainer_mid_evaluation:delay_ms:1000");
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return HasResults(2); })) << service.Logs();

  ASSERT_EQ(kill(client, SIGINT), 0);
  const auto ended = WaitFor(client, kEndMs);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 130) << service.Logs();
  const std::string n_stored = Query(service, "SELECT count(*) FROM result");
  EXPECT_GE(std::stoi(n_stored), 2);

  std::string table;
  EXPECT_EQ(service.Client({"run", service.At("words.yaml"), "-o", "json"}, &table), 0)
      << service.Logs();
  EXPECT_EQ(Service::NumbersOf(table), undisturbed_);
  EXPECT_EQ(TakenOver(), n_stored + " of 6");
}

}  // namespace
}  // namespace longrun
