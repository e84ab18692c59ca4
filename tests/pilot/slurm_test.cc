// `longrun pilot slurm` with the real programs, a real Slurm and the fake trainer.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <set>
#include <string_view>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "pki/certificate.h"
#include "pki/files.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/pilot/cluster.h"

namespace longrun {
namespace {

// One work day of this test: steps of a training, each as long as `step_ms`.
struct Training {
  int steps = 20;
  int step_ms = 100;
};

class SlurmPilotTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_folder_ = std::make_unique<TempFolder>();
    cluster_ = std::make_unique<SlurmCluster>(cluster_folder_->path());
    cluster_->Start();
  }
  static void TearDownTestSuite() {
    cluster_.reset();
    cluster_folder_.reset();
  }

  SlurmPilotTest() : service_(folder_.path()) {
    service_.SpawnCoordinator();
    EXPECT_TRUE(Await(60'000, [&] { return service_.CoordinatorIsReady(); })) << service_.Logs();
    service_.ImportWords();
  }
  ~SlurmPilotTest() override {
    StopPilot();
    for (const ClusterJob& job : cluster_->Jobs("")) cluster_->Run({"scancel", job.id});
    EXPECT_TRUE(Await(90'000, [&] { return cluster_->Jobs("").empty(); })) << Told();
    if (HasFailure()) std::printf("%s\n", Told().c_str());
  }

  // A sweep of so many runs, none of which may lose an attempt.
  void Submit(const Training& training, int n_runs = 1) {
    training_ = training;
    std::vector<std::string> seeds;
    for (int seed = 1; seed <= n_runs; ++seed) seeds.push_back(Str(seed));
    const std::string yaml =
        Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: s}\nspec:\n"
            "  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 32}\n"
            "  matrix: {position: [rope], train_length: [32], dataset: [words], seed: [",
            Join(seeds, ", "),
            "]}\n"
            "  train: {tokens: 25600, batch_tokens: 256}\n"
            "  evaluate:\n"
            "    - perplexity: {context_lengths: [32], split: validation, protocol: nonoverlap, "
            "score_tokens: 1024}\n"
            "  retry: {failures_max: 0, losses_max: 0}\n");
    ASSERT_TRUE(WriteFileAtomic(service_.At("s.yaml"), yaml).ok());
    ASSERT_EQ(service_.Client({"submit", service_.At("s.yaml")}), 0) << service_.Logs();
  }

  // Starts the coordinator again so that it also listens on a network: the address. `token` is one
  // of an administrator, who may make join tokens.
  std::string ServeNetwork(std::string* token) {
    EXPECT_EQ(service_.Client({"admin", "pki", "init", "--name", "localhost"}), 0)
        << service_.Logs();
    EXPECT_EQ(service_.Client({"admin", "token", "create", "--role", "admin"}, token), 0);
    service_.KillCoordinator();
    service_.SpawnCoordinator("", {"--listen", "127.0.0.1:0", "--listen",
                                   Str("unix:", service_.state(), "/coordinator.sock")});
    EXPECT_TRUE(Await(60'000, [&] { return service_.CoordinatorIsReady(); })) << service_.Logs();
    const std::string log = ReadFile(service_.At("coordinator.log")).value();
    constexpr std::string_view kField = "network=127.0.0.1:";
    const std::size_t at = log.find(kField);
    EXPECT_NE(at, std::string::npos) << log;
    return Str("localhost:", std::stoi(log.substr(at + kField.size())));
  }
  std::string Authority() const { return ReadFile(PkiPathsOf(service_.state()).authority).value(); }

  struct Ran {
    int code = -1;
    std::string said;
  };
  // `longrun ARGUMENTS` in the home folder of a machine that has no state folder.
  Ran OnLaptop(const std::vector<std::string>& arguments, const std::string& input = "") const {
    const std::string in = service_.At("laptop.in"), out = service_.At("laptop.out");
    EXPECT_TRUE(WriteFileAtomic(in, input, 0600).ok());
    std::vector<std::string> argv = {"/bin/sh", "-c", "exec \"$0\" \"$@\" < \"$STDIN\"",
                                     LONGRUN_BIN_DIR "/longrun"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const auto pid = Spawn({.argv = argv,
                            .env = {"PATH=/usr/bin:/bin", "HOME=" + home_, "STDIN=" + in},
                            .cwd = home_,
                            .stdout_path = out,
                            .stderr_path = out,
                            .die_with_parent = true});
    const auto ended = WaitFor(pid.value(), DeadlineMs(60'000));
    return {.code = ended.ok() && *ended ? (*ended)->code : -1, .said = ReadFile(out).value()};
  }

  std::string PilotFolder() const { return service_.At("pilot"); }
  std::string SeatFolder(int seat) const { return JoinPath(PilotFolder(), Str("seat-", seat)); }

  void StartPilot(const std::string& partition, int jobs_max,
                  const std::vector<std::string>& more = {}) {
    const std::string behaviour = CanonicalJson({{"default",
                                                  {{"steps", training_.steps},
                                                   {"ms_per_step", training_.step_ms},
                                                   {"checkpoint_every", 1'000'000}}}});
    for (int seat = 1; seat <= jobs_max; ++seat) {
      const std::string cache = JoinPath(SeatFolder(seat), "worker/cache");
      ASSERT_TRUE(MakeFolders(cache, 0700).ok());
      ASSERT_TRUE(WriteFileAtomic(JoinPath(cache, "behaviour.json"), behaviour).ok());
    }
    std::vector<std::string> argv = {LONGRUN_BIN_DIR "/longrun"};
    if (home_.empty()) argv.insert(argv.end(), {"--state", service_.state()});
    argv.insert(argv.end(), {"pilot", "slurm", "--partition", partition, "--max", Str(jobs_max),
                             "--folder", PilotFolder(), "--poll", "300ms", "--idle-exit", "3s"});
    argv.insert(argv.end(), more.begin(), more.end());
    std::vector<std::string> env = cluster_->Environment();
    if (!home_.empty()) {
      std::erase_if(env, [](const std::string& entry) { return entry.starts_with("HOME="); });
      env.push_back("HOME=" + home_);
    }
    env.push_back("LONGRUN_WORKER_TRAINER=" LONGRUN_BIN_DIR "/longrun-fake-trainer");
    env.insert(env.end(), more_env_.begin(), more_env_.end());
    const std::string log = service_.At("pilot.log");
    pilot_ = Spawn({.argv = argv,
                    .env = env,
                    .stdout_path = log,
                    .stderr_path = log,
                    .own_group = true,
                    .die_with_parent = true})
                 .value();
  }
  int StopPilot() {
    if (pilot_ == 0) return 0;
    kill(pilot_, SIGTERM);
    const auto ended = WaitFor(std::exchange(pilot_, 0), DeadlineMs(60'000));
    return ended.ok() && *ended ? (*ended)->code : -1;
  }

  // Of our jobs, in this state.
  std::vector<ClusterJob> JobsIn(const std::string& state) const {
    std::vector<ClusterJob> jobs = cluster_->Jobs();
    std::erase_if(jobs, [&](const ClusterJob& job) { return job.state != state; });
    return jobs;
  }
  std::string Printed(const std::vector<std::string>& arguments) {
    std::string text;
    service_.Client(arguments, &text);
    return text;
  }
  // Whether `longrun why` comes to say all of this of the sweep.
  bool AwaitWhy(const std::vector<std::string>& texts) {
    std::string said;
    const bool is_said = Await(120'000, [&] {
      said = Printed({"why", "s"});
      return std::ranges::all_of(
          texts, [&](const std::string& text) { return said.find(text) != std::string::npos; });
    });
    EXPECT_TRUE(is_said) << "`longrun why` says:\n" << said;
    return is_said;
  }
  std::int64_t Number(const std::string& sql) const {
    std::int64_t number = -1;
    const std::string text = Query(service_, sql);
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
  }
  std::int64_t Attempts(const std::string& state) const {
    return Number(Str("SELECT count(*) FROM attempt WHERE state = '", state, "'"));
  }
  bool AwaitTraining() {
    return Await(120'000, [&] { return Attempts("RUNNING") > 0; });
  }
  bool AwaitSuccess(long limit_ms = 300'000) {
    return Await(limit_ms, [&] { return service_.SweepState("s") == "SUCCEEDED"; });
  }
  void ExpectNothingCounted() {
    EXPECT_EQ(Number("SELECT sum(losses) + sum(failures) FROM task"), 0);
    EXPECT_EQ(Number("SELECT count(*) FROM attempt WHERE state NOT IN "
                     "('SUCCEEDED', 'PREEMPTED', 'REJECTED')"),
              0);
  }
  std::string PilotLog() const {
    const Result<std::string> log = ReadFile(service_.At("pilot.log"));
    return log.ok() ? *log : "";
  }
  // For a failed test.
  std::string Told() const {
    std::string text = Str(PilotLog(), "\n", service_.Logs(), "\n",
                           cluster_->Run({"squeue", "-la"}), cluster_->Run({"sinfo", "-R"}));
    for (int seat = 1; seat <= 4; ++seat) {
      const Result<std::vector<std::string>> names = ListFolder(SeatFolder(seat));
      if (!names.ok()) continue;
      for (const std::string& name : *names) {
        if (!name.ends_with(".log")) continue;
        text += Str("---- seat ", seat, " ", name, "\n",
                    ReadFile(JoinPath(SeatFolder(seat), name)).value());
      }
    }
    return text + cluster_->Logs();
  }

  static std::unique_ptr<TempFolder> cluster_folder_;
  static std::unique_ptr<SlurmCluster> cluster_;
  TempFolder folder_;
  Service service_;
  Training training_;
  std::vector<std::string> more_env_;  // of the pilot, and so of its jobs
  std::string home_;  // with a login to the coordinator; "": the pilot uses the state folder
  int pilot_ = 0;
};

std::unique_ptr<TempFolder> SlurmPilotTest::cluster_folder_;
std::unique_ptr<SlurmCluster> SlurmPilotTest::cluster_;

// Each job works for 8 s, and the training takes 40 s.
TEST_F(SlurmPilotTest, ARunThatIsLongerThanAnyJobFinishesInSlicesWithoutALoss) {
  Submit({.steps = 40, .step_ms = 1000});
  StartPilot("main", 3, {"--time", "12s", "--grace", "2s"});
  std::set<std::string> jobs;
  const bool done = Await(400'000, [&] {
    std::size_t n_active = 0;
    for (const ClusterJob& job : cluster_->Jobs()) {
      jobs.insert(job.id);
      n_active += job.state == "COMPLETING" ? 0 : 1;
    }
    EXPECT_LE(n_active, 1u) << "there is work for one job";
    return service_.SweepState("s") == "SUCCEEDED";
  });
  ASSERT_TRUE(done) << Told();

  EXPECT_GE(Attempts("PREEMPTED"), 4);
  EXPECT_GE(Number("SELECT count(*) FROM attempt WHERE state IN ('PREEMPTED', 'SUCCEEDED')"), 6);
  EXPECT_GE(jobs.size(), 5u);
  ExpectNothingCounted();
  // Without work they leave by themselves, and are forgotten.
  EXPECT_TRUE(Await(120'000, [&] { return cluster_->Jobs().empty(); })) << Told();
  EXPECT_TRUE(Await(60'000, [&] { return Number("SELECT count(*) FROM worker") == 0; }));
  EXPECT_NE(PilotLog().find("has ended: COMPLETED"), std::string::npos);
  EXPECT_EQ(StopPilot(), 0);
}

// The pilot runs where somebody has only logged in, and knows no folder of the coordinator's.
TEST_F(SlurmPilotTest, JobsOfAPilotOnAnotherMachineJoinOverTls) {
  std::string token;
  const std::string address = ServeNetwork(&token);
  home_ = service_.At("laptop");
  ASSERT_TRUE(MakeFolders(home_, 0700).ok());
  const Ran login = OnLaptop({"login", address, "--name", "cluster", "--ca-fingerprint",
                              ReadCertificate(Authority()).value().fingerprint},
                             token);
  ASSERT_EQ(login.code, 0) << login.said;
  Submit({.steps = 12, .step_ms = 1000});
  StartPilot("main", 1, {"--time", "12s", "--grace", "2s"});
  ASSERT_TRUE(AwaitTraining()) << Told();
  const Ran why = OnLaptop({"why", "s"});
  EXPECT_EQ(why.code, 0);
  EXPECT_NE(why.said.find("evaluate task "), std::string::npos) << why.said;
  EXPECT_NE(why.said.find(" is BLOCKED, NEEDS_TASK: waits for its training"), std::string::npos)
      << why.said;

  ASSERT_TRUE(AwaitSuccess()) << Told();
  EXPECT_NE(PilotLog().find(Str("for the coordinator at ", address)), std::string::npos);
  EXPECT_GE(Attempts("PREEMPTED"), 1);
  ExpectNothingCounted();
  // It joined once: the next job of the seat has the same certificate.
  std::string audit;
  ASSERT_EQ(service_.Client({"admin", "audit", "--since", "1h", "-o", "json"}, &audit), 0);
  std::int64_t n_joins = 0;
  const Json entries = ParseJson(audit).value();
  for (const Json& entry : entries) {
    n_joins += entry.at("method") == "JoinWorker" && entry.at("outcome") == "OK" ? 1 : 0;
  }
  EXPECT_EQ(n_joins, 1) << audit;
}

// The value of a variable in the environment of a process.
std::string EnvironmentOf(int pid, const std::string& name) {
  const Result<std::string> text = ReadFile(Str("/proc/", pid, "/environ"));
  if (!text.ok()) return "";
  for (const std::string& entry : Split(*text, '\0')) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "";
}

// The trainers of a pilot's jobs.
std::vector<int> TrainersOf(const Service& service) {
  std::vector<int> trainers;
  for (const int pid : service.Processes()) {
    const Result<std::string> line = ReadFile(Str("/proc/", pid, "/cmdline"));
    if (line.ok() && Split(*line, '\0').front().ends_with("/longrun-fake-trainer")) {
      trainers.push_back(pid);
    }
  }
  return trainers;
}

TEST_F(SlurmPilotTest, TwoJobsOnOneNodeShareNoDevice) {
  more_env_ = {"LD_LIBRARY_PATH=" LONGRUN_FAKE_NVML_DIR};
  Submit({.steps = 1'000'000, .step_ms = 100}, /*n_runs=*/2);
  StartPilot("one", 4, {"--time", "10min", "--gpus", "1"});
  ASSERT_TRUE(Await(120'000, [&] { return TrainersOf(service_).size() == 2; })) << Told();

  const std::vector<ClusterJob> jobs = JobsIn("RUNNING");
  ASSERT_EQ(jobs.size(), 2u) << Told();
  EXPECT_EQ(jobs[0].node, "n1");
  EXPECT_EQ(jobs[1].node, "n1");
  std::set<std::string> devices;
  for (const int pid : TrainersOf(service_)) {
    devices.insert(EnvironmentOf(pid, "CUDA_VISIBLE_DEVICES"));
  }
  EXPECT_EQ(devices, (std::set<std::string>{"GPU-imagined-0", "GPU-imagined-1"}));
  EXPECT_EQ(cluster_->Jobs().size(), 2u) << "there is work for two jobs";
  const std::string workers = Printed({"workers"});
  EXPECT_NE(workers.find("Imagined GPU"), std::string::npos) << workers;
  EXPECT_NE(workers.find(Str("slurm ", jobs[0].id, ", works for 9min")), std::string::npos)
      << workers;
  EXPECT_EQ(service_.Client({"cancel", "s"}), 0);
}

TEST_F(SlurmPilotTest, AJobThatIsCancelledInTheMiddleIsReplacedAndNothingIsLost) {
  Submit({.steps = 40, .step_ms = 200});
  StartPilot("main", 3, {"--time", "10min", "--grace", "5s"});
  ASSERT_TRUE(AwaitTraining()) << Told();
  const std::vector<ClusterJob> jobs = JobsIn("RUNNING");
  ASSERT_EQ(jobs.size(), 1u) << Told();

  cluster_->Run({"scancel", jobs.front().id});

  EXPECT_TRUE(AwaitWhy({Str("job ", jobs.front().id, " has ended: CANCELLED (with `scancel`")}));
  ASSERT_TRUE(AwaitSuccess()) << Told();
  EXPECT_TRUE(AwaitWhy({" SUCCEEDED: complete with attempt 2"}));
  EXPECT_EQ(Attempts("PREEMPTED"), 1);
  ExpectNothingCounted();
  EXPECT_NE(PilotLog().find(Str("job ", jobs.front().id, " (seat 1) has ended: CANCELLED")),
            std::string::npos);
  EXPECT_NE(Query(service_, "SELECT resume FROM attempt WHERE n = 2"), "");
}

TEST_F(SlurmPilotTest, ARequeuedJobComesBackAsTheSameWorker) {
  Submit({.steps = 40, .step_ms = 200});
  StartPilot("main", 1, {"--time", "10min", "--grace", "5s"});
  ASSERT_TRUE(AwaitTraining()) << Told();
  const std::vector<ClusterJob> jobs = JobsIn("RUNNING");
  ASSERT_EQ(jobs.size(), 1u) << Told();

  cluster_->Run({"scontrol", "requeue", jobs.front().id});
  ASSERT_TRUE(Await(120'000, [&] { return JobsIn("PENDING").size() == 1; })) << Told();
  // Slurm waits two minutes before it starts it again.
  EXPECT_TRUE(AwaitWhy(
      {"is READY, JOB_PENDING: ", "none of its jobs runs; waiting in the queue: 1 job (BeginTime)",
       "Slurm starts the job by itself", "last attempt: ended (preempted): "}));
  cluster_->Run({"scontrol", "update", Str("jobid=", jobs.front().id), "starttime=now"});

  ASSERT_TRUE(AwaitSuccess()) << Told();
  ExpectNothingCounted();
  EXPECT_EQ(Number("SELECT count(DISTINCT worker) FROM attempt"), 1);
  EXPECT_GE(Attempts("PREEMPTED"), 1);
}

// Its partition has jobs of a higher tier.
TEST_F(SlurmPilotTest, AJobThatSlurmPreemptsYieldsWithACheckpointAndComesBack) {
  Submit({.steps = 40, .step_ms = 200});
  StartPilot("low", 1, {"--time", "10min", "--grace", "5s"});
  ASSERT_TRUE(AwaitTraining()) << Told();
  const std::string job = JobsIn("RUNNING").at(0).id;

  cluster_->Run({"sbatch", "--partition=high", "--exclusive", "--job-name=urgent",
                 "--output=/dev/null", "--wrap=true"});
  ASSERT_TRUE(Await(120'000, [&] { return JobsIn("PENDING").size() == 1; })) << Told();
  EXPECT_TRUE(AwaitWhy(
      {"is READY, JOB_PENDING: ", "none of its jobs runs; waiting in the queue: 1 job ("}));
  ASSERT_TRUE(Await(120'000, [&] { return cluster_->Jobs("urgent").empty(); })) << Told();
  cluster_->Run({"scontrol", "update", Str("jobid=", job), "starttime=now"});

  ASSERT_TRUE(AwaitSuccess()) << Told();
  EXPECT_GE(Attempts("PREEMPTED"), 1);
  ExpectNothingCounted();
}

TEST_F(SlurmPilotTest, ANodeThatNeverStartsIsTold) {
  Submit({});
  StartPilot("dead", 2);
  // Slurm has more than one way to say it.
  ASSERT_TRUE(Await(120'000, [&] {
    const std::string pilots = Printed({"pilot", "list"});
    return pilots.find("NodeNotAvail") != std::string::npos ||
           pilots.find("DOWN") != std::string::npos;
  })) << Told();

  service_.Client({"get", "s"});
  const std::string told = ReadFile(service_.At("client.log")).value();
  EXPECT_NE(told.find("pilot dead (slurm, dead): none of its jobs runs; waiting in the queue"),
            std::string::npos)
      << told;
  EXPECT_TRUE(AwaitWhy({"train task ",
                        " is READY, JOB_PENDING: no worker is connected; pilot dead "
                        "(slurm, dead): none of its jobs runs; waiting in the queue",
                        "no node that could run the job is up: `sinfo -R` says why",
                        "evaluate task ", " is BLOCKED, NEEDS_TASK: waits for its training"}));
  // Without work, the job that waits is not needed.
  EXPECT_EQ(service_.Client({"cancel", "s"}), 0);
  EXPECT_TRUE(Await(120'000, [&] { return cluster_->Jobs().empty(); })) << Told();
}

TEST_F(SlurmPilotTest, AHeldJobIsTold) {
  Submit({});
  StartPilot("main", 1, {"--sbatch=--hold"});
  ASSERT_TRUE(Await(120'000, [&] {
    return Printed({"workers"}).find("JobHeldUser") != std::string::npos;
  })) << Told();
  EXPECT_NE(Printed({"pilot", "list"}).find("HELD"), std::string::npos);
  const std::string job = cluster_->Jobs().at(0).id;
  EXPECT_TRUE(AwaitWhy({"is READY, JOB_HELD: ", "1 job (JobHeldUser)",
                        Str("to resolve: `scontrol release ", job, "`")}));

  cluster_->Run({"scontrol", "release", job});
  ASSERT_TRUE(AwaitSuccess()) << Told();
}

TEST_F(SlurmPilotTest, APilotThatIsKilledFindsItsJobsAgain) {
  Submit({.steps = 1'000'000, .step_ms = 100}, /*n_runs=*/2);
  StartPilot("main", 2, {"--time", "10min"});
  ASSERT_TRUE(Await(120'000, [&] { return JobsIn("RUNNING").size() == 2; })) << Told();
  kill(pilot_, SIGKILL);
  ASSERT_TRUE(WaitFor(std::exchange(pilot_, 0), DeadlineMs(60'000)).ok());

  StartPilot("main", 2, {"--time", "10min"});
  ASSERT_TRUE(Await(60'000, [&] {
    return PilotLog().rfind("is RUNNING") > PilotLog().rfind("pilot main: up to");
  })) << Told();
  EXPECT_EQ(cluster_->Jobs().size(), 2u) << Told();
  EXPECT_EQ(service_.Client({"cancel", "s"}), 0);
}

// A suite of its own has a Slurm of its own: jobs that have ended count towards MaxJobCount until
// Slurm forgets them, and a queue that they have filled would have room a minute later.
class SlurmFullQueueTest : public SlurmPilotTest {};

TEST_F(SlurmFullQueueTest, IsTold) {
  Submit({});
  ASSERT_TRUE(Await(120'000, [&] {
    // It tries again and again for two minutes.
    const std::string said =
        cluster_->Run({"timeout", "5", "sbatch", "--hold", "--output=/dev/null", "--wrap=true"});
    return said.find("unable to accept job") != std::string::npos;
  })) << Told();
  StartPilot("main", 1);
  ASSERT_TRUE(Await(120'000, [&] {
    return Printed({"workers"}).find("PENDING") == std::string::npos &&
           ReadFile(service_.At("client.log")).value().find("no job can be submitted: sbatch") !=
               std::string::npos;
  })) << Told();

  EXPECT_TRUE(
      AwaitWhy({"is READY, PILOT_PROBLEM: no worker is connected; pilot main (slurm, main): "
                "no job can be submitted: sbatch",
                "the pilot tries again by itself"}));

  for (const ClusterJob& job : cluster_->Jobs("wrap")) cluster_->Run({"scancel", job.id});
  ASSERT_TRUE(AwaitSuccess()) << Told();
}

int RunTests(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::RunInNamespaces(argc, argv, &longrun::RunTests); }
