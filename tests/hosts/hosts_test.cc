// Several hosts serve one coordinator: each has a network, a root and processes of its own, and all
// that they share is a network that the test makes bad. What must hold: the table is that of one
// machine, bit for bit; a network that is cut for 20 s restarts nothing; a host that is lost for
// good costs at most one checkpoint interval; one that returns is fenced.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/children.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/hosts/cluster.h"
#include "tests/hosts/recount.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kLimitMs = DeadlineMs(180'000);

// A step of the trainers: it makes the training last, and costs no processor time.
std::string StepDelay(std::int64_t ms) {
  return Str("LONGRUN_FAILPOINTS=trainer_mid_step:delay_ms:", ms);
}

// The number of the last step in a journal, and the step of its last checkpoint; 0: none.
struct Progress {
  std::int64_t step = 0;
  std::int64_t checkpoint = 0;
};
Progress ProgressOf(const std::string& attempt_folder) {
  Progress progress;
  for (const JsonRecord& record : Service::Journal(attempt_folder)) {
    if (record.kind == RecordKind::kSeries) progress.step = record.step.value_or(0);
    if (record.kind == RecordKind::kCheckpoint) {
      progress.checkpoint = record.body.at("step").get<std::int64_t>();
    }
  }
  return progress;
}

class HostsTest : public ::testing::Test {
 protected:
  // The numbers of an undisturbed run on one machine.
  std::string CalmTable(const SweepSize& size) {
    Service calm(JoinPath(folder.path(), "calm"));
    calm.ImportWords();
    calm.WriteSweep("words", size);
    calm.Start();
    EXPECT_EQ(calm.Client({"submit", calm.At("words.yaml")}), 0) << calm.Logs();
    EXPECT_TRUE(WaitUntil(kLimitMs, [&] { return calm.SweepState("words") == "SUCCEEDED"; }))
        << calm.Logs();
    const std::string table = calm.Table("words");
    EXPECT_EQ(calm.Stop(), (std::pair{0, 0})) << calm.Logs();
    return table;
  }

