// Commands that meet other processes of the state folder: a coordinator that somebody stopped, and
// commands that run at the same instant on a state folder without a service: each starts a
// momentary coordinator, or reaches that of another one which is about to end.
// Every one must be answered. A service waits for such a command, until somebody interrupts it.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "coordinator/store/sqlite.h"
#include "sweeps/coordinator_lock.h"
#include "tests/children.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr int kAtOnce = 6;
constexpr int kRounds = 3;
constexpr std::int64_t kEndMs = DeadlineMs(60'000);

// How it ended; -1 for both numbers, and a failure, when it hangs.
ExitInfo EndOf(int pid) {
  const Result<std::optional<ExitInfo>> exited = WaitFor(pid, kEndMs);
  EXPECT_TRUE(exited.ok()) << exited.status().message();
  const bool has_ended = exited.ok() && exited->has_value();
  EXPECT_TRUE(has_ended) << "process " << pid << " hangs";
  return has_ended ? **exited : ExitInfo{.code = -1, .signal = -1};
}
int ExitOf(int pid) { return EndOf(pid).code; }

// Waits until the file has the text; false at the deadline.
bool Says(const std::string& file, const std::string& text) {
  return WaitUntil(kEndMs, [&] {
    const Result<std::string> now = ReadFile(file);
    return now.ok() && now->find(text) != std::string::npos;
  });
}

TEST(AtOnceTest, SixReadingCommandsOnAFolderWithoutAServiceAreAllAnswered) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  for (int round = 0; round < kRounds; ++round) {
    std::vector<int> pids;
    pids.reserve(kAtOnce);
    for (int i = 0; i < kAtOnce; ++i) {
      const std::string output = JoinPath(folder.path(), Str("out.", i));
      const Result<int> pid = Spawn(
          {.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, "ls", "-o", "csv"},
           .env = {},
           .stdout_path = output,
           .stderr_path = output});
      ASSERT_TRUE(pid.ok()) << pid.status().message();
      pids.push_back(*pid);
    }
    for (int i = 0; i < kAtOnce; ++i) {
      const int code = ExitOf(pids[static_cast<std::size_t>(i)]);
      const Result<std::string> said = ReadFile(JoinPath(folder.path(), Str("out.", i)));
      ASSERT_TRUE(said.ok()) << said.status().message();
      EXPECT_EQ(code, 0) << "round " << round << ", command " << i << " said: " << *said;
    }
  }
}

// An import either finds the dataset that another one has just made, or says that one is running.
TEST(AtOnceTest, EqualImportsMakeOneDataset) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  const std::string text = JoinPath(folder.path(), "text");
  ASSERT_TRUE(WriteFileAtomic(text, std::string(20'000, 'x')).ok());
  const auto longrun = [&](std::vector<std::string> argv, const std::string& output) {
    const std::vector<std::string> program = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state",
                                              state};
    argv.insert(argv.begin(), program.begin(), program.end());
    return Spawn({.argv = argv, .env = {}, .stdout_path = output, .stderr_path = output});
  };
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = Str("twin", round);
    std::vector<int> pids;
    for (int i = 0; i < kAtOnce; ++i) {
      const Result<int> pid =
          longrun({"data", "import", name, "--train", text, "--validation", "5000"},
                  JoinPath(folder.path(), Str("out.", round, ".", i)));
      ASSERT_TRUE(pid.ok()) << pid.status().message();
      pids.push_back(*pid);
    }
    int n_made = 0;
    for (int i = 0; i < kAtOnce; ++i) {
      const int code = ExitOf(pids[static_cast<std::size_t>(i)]);
      const Result<std::string> said =
          ReadFile(JoinPath(folder.path(), Str("out.", round, ".", i)));
      ASSERT_TRUE(said.ok()) << said.status().message();
      n_made += code == 0 ? 1 : 0;
      EXPECT_TRUE(code == 0 || said->find("another import into ") != std::string::npos)
          << "round " << round << ", import " << i << " said: " << *said;
    }
    EXPECT_GE(n_made, 1);
    const std::string output = JoinPath(folder.path(), "verify");
    const Result<int> pid = longrun({"data", "verify", name}, output);
    ASSERT_TRUE(pid.ok()) << pid.status().message();
    EXPECT_EQ(ExitOf(*pid), 0);
  }
}

