// Programs under a limit on their address space, on the size of a file, or on open files, from
// where one cannot load to where it has room: each ends by itself, and says what is too little.
// None aborts, and none waits. On a full disk, a trainer waits for a while.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/cli/small_sweep.h"
#include "tests/deadline.h"
#include "tests/sanitized.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);

struct Ended {
  int code = -1;
  int signal = 0;
  std::string said;
};

class LimitsTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(LONGRUN_SANITIZED)
    GTEST_SKIP() << "a sanitizer needs more addresses than any of these limits";
#endif
  }
  Ended Run(std::int64_t megabytes, const std::vector<std::string>& arguments) {
    return RunUnder(Str("--as=", megabytes << 20), arguments);
  }
  // `limit` as prlimit(1) takes it. What is said goes through a pipe:
  // a file would be under the limit too.
  Ended RunUnder(const std::string& limit, const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {
        "/bin/bash", "-c", "set -o pipefail; \"$@\" 2>&1 | cat", "bash", "/usr/bin/prlimit", limit};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const std::string said = JoinPath(temp_.path(), "said");
    EXPECT_TRUE(RemoveAll(said).ok());
    std::vector<std::string> env = {"PATH=/usr/bin:/bin", "HOME=" + temp_.path()};
    if (!trainer_.empty()) env.push_back("LONGRUN_WORKER_TRAINER=" + trainer_);
    const Result<int> pid = Spawn({.argv = argv,
                                   .env = env,
                                   .stdout_path = said,
                                   .stderr_path = said,
                                   .die_with_parent = true});
    EXPECT_TRUE(pid.ok()) << pid.status().message();
    if (!pid) return {};
    const auto ended = WaitFor(*pid, kEndMs);
    if (!ended || !*ended) {
      kill(*pid, SIGKILL);
      ADD_FAILURE() << "no end within " << kEndMs << " ms";
      return {};
    }
    const bool is_signal = (*ended)->code > 128;  // as a shell tells of one
    return {.code = (*ended)->code,
            .signal = is_signal ? (*ended)->code - 128 : (*ended)->signal,
            .said = ReadFile(said).value()};
  }
  std::string Program(const std::string& name) const { return JoinPath(LONGRUN_BIN_DIR, name); }

  std::string Write(const std::string& name, const std::string& text) const {
    std::string path = JoinPath(temp_.path(), name);
    EXPECT_TRUE(WriteFileAtomic(path, text, 0600).ok());
    return path;
  }

  // A folder in which RunMounting's script may mount a small disk.
  std::string Disk() const {
    std::string folder = JoinPath(temp_.path(), "disk");
    EXPECT_TRUE(MakeFolders(folder, 0700).ok());
    return folder;
  }
  // Runs a script of bash that may mount file systems, which only it sees. It exits with 99 if it
  // may not. Every process that it has started ends with it.
  Ended RunMounting(const char* script, const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {
        "/usr/bin/unshare", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc",
        "--kill-child",     "/bin/bash",       "-c",      script,  "bash"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return RunUnder("--core=0", argv);
  }
  static bool MayNotMount(const Ended& ended) {
    return ended.code == 99 || ended.said.starts_with("unshare:");
  }

  // Runs OnAFullDisk(script), and expects that it says so.
  void ExpectOnAFullDisk(const char* script, const std::vector<std::string>& texts);

  // A dataset "words" in `state`, and the path of a sweep over it.
  std::string MakeSweep(const std::string& state) {
    const std::string text = JoinPath(temp_.path(), "text.txt");
    const std::string words = SmallText();
    EXPECT_TRUE(WriteFileAtomic(text, words, 0600).ok());
    const std::string other = JoinPath(temp_.path(), "other.txt");
    EXPECT_TRUE(WriteFileAtomic(other, Str("delta ", words), 0600).ok());
    const std::string sweep = JoinPath(temp_.path(), "sweep.yaml");
    EXPECT_TRUE(WriteFileAtomic(sweep, kSmallSweep, 0600).ok());
    const Ended imported = Run(64'000, {Program("longrun"), "--state", state, "data", "import",
                                        "words", "--train", text, "--validation", other});
    EXPECT_EQ(imported.code, 0) << imported.said;
    return sweep;
  }
  // How often a coordinator was started on `state`.
  static int Starts(const std::string& state) {
    int n_starts = 0;
    const Result<std::string> log = ReadFile(JoinPath(state, "coordinator.log"));
    for (const std::string& line : Split(log.ok() ? *log : "", '\n')) {
      if (line.find(" configuration ") != std::string::npos) ++n_starts;
    }
    return n_starts;
  }
  // Done, or ended with one sentence that names the limit.
  static void ExpectLimit(const Ended& ended, const std::string& name) {
    EXPECT_EQ(ended.signal, 0) << ended.said;
    for (const char* const riddle :
         {"mistake of the program", "RAW:", "ssertion", ".cc:", "Socket closed", "disk of"}) {
      EXPECT_EQ(ended.said.find(riddle), std::string::npos) << ended.said;
    }
    EXPECT_TRUE(ended.code == 0 || ended.said.find(name) != std::string::npos) << ended.said;
  }

  static void ExpectReason(const Ended& ended) {
    EXPECT_EQ(ended.signal, 0) << ended.said;
    for (const char* const riddle : {"mistake of the program", "terminate called", "ssertion"}) {
      EXPECT_EQ(ended.said.find(riddle), std::string::npos) << ended.said;
    }
    if (ended.code == 0) return;
    const bool is_loader =
        ended.said.find("error while loading shared libraries") != std::string::npos;
    EXPECT_TRUE(is_loader || ended.said.find("ulimit -v") != std::string::npos) << ended.said;
  }

  TempFolder temp_;
  std::string trainer_;  // "": the real one
};

