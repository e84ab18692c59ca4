// See host.h.
#include "tests/hosts/host.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/children.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kLimitMs = DeadlineMs(60'000);
// In the environment of a test program that runs in a world of its own; or the word that makes it
// try whether it could.
constexpr const char* kWorld = "LONGRUN_TEST_WORLD";
constexpr const char* kProbe = "--probe-hosts";

// The bridge has an address of its own. Without one, it takes the lowest of its cables', which may
// change when a host is added, and the hosts that remember the old one reach nobody for half a
// minute.
constexpr const char* kWorldScript =
    "ip link set lo up && ip link add br0 address 02:00:00:00:00:fe type bridge &&"
    " ip addr add 10.77.0.254/24 dev br0 && ip link set br0 up";

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> env;
  for (char** one = environ; *one != nullptr; ++one) env.emplace_back(*one);
  return env;
}

// Runs a command of the shell; its output is the message of an error.
Status Shell(const std::string& script, const std::string& log) {
  ASSIGN_OR_RETURN(const int pid, Spawn({.argv = {"/bin/sh", "-c", script},
                                         .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                                         .stdout_path = log,
                                         .stderr_path = log,
                                         .die_with_parent = true}));
  ASSIGN_OR_RETURN(const std::optional<ExitInfo> ended, WaitFor(pid, kLimitMs));
  if (ended && ended->code == 0) return Status();
  const Result<std::string> said = ReadFile(log);
  return Status(Code::kUnavailable,
                Str("`", script, "` failed: ", said ? std::string(Trim(*said)) : "no output"));
}

std::string NamespaceOf(int pid) {
  std::error_code error;
  return std::filesystem::read_symlink(Str("/proc/", pid, "/ns/pid"), error).string();
}

std::vector<std::string> UnshareWords(bool as_user) {
  std::vector<std::string> words = {"/usr/bin/unshare"};
  if (as_user) words.insert(words.end(), {"--user", "--map-root-user"});
  for (const char* const word :
       {"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"}) {
    words.emplace_back(word);
  }
  return words;
}

// Makes the bridge and one host; the exit code of a probe.
int ProbeHosts() {
  const TempFolder folder("probe");
  Host host(folder.path(), "probe", 1, 16 << 20);
  Status status = host.PowerOn();
  if (status.ok()) {
    const int pid = host.Start({"/bin/ls", host.Inside("")}, {}, folder.path() + "/out",
                               folder.path() + "/out");
    const auto ended = WaitFor(pid, kLimitMs);
    if (!ended.ok() || !*ended || (*ended)->code != 0) {
      status = Status(Code::kUnavailable, "no program runs on a new host");
    }
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}

Status MakeWorld() {
  signal(SIGPIPE, SIG_IGN);
  const TempFolder folder("world");
  return Shell(kWorldScript, folder.path() + "/log");
}

}  // namespace

bool HasNamespaces() { return GetEnv(kWorld).has_value(); }
std::string WorldAddress() { return HasNamespaces() ? "10.77.0.254" : "127.0.0.1"; }

