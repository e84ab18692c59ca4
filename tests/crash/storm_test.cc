// kill -9 at 25 random moments of a sweep that is trained and evaluated by the real programs.
//
// Each life of coordinator, worker and trainer has a fate: to be killed at a failpoint (it stops
// itself there, so that the kill falls exactly between two lines), while it starts, or at a random
// moment. Order, passes and moments are drawn from a seed that derives from the
// commit; another one:
//
//   LONGRUN_TEST_SEED=7 build/release/tests/test_crash_storm
//   LONGRUN_SOAK=1                                         eight times as many kills
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "base/version.h"
#include "tests/commit_seed.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

enum class Victim { kCoordinator, kWorker, kTrainer };
constexpr const char* kVictims[] = {"coordinator", "worker", "trainer"};

enum class Phase {
  kStart,
  kBeforeFirstStep,
  kStep,
  kCheckpoint,
  kEvaluation,
  kBeforeCommit,
  kCommitted,
  kBetween
};
struct PhaseRow {
  const char* name;
  bool demanded;
};
constexpr PhaseRow kPhases[] = {
    {"start-up", true},
    {"before the first step", true},
    {"during a step", true},
    {"during a checkpoint write", true},
    {"during an evaluation", true},
    {"before COMMIT", true},
    {"between COMMIT and acknowledgement", true},
    {"between two attempts", false},  // of random moments only
};

// How a life ends. A fate whose failpoint is not met in time ends at that moment all the same.
struct Fate {
  std::string failpoint = {};  // "": after after_ms
  std::int64_t pass = 1;
  bool while_starting = false;  // after_ms counts from the start, else from when it is ready
  std::int64_t after_ms = 0;
  bool in_evaluation = false;  // as soon as one goes on
};

struct Kill {
  Victim victim;
  Phase phase;
};