// `longrun up &  longrun submit s.yaml`, as the help has it: whichever comes first, both work.
TEST(AtOnceTest, AServiceThatStartsWhileACommandHasTheFolderComesUp) {
  const TempFolder folder;
  const std::string program = JoinPath(LONGRUN_BIN_DIR, "longrun");
  for (int round = 0; round < 2 * kRounds; ++round) {
    SCOPED_TRACE(Str("round ", round));
    const std::string state = JoinPath(folder.path(), Str("home", round));
    const std::string said = JoinPath(folder.path(), Str("up", round));
    std::vector<std::vector<std::string>> commands = {{program, "--state", state, "up"},
                                                      {program, "--state", state, "ls"}};
    if (round % 2 == 1) std::swap(commands[0], commands[1]);
    std::vector<int> pids;
    for (const std::vector<std::string>& argv : commands) {
      const std::string output = argv.back() == "up" ? said : JoinPath(folder.path(), "ls");
      const Result<int> pid = Spawn({.argv = argv,
                                     .env = {},
                                     .stdout_path = output,
                                     .stderr_path = output,
                                     .own_group = true});
      ASSERT_TRUE(pid.ok()) << pid.status().message();
      pids.push_back(*pid);
    }
    const std::size_t up = round % 2 == 1 ? 1 : 0;
    EXPECT_EQ(ExitOf(pids[1 - up]), 0);
    std::string text;
    const auto serves = [&] {
      const Result<std::string> now = ReadFile(said);
      if (now.ok()) text = *now;
      return text.find("gives it work") != std::string::npos;
    };
    static_cast<void>(WaitUntil(kEndMs, [&] { return serves() || HasEnded(pids[up]); }));
    EXPECT_TRUE(serves()) << text;
    EXPECT_FALSE(HasEnded(pids[up])) << text;
    kill(pids[up], SIGINT);
    EXPECT_NE(ExitOf(pids[up]), -1);
  }
}

// A state folder that the coordinator of a command holds, as that of `longrun logs X | less` does
// for as long as somebody reads.
class HeldByACommandTest : public testing::Test {
 protected:
  HeldByACommandTest() {
    holder = Launch({"longrun-coordinator", "--state", state, "--momentary"}, "holder");
    EXPECT_TRUE(Says(At("holder"), " serving "));
  }
  ~HeldByACommandTest() override {
    for (const int pid : pids) {
      if (const auto ended = WaitFor(pid, 0); !ended.ok() || ended->has_value()) continue;
      kill(pid, SIGKILL);
      static_cast<void>(WaitFor(pid, kEndMs).ok());
    }
  }