TEST_F(LimitsTest, ACommandSaysWhatItsCoordinatorLacks) {
  bool is_refused = false, is_done = false;
  for (std::int64_t megabytes = 100; megabytes <= 4'000; megabytes = megabytes * 9 / 8) {
    SCOPED_TRACE(Str(megabytes, " MiB"));
    const std::string state = JoinPath(temp_.path(), Str("state", megabytes));
    const Ended ended = Run(megabytes, {Program("longrun"), "--state", state, "ls"});
    ExpectReason(ended);
    is_refused = is_refused || ended.code != 0;
    is_done = is_done || ended.code == 0;
  }
  EXPECT_TRUE(is_refused && is_done) << "the limits do not span what it needs";
}

// A limit on the size of a file is not a full disk, and nothing that is started again escapes it.
TEST_F(LimitsTest, ALimitOnFileSizeEndsARunWithTheFileAndWhatToRaise) {
  trainer_ = Program("longrun-fake-trainer");
  constexpr int kStartsMax = 6;
  for (const std::int64_t kilobytes : {0, 8, 40, 100}) {
    SCOPED_TRACE(Str(kilobytes, " KiB"));
    const std::string state = JoinPath(temp_.path(), Str("state", kilobytes));
    const std::string sweep = MakeSweep(state);
    const int n_before = Starts(state);
    const Ended ended = RunUnder(Str("--fsize=", kilobytes << 10),
                                 {Program("longrun"), "--state", state, "run", sweep});
    ExpectLimit(ended, "ulimit -f");
    EXPECT_LE(Starts(state) - n_before, kStartsMax);
    // With the most of these, a start after the first may bring the sweep to its end.
    if (ended.code == 0 && kilobytes == 100) continue;
    EXPECT_EQ(ended.code, 4) << ended.said;
    EXPECT_NE(ended.said.find(state), std::string::npos) << "no file is named: " << ended.said;
  }
}

TEST_F(LimitsTest, DoctorCallsALimitOnFileSizeThat) {
  trainer_ = "/bin/true";
  const std::string state = JoinPath(temp_.path(), "state");
  MakeSweep(state);
  const Ended ended =
      RunUnder(Str("--fsize=", 100 << 10), {Program("longrun"), "--state", state, "doctor"});
  EXPECT_EQ(ended.code, 1) << ended.said;
  ExpectLimit(ended, "ulimit -f");
  EXPECT_EQ(ended.said.find("is full"), std::string::npos) << ended.said;
}

TEST_F(LimitsTest, ALimitOnOpenFilesIsSaidToBeThat) {
  trainer_ = Program("longrun-fake-trainer");
  bool is_refused = false, is_done = false;
  for (const int n_files : {8, 16, 34, 36, 38, 40, 44, 60, 68, 120}) {
    for (const std::string verb : {"ls", "doctor", "run"}) {
      SCOPED_TRACE(Str(verb, " with ", n_files, " open files"));
      const std::string state = JoinPath(temp_.path(), Str(verb, n_files));
      std::vector<std::string> command = {Program("longrun"), "--state", state, verb};
      if (verb == "run") command.push_back(MakeSweep(state));
      const Ended ended = RunUnder(Str("--nofile=", n_files), command);
      ExpectLimit(ended, "ulimit -n");
      is_refused = is_refused || ended.code != 0;
      is_done = is_done || (verb == "run" && ended.code == 0);
    }
  }
  EXPECT_TRUE(is_refused && is_done) << "the limits do not span what it needs";
}