constexpr std::int64_t kPatienceMs = DeadlineMs(10'000);  // of a daemon for its failpoint
constexpr std::int64_t kStepDelayMs = 15;  // training lasts as long as the storm, at no cost

std::string EnvironmentOf(const Fate& fate) {
  return fate.failpoint.empty() ? "" : Str(fate.failpoint, ":stop@", fate.pass);
}

Phase PhaseOfFailpoint(const std::string& failpoint, Phase otherwise) {
  static const std::map<std::string, Phase> phases = {
      {"before_commit", Phase::kBeforeCommit},
      {"after_commit", Phase::kCommitted},
      {"artifact_mid_write", Phase::kCheckpoint},
      {"worker_mid_upload", Phase::kCheckpoint},
      {"worker_before_shim", Phase::kStart},
      {"worker_after_shim", Phase::kStart},
      {"trainer_start", Phase::kStart},
      {"trainer_before_first_step", Phase::kBeforeFirstStep},
      {"trainer_mid_step", Phase::kStep},
      {"trainer_mid_checkpoint", Phase::kCheckpoint},
      {"trainer_mid_evaluation", Phase::kEvaluation},
  };
  const auto found = phases.find(failpoint);
  return found == phases.end() ? otherwise : found->second;
}

bool WritesCheckpoint(const std::string& attempt_folder) {
  const auto names = ListFolder(JoinPath(attempt_folder, "checkpoints"));
  return names && std::ranges::any_of(*names, [](const auto& name) { return name[0] == '.'; });
}

// What a trainer is doing, by its own journal.
Phase PhaseOf(const TrainerProcess& trainer) {
  if (WritesCheckpoint(trainer.attempt_folder)) return Phase::kCheckpoint;
  bool started = false, trains = false, stepped = false;
  for (const JsonRecord& record : Service::Journal(trainer.attempt_folder)) {
    started |= record.kind == RecordKind::kStarted;
    trains |= record.kind == RecordKind::kAttempt && record.body.at("kind") == "train";
    stepped |= record.kind == RecordKind::kSeries;
  }
  if (!started) return Phase::kStart;
  if (!trains) return Phase::kEvaluation;
  return stepped ? Phase::kStep : Phase::kBeforeFirstStep;
}

class Storm {
 public:
  Storm(Service& service, std::uint64_t seed, int rounds) : service_(service), random_(seed) {
    for (int i = 0; i < rounds; ++i) AddFates();
    for (auto* const fates : {&coordinator_.fates, &worker_.fates}) {
      Shuffle(*fates);
      // Last, since evaluations come last.
      fates->insert(fates->end(), static_cast<std::size_t>(rounds), Fate{.in_evaluation = true});
    }
    Shuffle(train_fates_);
    WriteFates("train", train_fates_, Str("trainer_mid_step:delay_ms:", kStepDelayMs));
    WriteFates("evaluate", evaluate_fates_, "");
  }

  const std::vector<Kill>& kills() const { return kills_; }
  std::size_t n_fates() const { return n_fates_; }

  // False when the fates were not all met within limit_ms. Both daemons run unharmed afterwards.
  bool Rage(std::int64_t limit_ms) {
    const bool over = WaitUntil(limit_ms, [&] {
      TickDaemon(coordinator_);
      TickDaemon(worker_);
      TickTrainers();
      return coordinator_.fates.empty() && worker_.fates.empty() &&
             n_trainer_kills_ == train_fates_.size() + evaluate_fates_.size();
    });
    return over;
  }

 private:
  struct Daemon {
    Victim victim = Victim::kCoordinator;
    std::deque<Fate> fates = {};   // of this life and those after it
    std::int64_t spawned_ms = -1;  // -1: not running
    std::int64_t ready_ms = -1;
  };

  // 25 kills, with the one of each daemon in an evaluation.
  void AddFates() {
    const auto pass = [&](std::uint64_t most) { return 1 + Draw(most); };
    coordinator_.fates.insert(coordinator_.fates.end(),
                              {{.failpoint = "after_commit", .pass = pass(6)},
                               {.failpoint = "after_commit", .pass = pass(25)},
                               {.failpoint = "before_commit", .pass = pass(12)},
                               {.failpoint = "artifact_mid_write", .pass = pass(4)},
                               {.while_starting = true, .after_ms = Draw(120)},
                               {.after_ms = Draw(1500)},
                               {.after_ms = Draw(1500)}});
    worker_.fates.insert(worker_.fates.end(),
                         {{.failpoint = "worker_before_shim"},
                          {.failpoint = "worker_after_shim"},
                          {.failpoint = "worker_before_batch", .pass = pass(8)},
                          {.failpoint = "worker_after_batch", .pass = pass(8)},
                          {.failpoint = "worker_mid_upload", .pass = pass(3)},
                          {.while_starting = true, .after_ms = Draw(200)},
                          {.after_ms = Draw(1500)}});
    train_fates_.insert(train_fates_.end(), {{.failpoint = "trainer_start"},
                                             {.failpoint = "trainer_before_first_step"},
                                             {.failpoint = "trainer_mid_step", .pass = pass(40)},
                                             {.failpoint = "trainer_mid_step", .pass = pass(40)},
                                             {.failpoint = "trainer_mid_checkpoint"},
                                             {.after_ms = Draw(2500)}});
    evaluate_fates_.insert(evaluate_fates_.end(),
                           {{.after_ms = Draw(2500)},
                            {.failpoint = "trainer_mid_evaluation", .pass = pass(6)},
                            {.failpoint = "trainer_mid_evaluation", .pass = pass(6)}});
    n_fates_ += 25;
  }
  std::int64_t Draw(std::uint64_t bound) { return static_cast<std::int64_t>(random_.Below(bound)); }
  template <typename List>
  void Shuffle(List& list) {
    for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random_.Below(i)]);
  }

  // The second line of a file is the fate's number, for us; the trainer's script reads the first.
  void WriteFates(const std::string& kind, const std::vector<Fate>& fates,
                  const std::string& always) {
    const auto write = [&](const std::string& name, const std::string& text) {
      ASSERT_TRUE(WriteFileAtomic(service_.At("fates/" + name), text).ok());
    };
    for (std::size_t i = 0; i < fates.size(); ++i) {
      std::string failpoints = EnvironmentOf(fates[i]);
      if (failpoints.empty()) failpoints = "none:exit";
      if (!always.empty() && fates[i].failpoint != "trainer_mid_step") failpoints += "," + always;
      write(Str(kind, ".", 1000 + i), Str(failpoints, "\n", kind, " ", i, "\n"));
    }
    if (!always.empty()) write(kind + ".default", always + "\ndefault\n");
  }

  // Nothing when the trainer's script has not come to it, or it lives on.
  const Fate* FateOf(const TrainerProcess& trainer, bool* evaluates) const {
    const Result<std::string> text = ReadFile(service_.At(Str("fates/taken.", trainer.pid)));
    if (!text) return nullptr;
    const std::vector<std::string> lines = Split(*text, '\n');
    if (lines.size() < 2) return nullptr;
    const std::vector<std::string> words = Split(lines[1], ' ');
    if (words.size() != 2) return nullptr;
    *evaluates = words[0] == "evaluate";
    return &(*evaluates ? evaluate_fates_ : train_fates_)[std::stoul(words[1])];
  }

  void Strike(Victim victim, Phase phase) {
    kills_.push_back({.victim = victim, .phase = phase});
    std::printf("%3zu  %-12s %s\n", kills_.size(), kVictims[static_cast<int>(victim)],
                kPhases[static_cast<int>(phase)].name);
    std::fflush(stdout);
  }

  Phase PhaseNow() const {
    const std::vector<TrainerProcess> trainers = service_.Trainers();
    return trainers.empty() ? Phase::kBetween : PhaseOf(trainers.front());
  }

  bool IsEvaluating() const {
    return std::ranges::any_of(service_.Trainers(), [](const TrainerProcess& trainer) {
      return PhaseOf(trainer) == Phase::kEvaluation;
    });
  }

  void TickDaemon(Daemon& daemon) {
    const bool coordinates = daemon.victim == Victim::kCoordinator;
    const std::int64_t now_ms = BootMs();
    if (daemon.spawned_ms < 0) {
      const std::string failpoints =
          daemon.fates.empty() ? "" : EnvironmentOf(daemon.fates.front());
      coordinates ? service_.SpawnCoordinator(failpoints) : service_.SpawnWorker(failpoints);
      daemon.spawned_ms = now_ms;
      daemon.ready_ms = -1;
      return;
    }
    const bool ready = coordinates ? service_.CoordinatorIsReady() : service_.WorkerIsReady();
    if (daemon.ready_ms < 0 && ready) daemon.ready_ms = now_ms;
    if (daemon.fates.empty()) return;
    const Fate& fate = daemon.fates.front();
    const bool stopped = IsStopped(coordinates ? service_.coordinator() : service_.worker());
    const std::int64_t since_ms = fate.while_starting ? daemon.spawned_ms : daemon.ready_ms;
    const std::int64_t after_ms = fate.failpoint.empty() ? fate.after_ms : kPatienceMs;
    if (!stopped && (since_ms < 0 || now_ms - since_ms < after_ms)) return;
    if (fate.in_evaluation && !IsEvaluating()) return;
    const Phase running = fate.in_evaluation ? Phase::kEvaluation : PhaseNow();
    const Phase now = daemon.ready_ms < 0 ? Phase::kStart : running;
    Strike(daemon.victim, stopped ? PhaseOfFailpoint(fate.failpoint, now) : now);
    coordinates ? service_.KillCoordinator() : service_.KillWorker();
    daemon.fates.pop_front();
    daemon.spawned_ms = -1;
    TickDaemon(daemon);
  }

  void TickTrainers() {
    for (const TrainerProcess& trainer : service_.Trainers()) {
      if (killed_.contains(trainer.pid)) continue;
      bool evaluates = false;
      const Fate* const fate = FateOf(trainer, &evaluates);
      if (fate == nullptr) continue;
      const std::int64_t seen_ms = seen_.try_emplace(trainer.pid, BootMs()).first->second;
      const bool stopped = IsStopped(trainer.pid);
      // A moment in an evaluation, which is short, is taken when there is one.
      const bool due =
          fate->failpoint.empty() && (BootMs() - seen_ms >= fate->after_ms ||
                                      (evaluates && PhaseOf(trainer) == Phase::kEvaluation));
      if (!stopped && !due) continue;
      // The last one stands still until the daemons' fates are met: the sweep does not end before.
      const bool last = evaluates && fate == &evaluate_fates_.back();
      if (last && !(coordinator_.fates.empty() && worker_.fates.empty())) continue;
      Strike(Victim::kTrainer,
             stopped ? PhaseOfFailpoint(fate->failpoint, Phase::kStart) : PhaseOf(trainer));
      n_trainer_kills_ += 1;
      killed_.insert(trainer.pid);
      kill(trainer.pid, SIGKILL);
    }
  }

  Service& service_;
  SeededRandom random_;
  Daemon coordinator_ = {.victim = Victim::kCoordinator};
  Daemon worker_ = {.victim = Victim::kWorker};
  std::vector<Fate> train_fates_;
  std::vector<Fate> evaluate_fates_;
  std::size_t n_fates_ = 0;
  std::size_t n_trainer_kills_ = 0;
  std::map<int, std::int64_t> seen_;
  std::set<int> killed_;
  std::vector<Kill> kills_;
};