  std::string At(const std::string& name) const { return JoinPath(folder.path(), name); }
  // What it prints goes into the file `output`.
  int Launch(std::vector<std::string> argv, const std::string& output,
             std::vector<std::string> env = {}) {
    argv[0] = JoinPath(LONGRUN_BIN_DIR, argv[0]);
    const Result<int> pid = Spawn({.argv = std::move(argv),
                                   .env = std::move(env),
                                   .stdout_path = At(output),
                                   .stderr_path = At(output),
                                   .own_group = true,
                                   .die_with_parent = true});
    EXPECT_TRUE(pid.ok()) << pid.status().message();
    if (pid.ok()) pids.push_back(*pid);
    return pid.ok() ? *pid : -1;
  }
  // The exit code of a command on the state folder.
  int CodeOf(std::vector<std::string> argv, const std::string& output) {
    argv.insert(argv.begin(), {"longrun", "--state", state});
    return ExitOf(Launch(std::move(argv), output));
  }
  // That of the quick start, on a text of one letter.
  void SubmitASweep() {
    const std::string text = At("text"), sweep = At("s.yaml");
    ASSERT_TRUE(WriteFileAtomic(text, std::string(200'000, 'x')).ok());
    const Result<std::string> quickstart =
        ReadFile(JoinPath(LONGRUN_SOURCE_DIR, "sweeps/quickstart.yaml"));
    ASSERT_TRUE(quickstart.ok() && WriteFileAtomic(sweep, *quickstart).ok());
    ASSERT_EQ(
        CodeOf({"data", "import", "austen", "--train", text, "--validation", "100000"}, "import"),
        0)
        << Said("import");
    ASSERT_EQ(CodeOf({"submit", sweep}, "submit"), 0) << Said("submit");
  }
  // A `watch` that has found no service, and does nothing more until SIGCONT.
  int LaunchStoppedWatch(const std::string& more_failpoints = "") {
    const int watch =
        Launch({"longrun", "--state", state, "watch", "quickstart"}, "watch",
               {Str("LONGRUN_FAILPOINTS=watch_without_service:stop", more_failpoints)});
    EXPECT_TRUE(Says(Str("/proc/", watch, "/status"), "State:\tT")) << Said("watch");
    return watch;
  }
  std::string Said(const std::string& name) const {
    const Result<std::string> text = ReadFile(At(name));
    return text.ok() ? *text : "";
  }
  // Until the coordinator that `up` has started waits for the command.
  bool ServiceWaits() const {
    return Says(JoinPath(state, "coordinator.log"), Str("waits_for_command pid=", holder, " "));
  }
  bool CommandHolds() const {
    const std::optional<CoordinatorHolder> now = ReadCoordinatorLock(state);
    return now && now->pid == holder && now->is_momentary;
  }

  TempFolder folder;
  std::string state = At("home");
  std::vector<int> pids;
  int holder = -1;
};

TEST_F(HeldByACommandTest, AServiceSaysSoAndStartsOnceTheCommandHasEnded) {
  const int up = Launch({"longrun", "--state", state, "up"}, "up");
  EXPECT_TRUE(Says(At("up"),
                   Str("another command uses ", state, " (its coordinator has pid ", holder, ")")))
      << Said("up");
  EXPECT_TRUE(CommandHolds());
  EXPECT_EQ(Said("up").find("gives it work"), std::string::npos);

  kill(holder, SIGTERM);
  EXPECT_EQ(ExitOf(holder), 0);
  EXPECT_TRUE(Says(At("up"), "gives it work")) << Said("up");
  kill(up, SIGINT);
  EXPECT_NE(ExitOf(up), -1);
}

// Also by a terminal that closes: SIGHUP.
TEST_F(HeldByACommandTest, AServiceThatWaitsCanBeInterrupted) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const int up = Launch({"longrun", "--state", state, "up"}, Str("up", signal));
    EXPECT_TRUE(ServiceWaits()) << Said(Str("up", signal));
    kill(up, signal);
    EXPECT_EQ(ExitOf(up), 0) << signal;
    EXPECT_NE(Said(Str("up", signal)).find("stopped before the service had started"),
              std::string::npos)
        << Said(Str("up", signal));
    EXPECT_TRUE(RemoveAll(JoinPath(state, "coordinator.log")).ok());
  }
  EXPECT_TRUE(CommandHolds());
}

// A command's coordinator is no service: nothing would ever change in a sweep that is followed.
TEST_F(HeldByACommandTest, OtherCommandsKnowThatNoServiceRuns) {
  SubmitASweep();
  EXPECT_NE(Said("submit").find("nothing is running"), std::string::npos) << Said("submit");

  EXPECT_EQ(CodeOf({"ls", "-o", "json"}, "ls"), 0);
  EXPECT_NE(Said("ls").find("\"service_runs\": false"), std::string::npos) << Said("ls");
  EXPECT_EQ(CodeOf({"watch", "quickstart", "-o", "json"}, "watch"), 8);
  EXPECT_NE(Said("watch").find("\"service_runs\":false"), std::string::npos) << Said("watch");
  EXPECT_EQ(CodeOf({"workers", "-o", "json"}, "workers"), 0) << Said("workers");
  EXPECT_TRUE(CommandHolds());
}

TEST_F(HeldByACommandTest, ARunThatWaitsCanBeInterrupted) {
  const std::string sweep = JoinPath(LONGRUN_SOURCE_DIR, "sweeps/quickstart.yaml");
  const int run = Launch({"longrun", "--state", state, "run", sweep}, "run");
  EXPECT_TRUE(ServiceWaits()) << Said("run");
  kill(run, SIGINT);
  EXPECT_EQ(ExitOf(run), 130) << Said("run");
  EXPECT_NE(Said("run").find("interrupted before the coordinator had started"), std::string::npos)
      << Said("run");
  EXPECT_TRUE(CommandHolds());
}

TEST_F(HeldByACommandTest, AServiceSaysIfItsCoordinatorIsEndedWhileItWaits) {
  const int up = Launch({"longrun", "--state", state, "up"}, "up");
  ASSERT_TRUE(ServiceWaits()) << Said("up");
  const std::vector<int> children = ChildrenOf(up);
  ASSERT_EQ(children.size(), 1u);
  kill(children[0], SIGTERM);
  EXPECT_NE(ExitOf(up), -1);
  EXPECT_NE(
      Said("up").find(Str("the coordinator (pid ", children[0], ") has ended while it started")),
      std::string::npos)
      << Said("up");
}

// The child has the folder long before it answers: it brings the database up to date.
TEST(AtOnceTest, ACommandDoesNotTakeItsOwnSlowStartForAnotherCommand) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  const std::string said = JoinPath(folder.path(), "ls");
  const std::string go_on = JoinPath(folder.path(), "go-on");
  const Result<int> ls =
      Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, "ls", "-o", "csv"},
             .env = {Str("LONGRUN_FAILPOINTS=database_locked:wait_for:", go_on)},
             .stdout_path = said,
             .stderr_path = said});
  ASSERT_TRUE(ls.ok()) << ls.status().message();
  EXPECT_TRUE(Says(said, "the coordinator is still starting")) << ReadFile(said).value();
  EXPECT_EQ(ReadFile(said).value().find("another command"), std::string::npos)
      << ReadFile(said).value();
  ASSERT_TRUE(WriteFileAtomic(go_on, "").ok());
  EXPECT_EQ(ExitOf(*ls), 0) << ReadFile(said).value();
}

