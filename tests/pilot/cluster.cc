// See cluster.h.
#include "tests/pilot/cluster.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "tests/deadline.h"
#include "tests/replaced.h"

namespace longrun {
namespace {

constexpr const char* kStage = "LONGRUN_NAMESPACE_STAGE";  // "": outside; "network"; "inside"
constexpr const char* kMark = "LONGRUN_NAMESPACE_MARK";    // a file that the inside makes
constexpr std::int64_t kStartMs = DeadlineMs(60'000);
constexpr std::int64_t kCommandMs = DeadlineMs(120'000);
constexpr int kPort = 6820;  // in a network of our own
constexpr int kLookMs = 200;

struct Needed {
  const char* program;
  const char* package;
};
constexpr Needed kNeeded[] = {{"slurmctld", "slurmctld"},  {"slurmd", "slurmd"},
                              {"sbatch", "slurm-client"},  {"squeue", "slurm-client"},
                              {"scancel", "slurm-client"}, {"scontrol", "slurm-client"},
                              {"munged", "munge"},         {"unshare", "util-linux"}};
constexpr const char* kFolders[] = {"/usr/bin", "/usr/sbin", "/bin", "/sbin"};

std::string FindProgram(const std::string& name) {
  for (const char* const folder : kFolders) {
    std::string path = JoinPath(folder, name);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

bool CheckNeeded() {
  bool all = true;
  for (const Needed& needed : kNeeded) {
    if (!FindProgram(needed.program).empty()) continue;
    std::fprintf(stderr, "%s is missing: install the Debian package %s (./dev setup does)\n",
                 needed.program, needed.package);
    all = false;
  }
  return all;
}

[[noreturn]] void Execute(std::vector<std::string> argv) {
  std::vector<char*> words;
  words.reserve(argv.size() + 1);
  for (std::string& word : argv) words.push_back(word.data());
  words.push_back(nullptr);
  execvp(words[0], words.data());
  std::fprintf(stderr, "cannot run %s: %s\n", words[0], std::strerror(errno));
  _exit(1);
}

// The loopback interface with a second address: glibc resolves no name for programs like Slurm's on
// a host that has only 127.0.0.1.
void SetUpNetwork() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  LR_CHECK(fd >= 0);
  ifreq request = {};
  std::strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  LR_CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
  std::strncpy(request.ifr_name, "lo:1", sizeof request.ifr_name - 1);
  auto* const address = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  address->sin_family = AF_INET;
  LR_CHECK(inet_pton(AF_INET, "10.9.0.100", &address->sin_addr) == 1);
  LR_CHECK(ioctl(fd, SIOCSIFADDR, &request) == 0);
  close(fd);
}

// As on a machine with NVIDIA's driver.
void ImagineDriver() {
  LR_CHECK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  const char* const folder = "/proc/driver";
  if (!IsFolder(folder) || mount("tmpfs", folder, "tmpfs", 0, nullptr) != 0) {
    std::fprintf(stderr, "cannot mount a file system at %s, to imagine a driver there: %s\n",
                 folder, std::strerror(errno));
    std::exit(1);
  }
  LR_CHECK(MakeFolders("/proc/driver/nvidia").ok());
  LR_CHECK(WriteFileAtomic("/proc/driver/nvidia/version", "imagined\n").ok());
}

// The program again, in new namespaces in which it may set up the network.
std::vector<std::string> Outer(int argc, char** argv) {
  std::vector<std::string> words = {"unshare"};
  if (getuid() != 0) {
    words.emplace_back("--user");
    words.emplace_back("--map-root-user");
  }
  for (const char* const word : {"--net", "--mount", "--pid", "--fork", "--mount-proc",
                                 "--kill-child", "sh", "-c", "\"$0\" \"$@\"; exit $?"}) {
    words.emplace_back(word);  // the shell is process 1, and takes the orphans
  }
  words.insert(words.end(), argv, argv + argc);
  return words;
}

constexpr const char* kConfiguration = R"(ClusterName=lr
SlurmctldHost=localhost
SlurmUser=%ME%
SlurmdUser=%ME%
AuthType=auth/munge
AuthInfo=socket=%R%/munge.run/s
CredType=cred/munge
StateSaveLocation=%R%/state
SlurmdSpoolDir=%R%/spool.%n
SlurmctldPidFile=%R%/ctld.pid
SlurmdPidFile=%R%/slurmd.%n.pid
SlurmctldLogFile=%R%/log/ctld.log
SlurmdLogFile=%R%/log/slurmd.%n.log
SlurmctldPort=%P0%
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=10000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=20
MinJobAge=30
MaxJobCount=20
SlurmdTimeout=20
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[%P1%-%P2%] CPUs=4 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
NodeName=n3 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%P3% CPUs=4 RealMemory=1000 State=DOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
PartitionName=one Nodes=n1 MaxTime=INFINITE State=UP
PartitionName=low Nodes=n2 MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=n2 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=dead Nodes=n3 MaxTime=INFINITE State=UP
)";

}  // namespace

int RunInNamespaces(int argc, char** argv, int (*body)(int, char**)) {
  const std::string stage = GetEnv(kStage).value_or("");
  if (stage == "inside") {
    LR_CHECK(WriteFileAtomic(GetEnv(kMark).value(), "").ok());
    return body(argc, argv);
  }
  if (stage == "network") {
    SetUpNetwork();
    ImagineDriver();
    setenv(kStage, "inside", 1);
    // As root of a user namespace, slurmd cannot drop its supplementary groups.
    const bool is_nested = GetEnv("LONGRUN_NAMESPACE_NESTED").has_value();
    std::vector<std::string> words;
    if (is_nested) {
      words = {"unshare", "--user", "--map-user=65534", "--map-group=65534"};
    }
    words.insert(words.end(), argv, argv + argc);
    Execute(std::move(words));
  }
  if (!CheckNeeded()) return 1;
  const TempFolder folder;
  const std::string mark = JoinPath(folder.path(), "mark");
  setenv(kMark, mark.c_str(), 1);
  setenv(kStage, "network", 1);
  if (getuid() != 0) setenv("LONGRUN_NAMESPACE_NESTED", "1", 1);
  std::vector<std::string> words = Outer(argc, argv);
  const Result<std::string> self = AbsolutePath(argv[0]);
  words[words.size() - static_cast<std::size_t>(argc)] = self.ok() ? *self : argv[0];
  const int pid = fork();
  if (pid == 0) Execute(std::move(words));
  int status = 0;
  waitpid(pid, &status, 0);
  if (!PathExists(mark)) {
    std::fprintf(stderr,
                 "this test needs namespaces of network, mounts and processes: run it as root, or "
                 "where the kernel allows user namespaces\n");
    return 1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

bool Await(long limit_ms, bool (*condition)(void*), void* argument) {
  const std::int64_t deadline = BootMs() + DeadlineMs(limit_ms);
  while (!condition(argument)) {
    if (BootMs() >= deadline) return false;
    poll(nullptr, 0, kLookMs);
  }
  return true;
}

SlurmCluster::SlurmCluster(std::string folder) : folder_(std::move(folder)) {
  for (const char* const name : {"state", "spool.n1", "spool.n2", "log", "munge", "munge.run"}) {
    LR_CHECK(MakeFolders(JoinPath(folder_, name)).ok());
  }
  for (const char* const gpu : {"gpu0", "gpu1"}) {
    LR_CHECK(symlink("/dev/null", JoinPath(folder_, gpu).c_str()) == 0);
  }
  const passwd* const me = getpwuid(getuid());
  LR_CHECK(me != nullptr);
  std::string text = kConfiguration;
  text = Replaced(Replaced(std::move(text), "%ME%", me->pw_name), "%R%", folder_);
  for (int i = 0; i < 4; ++i) text = Replaced(std::move(text), Str("%P", i, "%"), Str(kPort + i));
  std::string gres;
  for (const char* const node : {"n1", "n2"}) {
    gres += Str("NodeName=", node, " Name=gpu File=", folder_, "/gpu[0-1] Flags=nvidia_gpu_env\n");
  }
  SeededRandom random(EntropySeed());
  std::string key;
  for (int i = 0; i < 1024; ++i) key += static_cast<char>(random.Below(256));
  LR_CHECK(WriteFileAtomic(JoinPath(folder_, "slurm.conf"), text).ok());
  LR_CHECK(WriteFileAtomic(JoinPath(folder_, "gres.conf"), gres).ok());
  LR_CHECK(WriteFileAtomic(JoinPath(folder_, "cgroup.conf"),
                           "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
               .ok());
  LR_CHECK(WriteFileAtomic(JoinPath(folder_, "munge/key"), key, 0600).ok());
}

SlurmCluster::~SlurmCluster() {
  // Whatever they have started ends with the namespace.
  for (const int pid : pids_) kill(pid, SIGKILL);
  for (const int pid : pids_) {
    const auto ended = WaitFor(pid, kStartMs);
    EXPECT_TRUE(ended.ok());
  }
}

std::vector<std::string> SlurmCluster::Environment() const {
  std::vector<std::string> env = {"PATH=/usr/bin:/usr/sbin:/bin:/sbin", "HOME=" + folder_,
                                  "SLURM_CONF=" + JoinPath(folder_, "slurm.conf")};
  for (const char* const name : {"LD_LIBRARY_PATH", "ASAN_OPTIONS", "TMPDIR"}) {
    if (const auto value = GetEnv(name)) env.push_back(Str(name, "=", *value));
  }
  return env;
}

void SlurmCluster::Spawn(const std::vector<std::string>& argv) {
  std::vector<std::string> words = argv;
  words[0] = FindProgram(words[0]);
  const std::string log = JoinPath(folder_, Str("log/", argv[0], ".out"));
  pids_.push_back(longrun::Spawn({.argv = words,
                                  .env = Environment(),
                                  .stdout_path = log,
                                  .stderr_path = log,
                                  .die_with_parent = true})
                      .value());
}

void SlurmCluster::Start() {
  const std::string socket_path = JoinPath(folder_, "munge.run/s");
  Spawn({"munged", "--foreground", "--force", "--key-file=" + JoinPath(folder_, "munge/key"),
         "--socket=" + socket_path, "--pid-file=" + JoinPath(folder_, "munge/pid"),
         "--log-file=" + JoinPath(folder_, "log/munged.log"),
         "--seed-file=" + JoinPath(folder_, "munge/seed"), "--num-threads=2"});
  ASSERT_TRUE(Await(60'000, [&] { return PathExists(socket_path); })) << Logs();
  Spawn({"slurmctld", "-D", "-c"});
  Spawn({"slurmd", "-D", "-N", "n1"});
  Spawn({"slurmd", "-D", "-N", "n2"});
  ASSERT_TRUE(Await(60'000, [&] {
    return Run({"sinfo", "--noheader", "--format=%D", "--states=idle", "--partition=main"}) ==
           "2\n";
  })) << Logs();
}

std::string SlurmCluster::Run(const std::vector<std::string>& argv) const {
  const TempFolder folder;
  std::vector<std::string> words = argv;
  words[0] = FindProgram(words[0]);
  const std::string out = JoinPath(folder.path(), "out");
  const int pid =
      longrun::Spawn({.argv = words, .env = Environment(), .stdout_path = out, .stderr_path = out})
          .value();
  const auto ended = WaitFor(pid, kCommandMs);
  if (!ended.ok() || !ended->has_value()) kill(pid, SIGKILL);
  return ReadFile(out).value();
}

std::vector<ClusterJob> SlurmCluster::Jobs(const std::string& prefix) const {
  std::vector<ClusterJob> jobs;
  for (const std::string& line :
       Split(Run({"squeue", "--noheader", "--format=%i|%T|%N|%j"}), '\n')) {
    const std::vector<std::string> parts = Split(line, '|');
    if (parts.size() != 4 || !parts[3].starts_with(prefix)) continue;
    jobs.push_back({.id = parts[0], .state = parts[1], .node = parts[2], .name = parts[3]});
  }
  return jobs;
}

std::string SlurmCluster::Logs() const {
  std::string text;
  const std::string folder = JoinPath(folder_, "log");
  const std::vector<std::string> names = ListFolder(folder).value();
  for (const std::string& name : names) {
    const std::string log = ReadFile(JoinPath(folder, name)).value();
    text += Str("---- ", name, "\n",
                log.substr(log.size() - std::min<std::size_t>(log.size(), 4000)), "\n");
  }
  return text;
}

}  // namespace longrun