void PrintKills(const std::vector<Kill>& kills) {
  std::printf("\n%-36s %12s %12s %12s\n", "phase", kVictims[0], kVictims[1], kVictims[2]);
  for (std::size_t phase = 0; phase < std::size(kPhases); ++phase) {
    std::printf("%-36s", kPhases[phase].name);
    for (std::size_t victim = 0; victim < std::size(kVictims); ++victim) {
      std::printf(" %12td", std::ranges::count_if(kills, [&](const Kill& kill) {
                    return static_cast<std::size_t>(kill.phase) == phase &&
                           static_cast<std::size_t>(kill.victim) == victim;
                  }));
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

// Every row that counts, and every final checkpoint by the SHA-256 of its manifest (which holds
// those of weights, optimizer and position in the data).
std::string Outcome(const Service& service) {
  const std::string rows = Query(service, R"(
      SELECT group_concat(line, char(10)) FROM (
        SELECT run_key || ' ' || cell || ' ' || metric || ' ' || ifnull(context_length, '') || ' '
               || ifnull(variant, '') || ' ' || status || ' ' || printf('%!.17g', value) || ' '
               || ifnull(printf('%!.17g', nll_sum), '') || ' ' || ifnull(n, '') AS line
        FROM results ORDER BY line))");
  const std::string checkpoints = Query(service, R"(
      SELECT group_concat(line, char(10)) FROM (
        SELECT t.run_key || ' ' || f.name || ' ' || f.sha256 AS line
        FROM task t JOIN attempt a ON a.id = t.result_attempt
        JOIN checkpoint c ON c.attempt = a.id AND c.is_final = 1
        JOIN checkpoint_file f ON f.checkpoint = c.sha256
        WHERE t.kind = 'train' ORDER BY line))");
  return rows + "\n" + checkpoints;
}

std::string RowsTwice(const Service& service) {
  return Query(service, R"(
      SELECT count(*) FROM (
        SELECT 1 FROM results GROUP BY task, metric, context_length, variant HAVING count(*) > 1))");
}

// Invariant I-35.
TEST(StormTest, KilledAtRandomMomentsTheTableIsThatOfAnUndisturbedRun) {
  const bool soak = GetEnv("LONGRUN_SOAK").has_value();
  const int rounds = soak ? 8 : 1;
  const std::uint64_t seed = testing::CommitSeed();
  std::printf("LONGRUN_TEST_SEED=%llu (commit %s)\n", static_cast<unsigned long long>(seed),
              std::string(BuildCommit()).c_str());
  const SweepSize size = {.steps = 500 * rounds};
  const std::int64_t end_ms = 120'000 * rounds;
  const TempFolder folder("storm");

  Service calm(JoinPath(folder.path(), "calm"));
  calm.ImportWords();
  calm.WriteSweep("storm", size);
  calm.Start();
  ASSERT_EQ(calm.Client({"submit", calm.At("storm.yaml")}), 0) << calm.Logs();
  ASSERT_TRUE(WaitUntil(end_ms, [&] { return calm.SweepState("storm") == "SUCCEEDED"; }))
      << calm.Logs();
  const std::string table = calm.Table("storm");
  EXPECT_EQ(calm.Stop(), (std::pair{0, 0})) << calm.Logs();

  Service service(JoinPath(folder.path(), "storm"));
  service.ImportWords();
  service.WriteSweep("storm", size);
  // Without a worker yet, so that the first life of each program is part of the storm.
  ASSERT_EQ(service.Client({"submit", service.At("storm.yaml")}), 0) << service.Logs();
  Storm storm(service, seed, rounds);
  EXPECT_TRUE(storm.Rage(end_ms)) << service.Logs();
  ASSERT_TRUE(WaitUntil(end_ms, [&] { return service.SweepState("storm") == "SUCCEEDED"; }))
      << service.Logs();
  const std::string table_after = service.Table("storm");
  EXPECT_EQ(service.Stop(), (std::pair{0, 0})) << service.Logs();

  PrintKills(storm.kills());
  EXPECT_EQ(storm.kills().size(), storm.n_fates());
  for (std::size_t phase = 0; phase < std::size(kPhases); ++phase) {
    const auto in_phase = [&](const Kill& kill) {
      return static_cast<std::size_t>(kill.phase) == phase;
    };
    EXPECT_TRUE(!kPhases[phase].demanded || std::ranges::any_of(storm.kills(), in_phase))
        << "no kill fell " << kPhases[phase].name;
  }
  EXPECT_EQ(table_after, table);
  EXPECT_EQ(Outcome(service), Outcome(calm));
  EXPECT_EQ(RowsTwice(service), "0");
  EXPECT_EQ(Query(service, "PRAGMA integrity_check"), "ok");
  EXPECT_TRUE(service.Processes().empty()) << "a process was left";
}

}  // namespace
}  // namespace longrun