// As a shell of SQLite does in which somebody has begun a transaction.
TEST(AtOnceTest, ACommandNamesTheProgramThatHasLockedTheDatabase) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  const std::string said = JoinPath(folder.path(), "ls");
  const std::string database = JoinPath(state, "longrun.db");
  const std::string log = JoinPath(folder.path(), "log");
  const Result<int> up =
      Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun-coordinator"), "--state", state},
             .env = {},
             .stdout_path = log,
             .stderr_path = log});
  ASSERT_TRUE(up.ok()) << up.status().message();
  ASSERT_TRUE(Says(log, " serving "));  // it has made the database
  kill(*up, SIGTERM);
  ASSERT_EQ(ExitOf(*up), 0);
  auto other = coordinator::Connection::Open(database, coordinator::Connection::Mode::kWrite);
  ASSERT_TRUE(other.ok()) << other.status().message();
  ASSERT_TRUE((*other)->Execute("BEGIN IMMEDIATE").ok());

  const Result<int> pid =
      Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, "ls"},
             .env = {},
             .stdout_path = said,
             .stderr_path = said});
  ASSERT_TRUE(pid.ok()) << pid.status().message();
  EXPECT_TRUE(Says(said, Str(", pid ", getpid(), ") has locked the database ", database,
                             ", so the coordinator cannot start: end that program")))
      << ReadFile(said).value();
  // Its first coordinator has given up.
  const std::string log_of_ls = JoinPath(state, "coordinator.log");
  EXPECT_TRUE(Says(log_of_ls, "another program has locked the database"));
  EXPECT_EQ(ReadFile(log_of_ls).value().find("repairing tables"), std::string::npos)
      << ReadFile(log_of_ls).value();
  other->reset();
  EXPECT_EQ(ExitOf(*pid), 0) << ReadFile(said).value();
  EXPECT_EQ(ReadFile(said).value().find("still starting"), std::string::npos)
      << ReadFile(said).value();
}

// `watch` asks twice: the second time, it may have to start a coordinator of its own.
TEST_F(HeldByACommandTest, AWatchWhoseOwnCoordinatorStartsSlowlyCanBeInterrupted) {
  SubmitASweep();
  const int watch = LaunchStoppedWatch(Str(",database_locked:wait_for:", At("never")));
  kill(holder, SIGTERM);
  EXPECT_EQ(ExitOf(holder), 0);
  kill(watch, SIGCONT);
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return !ChildrenOf(watch).empty(); })) << Said("watch");
  const int coordinator = ChildrenOf(watch).front();
  kill(watch, SIGINT);
  EXPECT_EQ(EndOf(watch).signal, SIGINT) << Said("watch");
  EXPECT_TRUE(WaitUntil(kEndMs, [&] { return HasEnded(coordinator); }));
}

#if defined(LONGRUN_TEST_TRAINER)  // without a trainer, `up` gives up and ends its coordinator