// What was written before the disk was full is removed, so that the user has its room.
// gRPC never accepts a connection again after it could not accept one.
TEST_F(LimitsTest, ACoordinatorThatCannotAcceptAConnectionEndsToBeStartedAgain) {
  const std::string state = JoinPath(temp_.path(), "state"), log = JoinPath(temp_.path(), "log");
  const Result<int> pid = Spawn({.argv = {"/usr/bin/prlimit", "--nofile=100",
                                          Program("longrun-coordinator"), "--state", state},
                                 .env = {"PATH=/usr/bin:/bin", "HOME=" + temp_.path()},
                                 .stdout_path = log,
                                 .stderr_path = log,
                                 .die_with_parent = true});
  ASSERT_TRUE(pid.ok()) << pid.status().message();
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = JoinPath(state, "coordinator.sock");
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  std::vector<std::unique_ptr<Descriptor>> connections;
  std::optional<ExitInfo> ended;
  const bool has_ended = WaitUntil(kEndMs, [&] {
    auto one = std::make_unique<Descriptor>(
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto* const to = reinterpret_cast<const sockaddr*>(&address);
    if (connect(one->get(), to, sizeof address) == 0) connections.push_back(std::move(one));
    ended = WaitFor(*pid, 0).value();
    return ended.has_value();
  });
  if (!has_ended) kill(*pid, SIGKILL);
  ASSERT_TRUE(has_ended) << connections.size() << " connections";
  EXPECT_EQ(ended->code, kExitLimit);
  const std::string said = ReadFile(log).value();
  EXPECT_NE(said.find(" no_more_connections "), std::string::npos) << said;
  EXPECT_NE(said.find("ulimit -n"), std::string::npos) << said;
}

TEST_F(LimitsTest, AnImportOnAFullDiskLeavesNothingAndCanBeRepeated) {
  constexpr const char* kScript = R"(
    mount -t tmpfs -o size=2m none "$2" || exit 99
    import() { "$1" --state "$2/state" data import words --train "$3" --validation "$4" 2>&1; }
    import "$@"; echo "first: $?"
    find "$2" -type f; echo "files: end"
    mount -o remount,size=300m none "$2" || exit 1
    import "$@"; echo "second: $?"
  )";
  std::string words;
  while (words.size() < (3 << 20)) words += SmallText();
  const Ended ended = RunMounting(
      kScript, {Program("longrun"), Disk(), Write("a.txt", words), Write("b.txt", SmallText())});
  if (MayNotMount(ended)) GTEST_SKIP() << "no file system may be mounted here: " << ended.said;
  // It takes 12 MiB: 2 bytes for each token in a part, and as many in a shard. Since text is read
  // ahead of its tokens, the part that failed tells of less, but of more than there is.
  constexpr std::string_view kNeeds = ": No space left on device; the import takes about ";
  const std::size_t needs = ended.said.find(kNeeds);
  ASSERT_NE(needs, std::string::npos) << ended.said;
  const double n_mebibytes = std::stod(ended.said.substr(needs + kNeeds.size()));
  EXPECT_GT(n_mebibytes, 2.0) << ended.said;
  EXPECT_LE(n_mebibytes, 13.0) << ended.said;
  EXPECT_NE(
      ended.said.find(" MiB or more there, and 2 MiB are free; make room there (`longrun --state "),
      std::string::npos)
      << ended.said;
  EXPECT_NE(ended.said.find("first: 1\nfiles: end\n"), std::string::npos) << ended.said;
  EXPECT_NE(ended.said.find("second: 0\n"), std::string::npos) << ended.said;
}

TEST_F(LimitsTest, ATokenizerForWhichThereIsNoRoomSaysWhatToDo) {
  constexpr const char* kScript = R"(
    mount -t tmpfs -o size=64k none "$2" || exit 99
    head -c 100000 /dev/zero > "$2/other"
    "$1" data train-tokenizer "$2/a.tiktoken" --vocab-size 260 "$3" 2>&1
  )";
  const Ended ended =
      RunMounting(kScript, {Program("longrun"), Disk(), Write("a.txt", SmallText())});
  if (MayNotMount(ended)) GTEST_SKIP() << "no file system may be mounted here: " << ended.said;
  EXPECT_EQ(ended.code, 1) << ended.said;
  EXPECT_NE(ended.said.find("a.tiktoken: No space left on device; make room there, or name a file "
                            "on another disk"),
            std::string::npos)
      << ended.said;
}

