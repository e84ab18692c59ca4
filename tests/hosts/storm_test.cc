// A storm over several hosts: processes are killed and stopped, networks cut, hosts lost for good,
// disks filled, and the coordinator restored from an old backup under live workers, while sweeps
// are trained and evaluated. The tables must be those of undisturbed runs on one machine.
//
// The faults are a deck, so that each kind happens; their order, victims and times are drawn from a
// seed that derives from the commit. Another one:
//
//   LONGRUN_TEST_SEED=7 build/release/tests/test_hosts_storm
//   LONGRUN_SOAK=1                                         100 faults, cuts of 1 to 60 s
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "base/version.h"
#include "tests/commit_seed.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/hosts/cluster.h"
#include "tests/hosts/recount.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

enum class Kind {
  kKillCoordinator,
  kKillWorker,
  kKillShim,
  kKillTrainer,
  kPowerCut,  // of a worker's host, which comes back
  kStopCoordinator,
  kStopWorker,
  kStopTrainer,
  kHold,
  kHoldOneWay,
  kRefuse,
  kReset,
  kUnplug,
  kLoseHost,  // for good; another host takes its place
  kZombie,    // a host comes back after its work was given to another one
  kFillWorkerDisk,
  kFillCoordinatorDisk,
  kRestore,
};
struct KindRow {
  Kind kind;
  const char* name;
  int n_short;  // in ./dev test
  int n_soak;
  bool needs_namespaces;
};
constexpr KindRow kKinds[] = {
    {Kind::kKillCoordinator, "kill -9 of the coordinator", 2, 12, false},
    {Kind::kKillWorker, "kill -9 of a worker", 2, 12, false},
    {Kind::kKillShim, "kill -9 of a shim", 1, 6, false},
    {Kind::kKillTrainer, "kill -9 of a trainer", 2, 10, false},
    {Kind::kPowerCut, "power cut of a worker's host", 1, 6, false},
    {Kind::kStopCoordinator, "SIGSTOP of the coordinator", 1, 5, false},
    {Kind::kStopWorker, "SIGSTOP of a worker", 1, 6, false},
    {Kind::kStopTrainer, "SIGSTOP of a trainer", 1, 5, false},
    {Kind::kHold, "network held, both ways", 1, 8, false},
    {Kind::kHoldOneWay, "network held, one way", 1, 6, false},
    {Kind::kRefuse, "connections refused", 1, 5, false},
    {Kind::kReset, "connections reset", 1, 4, false},
    {Kind::kUnplug, "cable pulled", 1, 4, true},
    {Kind::kLoseHost, "host lost for good", 1, 2, false},
    {Kind::kZombie, "host returns as a zombie", 1, 3, false},
    {Kind::kFillWorkerDisk, "disk full on a worker", 1, 2, true},
    {Kind::kFillCoordinatorDisk, "disk full on the coordinator", 1, 1, true},
    {Kind::kRestore, "coordinator restored from a backup", 1, 3, false},
};