  // From the laptop.
  void Submit(Cluster& cluster, const SweepSize& size) {
    Host& laptop = cluster.laptop();
    ASSERT_TRUE(WriteFileAtomic(laptop.Outside("train.txt"), WordSalad(1, 200'000)).ok());
    ASSERT_TRUE(
        WriteFileAtomic(laptop.Outside("validation.txt"), WordSalad(1, 220'000).substr(200'000))
            .ok());
    const Ran imported = cluster.Client(
        laptop, {"data", "import", "words", "--tokenizer", "bytes", "--train",
                 laptop.Inside("train.txt"), "--validation", laptop.Inside("validation.txt")});
    ASSERT_EQ(imported.code, 0) << imported.err << cluster.Logs();
    ASSERT_TRUE(WriteFileAtomic(laptop.Outside("words.yaml"), SmallSweep("words", size)).ok());
    const Ran submitted = cluster.Client(laptop, {"submit", laptop.Inside("words.yaml")});
    ASSERT_EQ(submitted.code, 0) << submitted.err << cluster.Logs();
  }

  static void AwaitWelcome(const Cluster& cluster, const Cluster::Worker& worker) {
    ASSERT_TRUE(WaitUntil(kLimitMs, [&] { return cluster.IsWelcomed(worker); })) << cluster.Logs();
  }
  static void Await(Cluster& cluster, const std::string& sql, const std::string& value) {
    ASSERT_TRUE(WaitUntil(kLimitMs, [&] { return cluster.Query(sql) == value; }))
        << sql << ": " << cluster.Query(sql) << cluster.Logs();
  }
  static void AwaitSuccess(Cluster& cluster) {
    Await(cluster, "SELECT count(*) > 0 AND sum(state <> 'SUCCEEDED') = 0 FROM task", "1");
    EXPECT_EQ(cluster.SweepState("words"), "SUCCEEDED");
  }

  // The table as the laptop sees it, which the second checker has recomputed.
  std::string CheckedTable(Cluster& cluster) {
    const Ran table = cluster.Client(cluster.laptop(), {"table", "words", "-o", "json"});
    EXPECT_EQ(table.code, 0) << table.err;
    const Recount recount = RecountSweep(cluster, folder.path(), "words", table.out);
    EXPECT_EQ(recount.code, 0) << recount.said;
    std::printf("%s", recount.said.c_str());
    // The checker would see a wrong number.
    Json wrong = ParseJson(table.out).value();
    Json& number = wrong.at(0).at("rows").at(0).at("cells").at(0).at("perplexity");
    number = number.get<double>() * (1 + 1e-12);
    const Recount refused = RecountSweep(cluster, folder.path(), "words", CanonicalJson(wrong));
    EXPECT_EQ(refused.code, 1) << refused.said;
    EXPECT_NE(refused.said.find("the table says"), std::string::npos) << refused.said;
    return Service::NumbersOf(table.out);
  }

  static void StopAll(Cluster& cluster) {
    for (const auto& worker : cluster.workers()) {
      if (!worker->host->is_on()) continue;
      EXPECT_EQ(cluster.StopWorker(*worker), 0) << cluster.Logs();
      EXPECT_TRUE(worker->host->Processes().empty()) << worker->name() << " has a process left";
    }
    EXPECT_EQ(cluster.StopCoordinator(), 0) << cluster.Logs();
    EXPECT_TRUE(cluster.coordinator_host().Processes().empty());
  }

  // Whether the file of the world's path `path` exists on a host under that path.
  static bool Sees(Cluster& cluster, const Host& host, const std::string& path) {
    const Ran ran = cluster.Client(host, {"--help"});
    EXPECT_EQ(ran.code, 0) << "the host runs no program";
    const int pid = host.Start({"/usr/bin/test", "-e", path}, {}, "", "");
    const auto ended = WaitFor(pid, kLimitMs);
    EXPECT_TRUE(ended.ok() && *ended);
    return (*ended)->code == 0;
  }

  TempFolder folder{"hosts"};
};

TEST_F(HostsTest, NoPathOfOneHostIsReadableOnAnother) {
  if (!HasNamespaces()) GTEST_SKIP() << "without namespaces, all hosts have one root";
  Cluster cluster(folder.path(), {});
  cluster.Start();
  AwaitWelcome(cluster, cluster.AddWorker());
  AwaitWelcome(cluster, cluster.AddWorker());
  const std::vector<Host*> hosts = {&cluster.coordinator_host(), &cluster.laptop(),
                                    cluster.workers()[0]->host.get(),
                                    cluster.workers()[1]->host.get()};
  for (const Host* const host : hosts) {
    // All files of its disk, and a link to the outside.
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(host->Outside(""))) {
      paths.push_back(entry.path().string().substr(host->Outside("").size() + 1));
    }
    ASSERT_FALSE(paths.empty()) << host->name();
    EXPECT_TRUE(Sees(cluster, *host, host->Inside(paths[0])));
    for (const Host* const other : hosts) {
      EXPECT_FALSE(Sees(cluster, *other, host->Outside(""))) << "the test's folder is visible";
      if (other == host) continue;
      // One process looks for all of them.
      std::vector<std::string> argv = {
          "/bin/sh", "-c", "for path; do test -e \"$path\" && exit 1; done; exit 0", "sh"};
      for (const std::string& path : paths) argv.push_back(host->Inside(path));
      const auto ended = WaitFor(other->Start(argv, {}, "", ""), kLimitMs);
      ASSERT_TRUE(ended.ok() && *ended);
      EXPECT_EQ((*ended)->code, 0) << other->name() << " can read a path of " << host->name();
    }
  }
  StopAll(cluster);
}

// Of the tests' own tools: a worker may end by itself just before a test kills it.
TEST_F(HostsTest, AWorkerThatHasEndedCanBeKilled) {
  Cluster cluster(folder.path(), {});
  cluster.Start();
  Cluster::Worker& worker = cluster.AddWorker();
  AwaitWelcome(cluster, worker);
  SendSignal(worker.host->Running("longrun-worker"), SIGKILL);
  ASSERT_TRUE(WaitUntil(kLimitMs, [&] { return HasEnded(worker.pid); }));
  cluster.KillWorker(worker);
  EXPECT_EQ(worker.pid, 0);
  EXPECT_EQ(cluster.StopCoordinator(), 0) << cluster.Logs();
}

TEST_F(HostsTest, TheTableIsThatOfOneMachineAndANetworkThatIsCutFor20SecondsRestartsNothing) {
  // A training takes at least 30 s, of which 20 without a network: none may end in these 20 s, also
  // if it began some seconds before the others.
  const SweepSize size = {.steps = 600, .positions = {"cable", "rope", "alibi"}};
  const std::string calm = CalmTable(size);

  // The leases are those of a real service (90 s).
  Cluster cluster(folder.path(), {.worker_env = {StepDelay(50)}});
  cluster.Start();
  for (int i = 0; i < 3; ++i) {
    Cluster::Worker& worker = cluster.AddWorker();
    worker.proxy->Set({.delay_ms = 5, .spread_ms = 40});
    AwaitWelcome(cluster, worker);
  }
  Submit(cluster, size);
  Await(cluster, "SELECT count(*) FROM attempt WHERE state = 'RUNNING'", "3");
  for (const auto& worker : cluster.workers()) {
    ASSERT_TRUE(WaitUntil(kLimitMs, [&] {
      const std::vector<std::string> attempts = cluster.AttemptFolders(*worker);
      return !attempts.empty() && ProgressOf(attempts[0]).step > 0;
    })) << cluster.Logs();
  }

  // One is cut off, one gets resets, one loses its cable for a while.
  Cluster::Worker &held = *cluster.workers()[0], &reset = *cluster.workers()[1],
                  &unplugged = *cluster.workers()[2];
  const std::string attempt_held = cluster.AttemptFolders(held).front();
  const std::int64_t begin_ms = BootMs();
  const std::int64_t step_at_begin = ProgressOf(attempt_held).step;
  held.proxy->Set({.flow = Weather::Flow::kHeld});
  if (HasNamespaces()) unplugged.host->Unplug();
  std::int64_t n_resets = 0;
  constexpr std::int64_t kCutMs = 20'000;
  (void)WaitUntil(kCutMs, [&] {
    const std::int64_t passed_ms = BootMs() - begin_ms;
    if (passed_ms >= 3'000 * (n_resets + 1)) {
      reset.proxy->Reset();
      n_resets += 1;
    }
    return passed_ms >= kCutMs;
  });
  const std::int64_t step_at_end = ProgressOf(attempt_held).step;
  held.proxy->Set({.delay_ms = 5, .spread_ms = 40});
  if (HasNamespaces()) unplugged.host->Plug();
  AwaitSuccess(cluster);
  std::printf("cut for %lld ms, in which the trainer went from step %lld to %lld; %lld resets\n",
              static_cast<long long>(kCutMs), static_cast<long long>(step_at_begin),
              static_cast<long long>(step_at_end), static_cast<long long>(n_resets));
  EXPECT_GT(step_at_end, step_at_begin) << "the trainer did not go on";

  // Nothing was tried twice, and everybody took part.
  EXPECT_EQ(cluster.Query("SELECT max(attempts) || ' ' || sum(losses) || ' ' || sum(failures)"
                          " FROM task"),
            "1 0 0")
      << cluster.Logs();
  EXPECT_EQ(cluster.Query("SELECT count(DISTINCT worker) FROM attempt"), "3");
  EXPECT_GE(reset.proxy->traffic().n_cut, 1);
  std::int64_t n_overtaken = 0;
  for (const auto& worker : cluster.workers()) n_overtaken += worker->proxy->traffic().n_overtaken;
  EXPECT_GT(n_overtaken, 0) << "no connection overtook another one";

  EXPECT_EQ(CheckedTable(cluster), calm);
  StopAll(cluster);
}

TEST_F(HostsTest, AHostThatIsLostCostsAtMostOneCheckpointIntervalAndAZombieIsFenced) {
  const SweepSize size = {.steps = 500, .positions = {"cable", "rope"}};
  const std::string calm = CalmTable(size);

  // Short leases: a loss is noticed after 6 s instead of 90.
  Cluster cluster(folder.path(), {.coordinator = {"--heartbeat-ms", "200", "--suspect-ms", "2000",
                                                  "--lease-ms", "6000", "--back-off-base-ms", "50",
                                                  "--back-off-limit-ms", "200"},
                                  .worker_env = {StepDelay(30)}});
  cluster.Start();
  for (int i = 0; i < 2; ++i) AwaitWelcome(cluster, cluster.AddWorker());
  Submit(cluster, size);
  Await(cluster, "SELECT count(*) FROM attempt WHERE state = 'RUNNING'", "2");
  Cluster::Worker &lost = *cluster.workers()[0], &zombie = *cluster.workers()[1];
  // The zombie's trainer stands still until it is one, so that it has not ended by then.
  const std::vector<Host::Process> zombies = zombie.host->Running("longrun-trainer");
  ASSERT_EQ(zombies.size(), 1u);
  SendSignal(zombies, SIGSTOP);

  // The moment at which the coordinator has the newest checkpoint: the trainer stands still while
  // the test looks. Then the power fails, for good.
  const std::string attempt = cluster.AttemptFolders(lost).front();
  const auto stored_step = [&] {
    const std::string step =
        cluster.Query(Str("SELECT ifnull(max(json_extract(one.value, '$.step')), 0) FROM task,"
                          " json_each(task.checkpoints) one WHERE task.attempt = '",
                          BaseName(attempt), "'"));
    return step.empty() ? 0 : std::stoll(step);
  };
  Progress at_loss;
  ASSERT_TRUE(WaitUntil(kLimitMs, [&] {
    const std::vector<Host::Process> trainers = lost.host->Running("longrun-trainer");
    SendSignal(trainers, SIGSTOP);
    at_loss = ProgressOf(attempt);
    if (at_loss.checkpoint > 0 && at_loss.checkpoint == stored_step() &&
        at_loss.step > at_loss.checkpoint) {
      return true;
    }
    SendSignal(trainers, SIGCONT);
    return false;
  })) << cluster.Logs();
  lost.host->PowerOff();
  AwaitWelcome(cluster, cluster.AddWorker());  // in its place
  const std::string next =
      Str("SELECT resume_step FROM attempt WHERE resume_attempt = '", BaseName(attempt), "'");
  Await(cluster, next, Str(at_loss.checkpoint));
  std::printf("lost at step %lld, continued from the checkpoint of step %lld\n",
              static_cast<long long>(at_loss.step), static_cast<long long>(at_loss.checkpoint));

  // The other one is cut off until its task is somebody else's.
  zombie.proxy->Set({.flow = Weather::Flow::kHeld});
  const std::string fenced = BaseName(cluster.AttemptFolders(zombie).front());
  Await(cluster, Str("SELECT state FROM attempt WHERE id = '", fenced, "'"), "LOST");
  AwaitWelcome(cluster, cluster.AddWorker());
  Await(cluster,
        Str("SELECT count(*) > 0 FROM attempt WHERE state IN ('RUNNING', 'SUCCEEDED') AND task ="
            " (SELECT task FROM attempt WHERE id = '",
            fenced, "')"),
        "1");
  EXPECT_EQ(zombie.host->Running("longrun-trainer").size(), 1u) << "the zombie's trainer ended";
  SendSignal(zombies, SIGCONT);
  zombie.proxy->Set({});
  // Its trainer is told to stop, and what it says counts for nothing.
  ASSERT_TRUE(WaitUntil(kLimitMs, [&] {
    const std::vector<Host::Process> trainers = zombie.host->Running("longrun-trainer");
    return std::ranges::none_of(trainers, [&](const Host::Process& process) {
      return process.words.size() > 2 && process.words[2].find(fenced) != std::string::npos;
    });
  })) << cluster.Logs();
  AwaitSuccess(cluster);
  EXPECT_EQ(cluster.Query(Str("SELECT state FROM attempt WHERE id = '", fenced, "'")), "LOST");
  EXPECT_EQ(cluster.Query(Str("SELECT count(*) FROM task WHERE result_attempt = '", fenced, "'")),
            "0");
  EXPECT_EQ(CheckedTable(cluster), calm);
  StopAll(cluster);
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::RunOnHosts(argc, argv); }