// The state folder has room for everything but the checkpoint: its training waits and loses
// nothing.
TEST_F(LimitsTest, ACheckpointForWhichThereIsNoRoomIsStoredOnceThereIs) {
  constexpr const char* kScript = R"(
    bin=$1 disk=$2 own=$3
    mount -t tmpfs -o size=16m none "$disk" || exit 99
    export LONGRUN_DISK_LOW_WATER=1048576
    longrun() { "$bin/longrun" --state "$disk/state" "$@" 2>&1; }
    # Starts a daemon and reads its log up to a word.
    start() {
      local word=$1 line log
      exec {log}< <(exec "${@:2}" 2>&1)
      while read -r line <&"$log"; do
        [[ $line == *"$word"* ]] && break
      done
      cat <&"$log" > "$own/log-$word" &
    }
    start serving "$bin/longrun-coordinator" --state "$disk/state"
    longrun data import words --train "$own/a.txt" --validation "$own/b.txt"
    start worker_started "$bin/longrun-worker" --state "$own/worker" --cpu-slots 1 \
        --coordinator "unix:$disk/state/coordinator.sock" --disk-free-bytes-min 0
    longrun submit "$own/sweep.yaml"
    grep -m 1 "no room for" <(longrun watch small)
    find "$disk/state/artifacts" -type f -size +1M; echo "large files: end"
    mount -o remount,size=300m none "$disk" || exit 1
    longrun watch small; echo "watch: $?"
    longrun query -o csv "SELECT kind, state, failures, losses, attempts FROM tasks ORDER BY 1"
    find "$disk/state/artifacts" -type f -size +1M -printf 'stored: %s\n'
    find "$disk/state/artifacts" -type f -path '*/unfinished/*'; echo "unfinished: end"
  )";
  trainer_ = Program("longrun-fake-trainer");
  for (const char* const name : {"a.txt", "b.txt"}) {
    Write(name, Str(name, " ", SmallText()));
  }
  Write("sweep.yaml", kSmallSweep);
  ASSERT_TRUE(MakeFolders(JoinPath(temp_.path(), "worker/cache"), 0700).ok());
  Write("worker/cache/behaviour.json", R"({"default": {"checkpoint_bytes": 16777216}})");
  const Ended ended = RunMounting(kScript, {LONGRUN_BIN_DIR, Disk(), temp_.path()});
  if (MayNotMount(ended)) GTEST_SKIP() << "no file system may be mounted here: " << ended.said;
  const auto expect = [&](const std::string& text) {
    EXPECT_NE(ended.said.find(text), std::string::npos) << text << "\n" << ended.said;
  };
  expect(Str("no room for 16 MiB: the disk of the state folder ", Disk(), "/state has "));
  expect(" free, of which 1 MiB must stay free");
  expect(": make room there (`longrun --state ");
  expect("\nlarge files: end\n");
  EXPECT_EQ(ended.said.find("artifacts/"), std::string::npos) << ended.said;
  expect("watch: 0\n");
  expect("\nevaluate,SUCCEEDED,0,0,1\ntrain,SUCCEEDED,0,0,1\n");
  expect("\nstored: 167");
  expect("\nunfinished: end\n");
}

#if defined(LONGRUN_TEST_TRAINER)