// SIGSTOP, as by a debugger: each command says which process it waits for and how to continue it,
// long before its deadline, and goes on when that happens.
TEST(AtOnceTest, AStoppedCoordinatorIsNamedAndWaitedFor) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  const auto start = [&](const std::string& verb, const std::vector<std::string>& rest = {}) {
    const std::string output = JoinPath(folder.path(), verb);
    std::vector<std::string> argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, verb};
    argv.insert(argv.end(), rest.begin(), rest.end());
    return Spawn(
        {.argv = argv, .env = {}, .stdout_path = output, .stderr_path = output, .own_group = true});
  };
  const auto said = [&](const std::string& verb) {
    const Result<std::string> text = ReadFile(JoinPath(folder.path(), verb));
    return text.ok() ? *text : std::string();
  };
  const Result<int> up = start("up");
  ASSERT_TRUE(up.ok()) << up.status().message();
  ASSERT_TRUE(Says(JoinPath(folder.path(), "up"), "gives it work")) << said("up");
  const std::optional<CoordinatorHolder> coordinator = ReadCoordinatorLock(state);
  ASSERT_TRUE(coordinator && coordinator->pid > 0);
  ASSERT_EQ(kill(coordinator->pid, SIGSTOP), 0);
  const std::string named =
      Str("the coordinator (pid ", coordinator->pid, ") is stopped and does nothing: `kill -CONT ",
          coordinator->pid, "` continues it");

  const Result<int> ls = start("ls");
  ASSERT_TRUE(ls.ok()) << ls.status().message();
  EXPECT_TRUE(Says(JoinPath(folder.path(), "ls"), named + "; this command waits for it"))
      << said("ls");
  EXPECT_TRUE(Says(JoinPath(folder.path(), "up"), named)) << said("up");
  EXPECT_EQ(said("ls").find("it is also safe to kill"), std::string::npos) << "it has given up";
  const Result<int> run = start("run", {JoinPath(LONGRUN_SOURCE_DIR, "sweeps/quickstart.yaml")});
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_TRUE(Says(JoinPath(folder.path(), "run"), named + "; this command waits for it"))
      << said("run");
  kill(*run, SIGINT);
  EXPECT_EQ(EndOf(*run).signal, SIGINT) << said("run");
  kill(coordinator->pid, SIGCONT);
  EXPECT_EQ(ExitOf(*ls), 0) << said("ls");
  EXPECT_TRUE(Says(JoinPath(folder.path(), "up"), "the coordinator runs again")) << said("up");
  kill(*up, SIGINT);
  EXPECT_NE(ExitOf(*up), -1);
}

// A living `up` that somebody stopped, so that its coordinator stays dead until SIGCONT.
class KilledUnderUpTest : public HeldByACommandTest {
 protected:
  void SetUp() override {
    SubmitASweep();
    kill(holder, SIGTERM);
    EXPECT_EQ(ExitOf(holder), 0);
    up = Launch({"longrun", "--state", state, "up", "--cpu-slots", "1"}, "up");
    ASSERT_TRUE(Says(At("up"), "gives it work")) << Said("up");
  }
  void KillCoordinator() {
    kill(up, SIGSTOP);
    ASSERT_TRUE(Says(Str("/proc/", up, "/status"), "State:\tT"));
    const std::optional<CoordinatorHolder> now = ReadCoordinatorLock(state);
    ASSERT_TRUE(now && now->pid > 0);
    kill(now->pid, SIGKILL);
    ASSERT_TRUE(WaitUntil(kEndMs, [&] { return !FileLock::IsHeld(CoordinatorLockPath(state)); }));
  }
  int LaunchRun() { return Launch({"longrun", "--state", state, "run", At("s.yaml")}, "run"); }
  // `up` has started its coordinator again, and `run` uses that.
  void ExpectLeftToUp(int run) {
    kill(up, SIGCONT);
    EXPECT_TRUE(Says(At("up"), "the coordinator runs again")) << Said("up");
    EXPECT_TRUE(Says(At("run"), "a service runs on")) << Said("run");
    EXPECT_TRUE(Says(At("run"), "cable 64: train")) << Said("run");
    EXPECT_EQ(Said("run").find("continuing with a new one"), std::string::npos) << Said("run");
    EXPECT_EQ(Said("up").find("runs on " + state + " already"), std::string::npos) << Said("up");
    kill(run, SIGINT);
    EXPECT_EQ(ExitOf(run), 130) << Said("run");
    EXPECT_NE(Said("run").find("detached"), std::string::npos) << Said("run");
    kill(up, SIGINT);
    EXPECT_EQ(ExitOf(up), 0) << Said("up");
  }
  int up = -1;
};