int RunOnHosts(int argc, char** argv) {
  if (HasNamespaces()) {
    const Status made = MakeWorld();
    if (argc > 1 && std::strcmp(argv[1], kProbe) == 0) {
      if (!made.ok()) std::fprintf(stderr, "%s\n", made.message().c_str());
      return made.ok() ? ProbeHosts() : 1;
    }
    LR_CHECK(made.ok());
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
  }
  const TempFolder folder("hosts");
  const std::string log = folder.path() + "/log";
  const std::string self = std::filesystem::read_symlink(kOwnProgram).string();
  for (const bool as_user : {false, true}) {
    std::vector<std::string> words = UnshareWords(as_user);
    words.push_back(self);
    std::vector<std::string> env = OwnEnvironment();
    env.push_back(Str(kWorld, "=1"));
    std::vector<std::string> probe = words;
    probe.emplace_back(kProbe);
    const Result<int> pid = Spawn({.argv = std::move(probe),
                                   .env = env,
                                   .stdout_path = log,
                                   .stderr_path = log,
                                   .die_with_parent = true});
    if (!pid.ok()) continue;
    const auto ended = WaitFor(*pid, kLimitMs);
    if (!ended.ok() || !*ended || (*ended)->code != 0) continue;
    for (int i = 1; i < argc; ++i) words.emplace_back(argv[i]);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    setenv(kWorld, "1", 1);
    (void)RemoveAll(folder.path());
    execv(arguments[0], arguments.data());
    LR_CHECK(false);
  }
  const Result<std::string> said = ReadFile(log);
  std::printf(
      "This machine makes no namespaces; the hosts run over its loopback interface, with "
      "one root for all.\n%s\n",
      said ? said->c_str() : "");
  std::fflush(stdout);
  signal(SIGPIPE, SIG_IGN);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

Host::Host(const std::string& folder, const std::string& name, int number, std::int64_t disk_bytes)
    : folder_(folder), name_(name), number_(number) {
  LR_CHECK(MakeFolders(Outside(""), 0700).ok());
  if (!HasNamespaces()) return;
  LR_CHECK(MakeFolders(JoinPath(folder_, "roots/" + name_), 0755).ok());
  const std::string options = Str("mode=0700,size=", disk_bytes);
  LR_CHECK(mount(name_.c_str(), Outside("").c_str(), "tmpfs", 0, options.c_str()) == 0);
}

Host::~Host() {
  PowerOff();
  if (HasNamespaces()) (void)umount2(Outside("").c_str(), MNT_DETACH);
}

std::string Host::address() const {
  return HasNamespaces() ? Str("10.77.0.", number_) : "127.0.0.1";
}
std::string Host::Program(const std::string& name) const {
  return Str(HasNamespaces() ? "/opt/longrun/bin" : LONGRUN_BIN_DIR, "/", name);
}
std::string Host::Outside(const std::string& path) const {
  return JoinPath(folder_, Str("disks/", name_, path.empty() ? "" : "/", path));
}
std::string Host::Inside(const std::string& path) const {
  return HasNamespaces() ? Str("/srv/", name_, path.empty() ? "" : "/", path) : Outside(path);
}

Status Host::PowerOn() {
  LR_CHECK(!is_on());
  is_on_ = true;
  if (!HasNamespaces()) return Status();
  n_starts_ += 1;
  const std::string log = JoinPath(folder_, Str("host-", name_, "-", n_starts_, ".log"));
  std::vector<std::string> argv = {"/usr/bin/unshare",
                                   "--net",
                                   "--mount",
                                   "--pid",
                                   "--uts",
                                   "--fork",
                                   "--kill-child",
                                   "--",
                                   "/bin/sh",
                                   LONGRUN_SOURCE_DIR "/tests/hosts/host.sh",
                                   JoinPath(folder_, "roots/" + name_),
                                   name_,
                                   Outside(""),
                                   LONGRUN_BIN_DIR};
  for (const std::string& part : Split(LONGRUN_TORCH_FOLDERS, ':')) {
    if (!part.empty()) argv.push_back(part);
  }
  ASSIGN_OR_RETURN(unshare_, Spawn({.argv = std::move(argv),
                                    .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                                    .stdout_path = log,
                                    .stderr_path = log,
                                    .die_with_parent = true}));
  const auto said = [&] {
    const Result<std::string> text = ReadFile(log);
    return text ? *text : std::string();
  };
  bool failed = false;
  const bool ready = WaitUntil(kLimitMs, [&] {
    if (said().find("ready\n") != std::string::npos) return true;
    const auto ended = WaitFor(unshare_, 0);
    return failed = ended.ok() && *ended;
  });
  if (failed) unshare_ = 0;
  for (const int pid : ready && !failed ? ChildrenOf(unshare_) : std::vector<int>()) {
    init_ = pid;
  }
  if (init_ == 0) {
    PowerOff();
    return Status(Code::kUnavailable, Str("the host ", name_, " cannot be made: ", said()));
  }
  // A name of its own for each start: the kernel removes the last one's end of the cable later. The
  // host's address is the same after each start, as that of a real one: the others remember it.
  const std::string cable = Str("v", number_, "-", n_starts_);
  const std::string link_address = Str("02:00:00:00:", number_ / 100, ":", number_ % 100);
  return Shell(Str("ip link add ", cable, " type veth peer name e0 address ", link_address,
                   " netns ", init_, " && ip link set ", cable,
                   " master br0 up"
                   " && nsenter --target ",
                   init_, " --net ip addr add ", address(), "/24 dev e0 && nsenter --target ",
                   init_, " --net ip link set e0 up"),
               log);
}

void Host::PowerOff() {
  if (HasNamespaces()) {
    // With the first process, the kernel kills all others.
    if (init_ > 0) kill(init_, SIGKILL);
    if (unshare_ > 0) {
      if (init_ == 0) kill(unshare_, SIGKILL);
      EXPECT_TRUE(WaitFor(unshare_, kLimitMs).ok());
    }
  } else {
    EXPECT_TRUE(WaitUntil(kLimitMs, [&] {
      const std::vector<Process> left = Processes();
      SendSignal(left, SIGKILL);
      return left.empty();
    }));
  }
  unshare_ = init_ = 0;
  is_on_ = false;
}

void Host::Unplug() {
  LR_CHECK(HasNamespaces());
  EXPECT_TRUE(
      Shell(Str("ip link set v", number_, "-", n_starts_, " down"), JoinPath(folder_, "cable.log"))
          .ok());
}
void Host::Plug() {
  EXPECT_TRUE(
      Shell(Str("ip link set v", number_, "-", n_starts_, " up"), JoinPath(folder_, "cable.log"))
          .ok());
}

int Host::Start(const std::vector<std::string>& argv, const std::vector<std::string>& env,
                const std::string& out, const std::string& err) const {
  LR_CHECK(is_on());
  std::vector<std::string> words;
  if (HasNamespaces()) {
    words = {"/usr/bin/nsenter", "--target", Str(init_), "--mount", "--uts", "--net", "--pid",
             "--wd=/",           "--"};
  }
  words.insert(words.end(), argv.begin(), argv.end());
  std::vector<std::string> all = {"PATH=/usr/bin:/bin", "HOME=" + Inside("")};
  for (const char* const name :
       {"LD_LIBRARY_PATH", "ASAN_OPTIONS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"}) {
    if (const auto value = GetEnv(name)) all.push_back(Str(name, "=", *value));
  }
  all.insert(all.end(), env.begin(), env.end());
  const Result<int> pid = Spawn({.argv = std::move(words),
                                 .env = std::move(all),
                                 .cwd = HasNamespaces() ? "" : Inside(""),
                                 .stdout_path = out,
                                 .stderr_path = err,
                                 .own_group = true,
                                 .die_with_parent = true});
  LR_CHECK(pid.ok());
  return *pid;
}

std::vector<Host::Process> Host::Processes() const {
  std::vector<Process> processes;
  if (HasNamespaces() && init_ == 0) return processes;
  const std::string space = HasNamespaces() ? NamespaceOf(init_) : "";
  for (const int pid : ProcessIds()) {
    if (pid == init_ || pid == getpid()) continue;
    if (HasNamespaces() && NamespaceOf(pid) != space) continue;
    std::vector<std::string> words = CommandLine(pid);
    const bool is_ours =
        HasNamespaces() ? !words.empty() : std::ranges::any_of(words, [&](const auto& word) {
          return word.find(Outside("") + "/") != std::string::npos;
        });
    if (is_ours) processes.push_back({.pid = pid, .words = std::move(words)});
  }
  return processes;
}

std::vector<Host::Process> Host::Running(const std::string& program) const {
  std::vector<Process> running = Processes();
  std::erase_if(running, [&](const Process& process) {
    return !process.words[0].ends_with("/" + program) ||
           (process.words.size() > 1 && process.words[1] == "exec");
  });
  return running;
}

std::vector<Host::Process> Host::Shims() const {
  std::vector<Process> shims = Processes();
  std::erase_if(shims, [](const Process& process) {
    return !process.words[0].ends_with("/longrun-worker") || process.words.size() < 2 ||
           process.words[1] != "exec";
  });
  return shims;
}

Status Host::FillDisk() {
  LR_CHECK(HasNamespaces());
  const Descriptor file(open(Outside("filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  // A full disk has no room for the file itself.
  if (!file.is_open() && errno == ENOSPC) return Status();
  if (!file.is_open()) return Status(Code::kInternal, Str("filler: ", std::strerror(errno)));
  // Smaller and smaller pieces, since the daemons write at the same time.
  off_t n_bytes = 0;
  for (off_t piece = off_t{1} << 30; piece >= 1024;) {
    const int error = posix_fallocate(file.get(), n_bytes, piece);
    if (error == 0) {
      n_bytes += piece;
    } else if (error == ENOSPC) {
      piece /= 2;
    } else if (error != EINTR) {
      return Status(Code::kInternal,
                    Str("the disk of ", name_, " cannot be filled: ", std::strerror(error)));
    }
  }
  return Status();
}
void Host::FreeDisk() { EXPECT_TRUE(RemoveAll(Outside("filler")).ok()); }

void SendSignal(const std::vector<Host::Process>& processes, int signal) {
  for (const Host::Process& process : processes) kill(process.pid, signal);
}

}  // namespace longrun