// Trains on a worker whose folder is a disk of its own, until that disk is full and the trainer has
// met it. Continues with `script`, and shows what became of the tasks. To be called with the folder
// of the programs, and with one for everything else.
std::string OnAFullDisk(const std::string& script) {
  constexpr const char* kBegin = R"(
    bin=$1 own=$2 disk=$2/state/worker
    mkdir -m 700 "$own/state" "$disk" || exit 1
    mount -t tmpfs -o size=320m,mode=700 none "$disk" || exit 99
    longrun() { "$bin/longrun" --state "$own/state" "$@" 2>&1; }
    # Looks until a command succeeds, as WaitUntil() does.
    await() {
      local end=$(( SECONDS + 30 ))
      until "$@"; do
        (( SECONDS < end )) || { echo "in vain: $*"; exit 1; }
        read -rt 0.05 <> <(:)
      done
    }
    journal() { cat "$disk"/attempts/*/journal.jsonl 2> "$own/null"; }
    trains() { (( $(journal | wc -l) > 20 )); }
    # The last line is torn, or it ends with the last page of the disk.
    is_met() {
      cat /dev/zero >> "$disk/filler" 2> "$own/null"
      [[ -n $(journal | tail -c 1) ]] || (( $(journal | wc -c) % 4096 == 0 ))
    }
    training_is() {
      [[ $(longrun query -o csv "SELECT state FROM tasks WHERE kind = 'train'") == *$1 ]]
    }

    longrun data import words --train "$own/a.txt" --validation "$own/b.txt"
    longrun up --cpu-slots 1 > "$own/up.log" &
    await longrun submit "$own/sweep.yaml" --set train.tokens=1000000 --set retry.losses_max=0
    await trains
    await is_met
  )";
  constexpr const char* kEnd = R"(
    longrun watch small; echo "watch: $?"
    longrun query -o csv "SELECT kind, state, failures, losses, attempts FROM tasks ORDER BY 1"
    longrun query -o csv "SELECT n, state, failure_class, message FROM attempts
                          WHERE kind = 'train' ORDER BY 1"
  )";
  return Str(kBegin, script, kEnd);
}

void LimitsTest::ExpectOnAFullDisk(const char* script, const std::vector<std::string>& texts) {
  Write("a.txt", Str("delta ", SmallText()));
  Write("b.txt", SmallText());
  Write("sweep.yaml", kSmallSweep);
  const Ended ended = RunMounting(OnAFullDisk(script).c_str(), {LONGRUN_BIN_DIR, temp_.path()});
  if (MayNotMount(ended)) GTEST_SKIP() << "no file system may be mounted here: " << ended.said;
  for (const std::string& text : texts) {
    EXPECT_NE(ended.said.find(text), std::string::npos) << text << "\n" << ended.said;
  }
}

// A trainer on a full disk waits with what it has, and its attempt goes on where it was.
TEST_F(LimitsTest, ATrainerWaitsWhileItsDiskIsFull) {
  ExpectOnAFullDisk(R"(rm "$disk/filler")",
                    {"\nwatch: 0\n", "\nevaluate,SUCCEEDED,0,0,1\ntrain,SUCCEEDED,0,0,1\n"});
}

TEST_F(LimitsTest, ATrainerThatIsStoppedWhileItsDiskIsFullLosesNothing) {
  ExpectOnAFullDisk(R"(
    longrun pause small
    await training_is READY
    rm "$disk/filler"
    longrun resume small
  )",
                    {"\nwatch: 0\n", "\nevaluate,SUCCEEDED,0,0,1\ntrain,SUCCEEDED,0,0,2\n",
                     "\n1,PREEMPTED,preempted,the trainer stopped as it was asked to\n"});
}

// Its clock goes ahead, so that its patience ends at once.
TEST_F(LimitsTest, ATrainerThatGivesUpOnAFullDiskEndsAsStorage) {
  Write("trainer", Str("#!/bin/bash\nLONGRUN_TEST_BOOT_CLOCK='", JoinPath(temp_.path(), "clock"),
                       "' LD_PRELOAD='", LONGRUN_SHIFTED_CLOCK, "' exec '",
                       Program("longrun-trainer"), "' \"$@\"\n"));
  trainer_ = JoinPath(temp_.path(), "trainer");
  ASSERT_EQ(chmod(trainer_.c_str(), 0700), 0);
  ExpectOnAFullDisk(
      R"(
    echo 3600000 > "$own/clock"
    await training_is FAILED
    rm "$disk/filler"
  )",
      {"\ntrain,FAILED,0,1,1\n", "\n1,FAILED,storage,the trainer ended with exit code 74\n"});
}

// Where there is room for the daemons but not for a trainer, training tasks end with their class
// after the attempts that it allows.
TEST_F(LimitsTest, ATrainingThatHasNoRoomEndsAsOutOfMemory) {
  bool is_refused = false;
  for (const std::int64_t megabytes : {200, 300, 400, 4'000}) {
    SCOPED_TRACE(Str(megabytes, " MiB"));
    const std::string state = JoinPath(temp_.path(), Str("state", megabytes));
    const std::string sweep = MakeSweep(state);
    const Ended ended = Run(megabytes, {Program("longrun"), "--state", state, "run", sweep});
    EXPECT_EQ(ended.signal, 0);
    EXPECT_EQ(ended.code == 0, megabytes == 4'000) << ended.said;
    const bool is_told = ended.said.find("failed: out_of_memory") != std::string::npos;
    is_refused = is_refused || is_told;
    EXPECT_TRUE(ended.code == 0 || is_told || ended.said.find("ulimit -v") != std::string::npos)
        << ended.said;
  }
  EXPECT_TRUE(is_refused) << "no limit leaves room for the daemons only";
}

#endif

}  // namespace
}  // namespace longrun