TEST_F(KilledUnderUpTest, ARunThatIsAttachedLeavesTheRestartToUp) {
  const int run = LaunchRun();
  ASSERT_TRUE(Says(At("run"), "a service runs on")) << Said("run");
  KillCoordinator();
  EXPECT_TRUE(Says(At("run"), "does not answer; trying again")) << Said("run");
  ExpectLeftToUp(run);
}

TEST_F(KilledUnderUpTest, ARunThatBeginsThenWaitsForTheRestart) {
  KillCoordinator();
  const int run = LaunchRun();
  EXPECT_TRUE(Says(At("run"), "the coordinator has ended and is being started again"))
      << Said("run");
  ExpectLeftToUp(run);
}

TEST_F(KilledUnderUpTest, ARunTakesOverOnceUpIsKilledToo) {
  const int run = LaunchRun();
  ASSERT_TRUE(Says(At("run"), "a service runs on")) << Said("run");
  KillCoordinator();
  kill(up, SIGKILL);
  EXPECT_TRUE(Says(At("run"), "the service has ended: continuing with a new one")) << Said("run");
  kill(run, SIGINT);
  EXPECT_EQ(ExitOf(run), 130) << Said("run");
}

// Both wait for a command; then the coordinator of `up` is the first, and somebody stops it.
TEST_F(HeldByACommandTest, ARunThatCameSecondCanBeInterrupted) {
  const std::string sweep = JoinPath(LONGRUN_SOURCE_DIR, "sweeps/quickstart.yaml");
  const int run = Launch({"longrun", "--state", state, "run", sweep}, "run",
                         {"LONGRUN_FAILPOINTS=run_without_daemons:stop"});
  ASSERT_TRUE(ServiceWaits()) << Said("run");
  const std::vector<int> children = ChildrenOf(run);
  ASSERT_EQ(children.size(), 1u);
  kill(children[0], SIGSTOP);
  const int up = Launch({"longrun", "--state", state, "up"}, "up");
  ASSERT_TRUE(WaitUntil(kEndMs, [&] { return !ChildrenOf(up).empty(); }));
  kill(holder, SIGTERM);
  EXPECT_EQ(ExitOf(holder), 0);
  ASSERT_TRUE(Says(At("up"), "gives it work")) << Said("up");
  ASSERT_TRUE(Says(Str("/proc/", run, "/status"), "State:\tT")) << Said("run");
  const std::optional<CoordinatorHolder> first = ReadCoordinatorLock(state);
  ASSERT_TRUE(first && first->pid > 0 && first->pid != children[0]);
  kill(first->pid, SIGSTOP);

  kill(run, SIGCONT);
  EXPECT_TRUE(Says(At("run"), "is stopped and does nothing")) << Said("run");
  kill(run, SIGINT);
  EXPECT_EQ(EndOf(run).signal, SIGINT) << Said("run");
  kill(first->pid, SIGCONT);
  kill(up, SIGINT);
  EXPECT_NE(ExitOf(up), -1);
}

// Also if one follows the other at once, or comes while the coordinator starts.
TEST(AtOnceTest, EachDeathOfTheCoordinatorIsTold) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  const std::string said = JoinPath(folder.path(), "up");
  const Result<int> up =
      Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, "up"},
             .env = {},
             .stdout_path = said,
             .stderr_path = said});
  ASSERT_TRUE(up.ok()) << up.status().message();
  ASSERT_TRUE(Says(said, "gives it work"));
  int pid = 0;
  for (int round = 0; round < 4; ++round) {
    const std::int64_t deadline = BootMs() + kEndMs;
    std::optional<CoordinatorHolder> holder;
    while (!holder || holder->pid == 0 || holder->pid == pid) {
      ASSERT_LT(BootMs(), deadline) << ReadFile(said).value();
      poll(nullptr, 0, 1);
      holder = ReadCoordinatorLock(state);
    }
    pid = holder->pid;
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_TRUE(Says(said, Str("the coordinator (pid ", pid, ") was ended by signal 9")))
        << "round " << round << "\n"
        << ReadFile(said).value();
  }
  EXPECT_TRUE(Says(said, "the coordinator runs again")) << ReadFile(said).value();
  EXPECT_EQ(kill(*up, SIGTERM), 0);
  EXPECT_EQ(ExitOf(*up), 0);
}