constexpr std::int64_t kLeaseMs = 4'000;
constexpr std::int64_t kEndMs = DeadlineMs(300'000);  // of a wait that is not part of the storm
// A pause after which a daemon that has ended is started again, as systemd does.
constexpr std::int64_t kRestartMs = 300;

class Storm {
 public:
  Storm(Cluster& cluster, std::uint64_t seed, bool is_soak)
      : cluster_(cluster), random_(seed), is_soak_(is_soak) {
    for (const KindRow& row : kKinds) {
      if (row.needs_namespaces && !HasNamespaces()) continue;
      deck_.insert(deck_.end(), static_cast<std::size_t>(is_soak ? row.n_soak : row.n_short),
                   row.kind);
    }
    for (std::size_t i = deck_.size(); i > 1; --i) std::swap(deck_[i - 1], deck_[Draw(i)]);
    n_wanted_ = deck_.size();
  }

  std::size_t n_wanted() const { return n_wanted_; }
  std::size_t n_struck() const { return n_struck_; }
  const std::map<Kind, int>& struck() const { return struck_; }
  int n_sweeps() const { return n_sweeps_; }
  static std::string SweepName(int number) { return Str("storm-", number); }
  SweepSize SizeOf(int number) const {
    return {.steps = (is_soak_ ? 900 : 500) + number, .positions = {"cable", "rope", "alibi"}};
  }

  void Prepare() {
    coordinator_.is_up = true;
    for (const auto& worker : cluster_.workers()) Add(*worker);
    ASSERT_TRUE(SubmitNext()) << cluster_.Logs();
    ASSERT_TRUE(TakeBackup()) << cluster_.Logs();
  }

  // False if the faults did not all happen, or the sweeps did not all succeed, in time.
  bool Rage(std::int64_t limit_ms) {
    const bool over = WaitUntil(limit_ms, [&] {
      Tick();
      return deck_.empty() && active_.empty();
    });
    for (Active& active : std::exchange(active_, {})) active.undo(true);
    return over && WaitUntil(kEndMs, [&] {
             Supervise();
             return !IsWork();
           });
  }

  std::string State() const {
    std::string text = Str(deck_.size(), " faults left, ", active_.size(), " in progress;");
    for (const Member& member : members_) {
      text += Str(" ", member.worker->name(), member.is_gone ? " gone" : "",
                  member.is_busy ? " busy" : "", ";");
    }
    return text + cluster_.Query(
                      "SELECT ' ' || group_concat(state || ' ' || reason) FROM task"
                      " WHERE state <> 'SUCCEEDED'");
  }

 private:
  struct Daemon {
    bool is_up = false;     // expected to run
    bool is_busy = false;   // a fault is in progress on its host
    bool was_full = false;  // its disk: it may have ended by itself
    std::int64_t restart_ms = 0;
  };
  struct Member : Daemon {
    Cluster::Worker* worker = nullptr;
    bool is_gone = false;
    int n_backups_before = 0;  // backups that do not know this worker
  };
  struct Active {
    std::int64_t end_ms = 0;
    std::function<bool(bool must)> undo;  // false: not yet
  };

  std::uint64_t Draw(std::uint64_t bound) { return random_.Below(bound); }
  // From 1 s to 60 s in the soak, as many short ones as long ones by magnitude.
  std::int64_t DrawMs() {
    static constexpr std::int64_t kShort[] = {300, 1'000, 2'500};
    static constexpr std::int64_t kLong[] = {1'000, 2'000, 4'000, 8'000, 15'000, 30'000, 60'000};
    return is_soak_ ? kLong[Draw(std::size(kLong))] : kShort[Draw(std::size(kShort))];
  }

  void Add(Cluster::Worker& worker) {
    members_.emplace_back();
    members_.back().worker = &worker;
    members_.back().is_up = true;
    members_.back().n_backups_before = n_backups_;
  }

  // ---- work -------------------------------------------------------------------------------------

  bool CanAsk() const { return coordinator_.is_up && !coordinator_.is_busy && IsServing(); }
  bool IsServing() const { return cluster_.CoordinatorServes(); }
  bool IsWork() const {
    const std::string n =
        cluster_.Query("SELECT count(*) FROM task WHERE state NOT IN ('SUCCEEDED', 'CANCELLED')");
    const std::string n_sweeps = cluster_.Query("SELECT count(*) FROM sweep");
    return n != "0" || n_sweeps != Str(n_sweeps_);
  }
  bool Submit(int number) {
    Host& host = cluster_.coordinator_host();
    const std::string file = SweepName(number) + ".yaml";
    EXPECT_TRUE(
        WriteFileAtomic(host.Outside(file), SmallSweep(SweepName(number), SizeOf(number))).ok());
    return cluster_.Here({"submit", host.Inside(file)}).code == 0;
  }
  bool SubmitNext() {
    if (!Submit(n_sweeps_ + 1)) return false;
    n_sweeps_ += 1;
    return true;
  }
  std::string BackupName(int number) const { return Str("backup-", number, ".tar"); }
  bool TakeBackup() {
    const std::string file = cluster_.coordinator_host().Inside(BackupName(n_backups_));
    const Ran ran = cluster_.Here({"admin", "backup", file, "--replace"});
    if (ran.code == 0) n_backups_ += 1;
    return ran.code == 0;
  }

  // ---- supervision ------------------------------------------------------------------------------

  // Starts what has ended, as an init system does. A daemon that ends by itself is an error, unless
  // it says that its disk is full, or its first join was interrupted.
  void Supervise() {
    const std::int64_t now_ms = BootMs();
    const auto take_end = [&](Daemon& daemon, std::optional<int> code, const std::string& name,
                              bool may_end = false) {
      if (!code) return;
      EXPECT_TRUE(may_end || (daemon.was_full && *code == kExitStorage))
          << name << " ended by itself, with exit code " << *code << cluster_.Logs();
      daemon.is_up = false;
      daemon.restart_ms = now_ms + kRestartMs;
    };
    if (coordinator_.is_up) {
      take_end(coordinator_, cluster_.CoordinatorHasEnded(), "the coordinator");
    }
    if (!coordinator_.is_up && coordinator_.restart_ms > 0 && now_ms >= coordinator_.restart_ms) {
      cluster_.LaunchCoordinator();
      coordinator_.is_up = true;
      coordinator_.restart_ms = 0;
    }
    for (Member& member : members_) {
      if (member.is_gone) continue;
      if (member.is_up) {
        take_end(member, Cluster::HasEnded(*member.worker), member.worker->name(),
                 !HasJoined(*member.worker));
      }
      if (member.is_up || member.restart_ms == 0 || now_ms < member.restart_ms) continue;
      // A join that was interrupted may have used the token up.
      const bool joins = !HasJoined(*member.worker);
      if (joins && !CanAsk()) continue;
      cluster_.StartWorker(*member.worker, joins);
      member.is_up = true;
      member.restart_ms = 0;
    }
  }
  static bool HasJoined(const Cluster::Worker& worker) {
    return PathExists(worker.host->Outside("worker/membership/certificate.pem"));
  }

  void Tick() {
    Supervise();
    const std::int64_t now_ms = BootMs();
    for (auto it = active_.begin(); it != active_.end();) {
      it = now_ms >= it->end_ms && it->undo(false) ? active_.erase(it) : std::next(it);
    }
    if (now_ms >= work_ms_ && CanAsk()) {
      work_ms_ = now_ms + 500;
      if (!IsWork() && !deck_.empty()) (void)SubmitNext();
    }
    if (deck_.empty() || now_ms < next_ms_) return;
    // A fault whose victim does not exist now waits for another turn.
    const Kind kind = deck_.front();
    deck_.pop_front();
    if (!Strike(kind)) {
      deck_.push_back(kind);
      return;
    }
    n_struck_ += 1;
    struck_[kind] += 1;
    const auto row = std::ranges::find(kKinds, kind, &KindRow::kind);
    std::printf("%3zu  %-36s %s\n", n_struck_, row->name, note_.c_str());
    std::fflush(stdout);
    next_ms_ = BootMs() + static_cast<std::int64_t>(Draw(is_soak_ ? 6'000 : 1'200));
    if (n_struck_ % 6 == 0 && CanAsk()) (void)TakeBackup();
  }

  // ---- faults -----------------------------------------------------------------------------------

  // A worker on whose host nothing else happens; nullptr if there is none.
  Member* Victim(bool with_trainer = false) {
    std::vector<Member*> free;
    for (Member& member : members_) {
      if (member.is_gone || member.is_busy || !member.is_up) continue;
      if (with_trainer && member.worker->host->Running("longrun-trainer").empty()) continue;
      free.push_back(&member);
    }
    return free.empty() ? nullptr : free[Draw(free.size())];
  }
  void During(Daemon& daemon, std::int64_t ms, std::function<void()> undo) {
    daemon.is_busy = true;
    note_ += Str(" for ", ms, " ms");
    active_.push_back({.end_ms = BootMs() + ms, .undo = [&daemon, undo = std::move(undo)](bool) {
                         undo();
                         daemon.is_busy = false;
                         return true;
                       }});
  }
  void Stop(Daemon& daemon, std::vector<Host::Process> processes, int waited_for) {
    SendSignal(processes, SIGSTOP);
    During(daemon, DrawMs(), [processes = std::move(processes), waited_for] {
      SendSignal(processes, SIGCONT);
      if (waited_for > 0) kill(waited_for, SIGCONT);
    });
  }
  void SetWeather(Member& member, Weather::Flow flow) {
    Cluster::Worker& worker = *member.worker;
    worker.proxy->Set({.flow = flow});
    During(member, DrawMs(), [&worker, this] { worker.proxy->Set(Fair()); });
  }
  Weather Fair() { return {.delay_ms = 1, .spread_ms = 1 + static_cast<std::int64_t>(Draw(30))}; }

  // False if there is no victim at this moment.
  bool Strike(Kind kind) {
    note_.clear();
    switch (kind) {
      case Kind::kKillCoordinator:
        if (!coordinator_.is_up || coordinator_.is_busy) return false;
        cluster_.KillCoordinator();
        coordinator_.is_up = false;
        coordinator_.restart_ms = BootMs() + kRestartMs + static_cast<std::int64_t>(Draw(2'000));
        return true;
      case Kind::kStopCoordinator:
        if (!CanAsk()) return false;
        Stop(coordinator_, cluster_.coordinator_host().Running("longrun-coordinator"),
             cluster_.coordinator_pid());
        return true;
      case Kind::kFillCoordinatorDisk:
        return FillCoordinatorDisk();
      case Kind::kRestore:
        return Restore();
      default:
        break;
    }
    const bool with_trainer = kind == Kind::kKillTrainer || kind == Kind::kKillShim ||
                              kind == Kind::kStopTrainer || kind == Kind::kZombie ||
                              kind == Kind::kLoseHost;
    Member* const member = Victim(with_trainer);
    if (member == nullptr) return false;
    note_ = member->worker->name();
    return StrikeWorker(kind, *member);
  }

  bool StrikeWorker(Kind kind, Member& member) {
    Cluster::Worker& worker = *member.worker;
    Host& host = *worker.host;
    switch (kind) {
      case Kind::kKillWorker:
        cluster_.KillWorker(worker);
        member.is_up = false;
        member.restart_ms = BootMs() + kRestartMs + static_cast<std::int64_t>(Draw(2'000));
        return true;
      case Kind::kKillShim: {
        const std::vector<Host::Process> shims = host.Shims();
        SendSignal(shims, SIGKILL);
        return !shims.empty();
      }
      case Kind::kKillTrainer: {
        const std::vector<Host::Process> trainers = host.Running("longrun-trainer");
        SendSignal(trainers, SIGKILL);
        return !trainers.empty();
      }
      case Kind::kPowerCut:
        cluster_.PowerOff(worker);
        member.is_up = false;
        During(member, DrawMs(), [&host, &member] {
          const Status on = host.PowerOn();
          EXPECT_TRUE(on.ok()) << on.message();
          member.restart_ms = BootMs();
        });
        return true;
      case Kind::kStopWorker:
        Stop(member, host.Running("longrun-worker"), worker.pid);
        return true;
      case Kind::kStopTrainer:
        Stop(member, host.Running("longrun-trainer"), 0);
        return true;
      case Kind::kHold:
        SetWeather(member, Weather::Flow::kHeld);
        return true;
      case Kind::kHoldOneWay:
        SetWeather(member, Draw(2) == 0 ? Weather::Flow::kUpHeld : Weather::Flow::kDownHeld);
        return true;
      case Kind::kRefuse:
        SetWeather(member, Weather::Flow::kCut);
        return true;
      case Kind::kReset:
        worker.proxy->Reset();
        return true;
      case Kind::kUnplug:
        host.Unplug();
        During(member, DrawMs(), [&host] { host.Plug(); });
        return true;
      case Kind::kLoseHost:
        cluster_.PowerOff(worker);
        member.is_up = false;
        member.is_gone = true;
        if (!CanAsk()) {
          // A join token needs a coordinator that answers.
          active_.push_back({.end_ms = 0, .undo = [this](bool must) {
                               if (!must && !CanAsk()) return false;
                               Add(cluster_.AddWorker());
                               return true;
                             }});
        } else {
          Add(cluster_.AddWorker());
        }
        return true;
      case Kind::kZombie:
        return MakeZombie(member);
      case Kind::kFillWorkerDisk: {
        const Status filled = host.FillDisk();
        EXPECT_TRUE(filled.ok()) << filled.message();
        member.was_full = true;
        During(member, DrawMs(), [&host] { host.FreeDisk(); });
        return true;
      }
      default:
        return false;
    }
  }

  // Held until its attempt is lost.
  bool MakeZombie(Member& member) {
    Cluster::Worker& worker = *member.worker;
    const std::vector<Host::Process> trainers = worker.host->Running("longrun-trainer");
    if (trainers.empty() || trainers[0].words.size() < 3) return false;
    const std::string attempt = BaseName(FolderOf(trainers[0].words[2]));
    worker.proxy->Set({.flow = Weather::Flow::kHeld});
    member.is_busy = true;
    active_.push_back(
        {.end_ms = BootMs() + kLeaseMs, .undo = [this, &member, &worker, attempt](bool must) {
           const std::string state =
               cluster_.Query(Str("SELECT state FROM attempt WHERE id = '", attempt, "'"));
           const bool is_live = state == "OFFERED" || state == "ACCEPTED" || state == "RUNNING";
           if (!must && (is_live || state.empty()) && !deck_.empty()) return false;
           worker.proxy->Set(Fair());
           member.is_busy = false;
           return true;
         }});
    return true;
  }

  bool FillCoordinatorDisk() {
    if (!CanAsk()) return false;
    Host& host = cluster_.coordinator_host();
    const Status filled = host.FillDisk();
    EXPECT_TRUE(filled.ok()) << filled.message();
    coordinator_.was_full = true;
    During(coordinator_, DrawMs(), [this, &host] { host.FreeDisk(); });
    return true;
  }

  // From one of the older backups, while the workers go on.
  bool Restore() {
    if (!CanAsk()) return false;
    const int number = static_cast<int>(Draw(static_cast<std::uint64_t>(n_backups_)));
    note_ = Str(BackupName(number), " of ", n_backups_);
    cluster_.KillCoordinator();
    const Ran restored = cluster_.Here(
        {"admin", "restore", cluster_.coordinator_host().Inside(BackupName(number)), "--replace"});
    EXPECT_EQ(restored.code, 0) << restored.err;
    cluster_.StartCoordinator();
    // What the documentation asks the operator to do: submit again the sweeps that are newer than
    // the backup, and let workers join again that it does not know.
    for (int i = 1; i <= n_sweeps_; ++i) {
      EXPECT_TRUE(Submit(i)) << SweepName(i) << cluster_.Logs();
    }
    for (Member& member : members_) {
      if (member.is_gone || number >= member.n_backups_before) continue;
      if (member.is_up) cluster_.KillWorker(*member.worker);
      member.is_up = member.worker->host->is_on();
      member.restart_ms = 0;
      if (!member.is_up) continue;
      cluster_.StartWorker(*member.worker, true);
      note_ += Str("; ", member.worker->name(), " joins again");
      // No backup so far knows the certificate that it has now.
      member.n_backups_before = n_backups_;
    }
    return true;
  }

  Cluster& cluster_;
  SeededRandom random_;
  const bool is_soak_;
  std::deque<Kind> deck_;
  std::size_t n_wanted_ = 0;
  std::size_t n_struck_ = 0;
  std::map<Kind, int> struck_;
  Daemon coordinator_;
  std::deque<Member> members_;  // their addresses stay
  std::vector<Active> active_;
  std::int64_t next_ms_ = 0;
  std::int64_t work_ms_ = 0;
  int n_sweeps_ = 0;
  int n_backups_ = 0;
  std::string note_;
};

// Every row that counts, and every final checkpoint by the SHA-256 of its files.
constexpr const char* kOutcome = R"(
    SELECT group_concat(line, char(10)) FROM (
      SELECT run_key || ' ' || cell || ' ' || metric || ' ' || ifnull(context_length, '') || ' '
             || ifnull(variant, '') || ' ' || status || ' ' || printf('%!.17g', value) || ' '
             || ifnull(printf('%!.17g', nll_sum), '') || ' ' || ifnull(n, '') AS line
      FROM results WHERE metric = 'nll'
      UNION
      SELECT t.run_key || ' ' || f.name || ' ' || f.sha256 AS line
      FROM task t JOIN attempt a ON a.id = t.result_attempt
      JOIN checkpoint c ON c.attempt = a.id AND c.is_final = 1
      JOIN checkpoint_file f ON f.checkpoint = c.sha256
      WHERE t.kind = 'train' ORDER BY line))";

// Invariants I-5, I-6, I-35.
TEST(HostStormTest, AfterAStormOverSeveralHostsTheTablesAreThoseOfUndisturbedRuns) {
  const bool is_soak = GetEnv("LONGRUN_SOAK").has_value();
  const std::uint64_t seed = testing::CommitSeed();
  std::printf("LONGRUN_TEST_SEED=%llu (commit %s)\n", static_cast<unsigned long long>(seed),
              std::string(BuildCommit()).c_str());
  const TempFolder folder("storm");
  Cluster cluster(folder.path(),
                  {.seed = seed,
                   .coordinator = {"--heartbeat-ms", "200", "--suspect-ms", "1500", "--lease-ms",
                                   Str(kLeaseMs), "--stop-grace-ms", "20000", "--back-off-base-ms",
                                   "50", "--back-off-limit-ms", "500"},
                   .worker_env = {"LONGRUN_FAILPOINTS=trainer_mid_step:delay_ms:20"},
                   .coordinator_disk_bytes = std::int64_t{2} << 30});
  cluster.Start();
  for (int i = 0; i < 3; ++i) {
    const Cluster::Worker& worker = cluster.AddWorker();
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return cluster.IsWelcomed(worker); })) << cluster.Logs();
  }
  Host& host = cluster.coordinator_host();
  ASSERT_TRUE(WriteFileAtomic(host.Outside("train.txt"), WordSalad(1, 200'000)).ok());
  ASSERT_TRUE(
      WriteFileAtomic(host.Outside("validation.txt"), WordSalad(1, 220'000).substr(200'000)).ok());
  const Ran imported =
      cluster.Here({"data", "import", "words", "--tokenizer", "bytes", "--train",
                    host.Inside("train.txt"), "--validation", host.Inside("validation.txt")});
  ASSERT_EQ(imported.code, 0) << imported.err;

  Storm storm(cluster, seed, is_soak);
  storm.Prepare();
  const std::int64_t begin_ms = BootMs();
  EXPECT_TRUE(storm.Rage(DeadlineMs(is_soak ? 3'600'000 : 240'000)))
      << storm.State() << cluster.Logs();
  std::printf("%zu faults over %d sweeps in %lld s; attempts %s, of which lost %s\n",
              storm.n_struck(), storm.n_sweeps(),
              static_cast<long long>((BootMs() - begin_ms) / 1000),
              cluster.Query("SELECT count(*) FROM attempt").c_str(),
              cluster.Query("SELECT count(*) FROM attempt WHERE state = 'LOST'").c_str());
  for (const KindRow& row : kKinds) {
    const auto found = storm.struck().find(row.kind);
    const int n = found == storm.struck().end() ? 0 : found->second;
    std::printf("  %-36s %d\n", row.name, n);
    if (row.needs_namespaces && !HasNamespaces()) continue;
    EXPECT_EQ(n, is_soak ? row.n_soak : row.n_short) << row.name;
  }

  // The same sweeps on one machine, where nothing happens.
  Service calm(JoinPath(folder.path(), "calm"));
  calm.ImportWords();
  calm.Start();
  for (int i = 1; i <= storm.n_sweeps(); ++i) {
    const std::string name = Storm::SweepName(i);
    calm.WriteSweep(name, storm.SizeOf(i));
    ASSERT_EQ(calm.Client({"submit", calm.At(name + ".yaml")}), 0) << calm.Logs();
  }
  for (int i = 1; i <= storm.n_sweeps(); ++i) {
    const std::string name = Storm::SweepName(i);
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return calm.SweepState(name) == "SUCCEEDED"; }))
        << calm.Logs();
    const Ran table = cluster.Here({"table", name, "-o", "json"});
    EXPECT_EQ(table.code, 0) << table.err;
    EXPECT_EQ(Service::NumbersOf(table.out), calm.Table(name)) << name;
    const Recount recount = RecountSweep(cluster, folder.path(), name, table.out);
    EXPECT_EQ(recount.code, 0) << name << ": " << recount.said;
    std::printf("%s: %s", name.c_str(), recount.said.c_str());
  }
  EXPECT_EQ(cluster.Query(kOutcome), Query(calm, kOutcome));
  EXPECT_EQ(calm.Stop(), (std::pair{0, 0})) << calm.Logs();
  EXPECT_EQ(cluster.Query("SELECT count(*) FROM (SELECT 1 FROM results GROUP BY task, metric,"
                          " context_length, variant HAVING count(*) > 1)"),
            "0");
  const Ran check = cluster.Here({"admin", "check"});
  EXPECT_EQ(check.code, 0) << check.out << check.err;

  for (const auto& worker : cluster.workers()) {
    if (!worker->host->is_on()) continue;
    EXPECT_EQ(cluster.StopWorker(*worker), 0) << cluster.LogOf(*worker);
    EXPECT_TRUE(worker->host->Processes().empty()) << worker->name() << " has a process left";
  }
  EXPECT_EQ(cluster.StopCoordinator(), 0) << cluster.Logs();
  EXPECT_TRUE(cluster.coordinator_host().Processes().empty()) << "a process was left";
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::RunOnHosts(argc, argv); }