// The supervisor starts the coordinator again, which waits for the command that came first.
TEST_F(HeldByACommandTest, AServiceWhoseRestartWaitsCanBeInterrupted) {
  kill(holder, SIGTERM);
  EXPECT_EQ(ExitOf(holder), 0);
  const int up = Launch({"longrun", "--state", state, "up"}, "up");
  ASSERT_TRUE(Says(At("up"), "gives it work")) << Said("up");
  const std::int64_t deadline = BootMs() + kEndMs;
  while (!CommandHolds()) {  // else the supervisor's coordinator was first
    ASSERT_LT(BootMs(), deadline) << Said("up");
    const std::optional<CoordinatorHolder> service = ReadCoordinatorLock(state);
    if (!service || service->is_momentary) continue;
    kill(service->pid, SIGKILL);
    while (FileLock::IsHeld(CoordinatorLockPath(state)) && !HasEnded(service->pid)) {
      ASSERT_LT(BootMs(), deadline) << Said("up");
    }
    holder = Launch({"longrun-coordinator", "--state", state, "--momentary"}, "holder");
    while (!CommandHolds() && !HasEnded(holder)) {
      ASSERT_LT(BootMs(), deadline) << Said("up");
      poll(nullptr, 0, 1);
    }
  }
  ASSERT_TRUE(ServiceWaits()) << Said("up");

  kill(up, SIGINT);
  EXPECT_EQ(ExitOf(up), 0) << Said("up");
  EXPECT_TRUE(CommandHolds());
}

// The service waits for the command that `watch` has asked, and comes up before it asks again.
TEST_F(HeldByACommandTest, AWatchFollowsIfAServiceComesUpMeanwhile) {
  SubmitASweep();
  const int up = Launch({"longrun", "--state", state, "up"}, "up");
  ASSERT_TRUE(ServiceWaits()) << Said("up");
  const int watch = LaunchStoppedWatch();
  kill(holder, SIGTERM);
  EXPECT_EQ(ExitOf(holder), 0);
  ASSERT_TRUE(Says(At("up"), "gives it work")) << Said("up");

  kill(watch, SIGCONT);
  EXPECT_TRUE(Says(At("watch"), " cable 64: train ")) << Said("watch");
  kill(watch, SIGINT);
  EXPECT_EQ(ExitOf(watch), 130) << Said("watch");
  EXPECT_EQ(Said("watch").find("no service runs"), std::string::npos) << Said("watch");
  EXPECT_NE(Said("watch").find("detached"), std::string::npos) << Said("watch");
  kill(up, SIGINT);
  EXPECT_NE(ExitOf(up), -1);
}

// What `longrun workers` says; "" and a failure if it hangs.
std::string WorkersOf(const std::string& state, const std::string& output) {
  const Result<int> pid =
      Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, "workers"},
             .env = {},
             .stdout_path = output,
             .stderr_path = output});
  EXPECT_TRUE(pid.ok()) << pid.status().message();
  if (!pid.ok() || ExitOf(*pid) < 0) return "";
  const Result<std::string> said = ReadFile(output);
  static_cast<void>(truncate(output.c_str(), 0));
  return said.ok() ? *said : "";
}

// `up` starts its coordinator again: until then there is a service, although nobody answers.
TEST(AtOnceTest, ACommandWaitsForACoordinatorThatIsStartedAgain) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  const std::string output = JoinPath(folder.path(), "workers");
  const Result<int> up =
      Spawn({.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, "up"},
             .env = {},
             .stdout_path = JoinPath(folder.path(), "up"),
             .stderr_path = JoinPath(folder.path(), "up")});
  ASSERT_TRUE(up.ok()) << up.status().message();
  std::string said;
  ASSERT_TRUE(WaitUntil(kEndMs, [&] {
    said = WorkersOf(state, output);
    return said.find("READY") != std::string::npos;
  })) << said;
  for (int round = 0; round < kRounds; ++round) {
    const std::optional<CoordinatorHolder> holder = ReadCoordinatorLock(state);
    ASSERT_TRUE(holder && holder->pid > 0 && !holder->is_momentary) << "round " << round;
    ASSERT_EQ(kill(holder->pid, SIGKILL), 0);
    EXPECT_EQ(WorkersOf(state, output).find("no service runs"), std::string::npos)
        << "round " << round;
  }
  EXPECT_EQ(kill(*up, SIGTERM), 0);
  EXPECT_EQ(ExitOf(*up), 0);
}

#endif

}  // namespace
}  // namespace longrun
