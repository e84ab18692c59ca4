// Child processes. Between fork and exec the child makes only async-signal-safe calls, since other
// threads may hold any lock: everything is prepared before the fork.
#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstdlib>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

enum class Step : int { kSession, kGroup, kParent, kFolder, kOutput, kDescriptors, kExec };

// What the child writes to the pipe if it cannot start the program.
struct Failure {
  Step step = Step::kExec;
  int error_number = 0;
};

struct Layout {
  const char* const* argv = nullptr;
  const char* const* env = nullptr;
  const char* cwd = nullptr;          // nullptr keeps ours
  const char* stdout_path = nullptr;  // nullptr keeps ours
  const char* stderr_path = nullptr;
  bool own_group = false;
  bool new_session = false;
  bool die_with_parent = false;
  pid_t parent = 0;
  int channel = -1;  // above 2, or -1
  int pipe = -1;     // above 2; exec closes it
};

[[noreturn]] void Give(const Layout& layout, Step step, int error_number) {
  const Failure failure = {.step = step, .error_number = error_number};
  if (write(layout.pipe, &failure, sizeof failure) < 0) _exit(126);
  _exit(127);
}

bool Redirect(const char* path, int flags, int target) {
  const int fd = open(path, flags, 0644);
  // The descriptor that open returned is closed with all others; it may be `target` itself.
  return fd >= 0 && (fd == target || dup2(fd, target) == target);
}

// Closes every descriptor above 2 at exec; the pipe must stay open until then.
bool CloseOthers() {
#if defined(SYS_close_range)
  constexpr unsigned kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC, Linux 5.11
  if (syscall(SYS_close_range, 3u, ~0u, kCloseOnExec) == 0) return true;
#endif
  const long n_max = sysconf(_SC_OPEN_MAX);
  const int end = n_max > 0 && n_max < INT_MAX ? static_cast<int>(n_max) : 1 << 20;
  for (int fd = 3; fd < end; ++fd) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0 && fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0) return false;
  }
  return true;
}

[[noreturn]] void BecomeProgram(const Layout& layout) {
  // Ignored signals would stay ignored: the trainer must not inherit that of SIGPIPE,
  // which gRPC sets.
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &plain, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);

  if (layout.new_session && setsid() < 0) Give(layout, Step::kSession, errno);
  if (layout.own_group && !layout.new_session && setpgid(0, 0) != 0) {
    Give(layout, Step::kGroup, errno);
  }
  if (layout.die_with_parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) Give(layout, Step::kParent, errno);
    if (getppid() != layout.parent) _exit(127);  // the parent ended before our prctl
  }
  if (layout.cwd != nullptr && chdir(layout.cwd) != 0) Give(layout, Step::kFolder, errno);
  constexpr int kAppend = O_WRONLY | O_CREAT | O_APPEND;
  if (layout.channel >= 0) {
    for (const int target : {STDIN_FILENO, STDOUT_FILENO}) {
      if (dup2(layout.channel, target) != target) Give(layout, Step::kOutput, errno);
    }
  } else if (!Redirect("/dev/null", O_RDONLY, STDIN_FILENO)) {
    Give(layout, Step::kOutput, errno);
  }
  if (layout.stdout_path != nullptr && !Redirect(layout.stdout_path, kAppend, STDOUT_FILENO)) {
    Give(layout, Step::kOutput, errno);
  }
  if (layout.stderr_path != nullptr && !Redirect(layout.stderr_path, kAppend, STDERR_FILENO)) {
    Give(layout, Step::kOutput, errno);
  }
  if (!CloseOthers()) Give(layout, Step::kDescriptors, errno);
  execve(layout.argv[0], const_cast<char* const*>(layout.argv),
         const_cast<char* const*>(layout.env));
  Give(layout, Step::kExec, errno);
}

std::string Describe(Step step, const SpawnOptions& options) {
  const std::string& program = options.argv[0];
  switch (step) {
    case Step::kSession:
      return Str("cannot start ", program, " in a session of its own");
    case Step::kGroup:
      return Str("cannot start ", program, " in a process group of its own");
    case Step::kParent:
      return Str("cannot make ", program, " end with this program");
    case Step::kFolder:
      return Str("cannot start ", program, " in the folder ", options.cwd);
    case Step::kOutput:
      return Str("cannot open the output of ", program, " (stdout \"", options.stdout_path,
                 "\", stderr \"", options.stderr_path, "\")");
    case Step::kDescriptors:
      return Str("cannot close the descriptors of ", program);
    case Step::kExec:
      return Str("cannot run ", program);
  }
  return Str("cannot run ", program);
}

std::vector<const char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

// Moves a descriptor above 2, so that the redirections cannot overwrite it.
int AboveStandard(int fd) {
  if (fd > STDERR_FILENO) return fd;
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error_number = errno;
  close(fd);
  errno = error_number;
  return moved;
}

Result<std::optional<ExitInfo>> Reap(int pid, int flags) {
  for (;;) {
    int state = 0;
    ExitInfo info;
    const pid_t reaped = wait4(pid, &state, flags, &info.usage);
    if (reaped < 0 && errno == EINTR) continue;
    if (reaped < 0) return ErrnoStatus(errno, Str("cannot wait for process ", pid));
    if (reaped == 0) return std::optional<ExitInfo>();
    if (WIFEXITED(state)) info.code = WEXITSTATUS(state);
    if (WIFSIGNALED(state)) info.signal = WTERMSIG(state);
    return std::optional<ExitInfo>(info);
  }
}

// A field of /proc/PID/stat after the second, numbered from 1 as in proc(5).
std::optional<std::uint64_t> NumberOfStat(int pid, std::size_t n) {
  const Result<std::string> stat = ReadFile(Str("/proc/", pid, "/stat"));
  if (!stat) return std::nullopt;
  // The second field is the name in brackets, which may contain anything.
  const std::size_t bracket = stat->rfind(')');
  if (bracket == std::string::npos) return std::nullopt;
  const std::vector<std::string> fields = Split(std::string_view(*stat).substr(bracket + 1), ' ');
  const std::size_t index = n - 2;  // the text begins with a blank
  if (fields.size() <= index) return std::nullopt;
  std::uint64_t number = 0;
  const std::string& field = fields[index];
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), number);
  if (error != std::errc() || end != field.data() + field.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<int> Spawn(const SpawnOptions& options) {
  if (options.argv.empty() || options.argv[0].empty()) {
    return Status(Code::kInvalidArgument, "cannot start a process without a program");
  }
  LR_CHECK(options.channel < 0 || options.channel > STDERR_FILENO);
  const std::vector<const char*> argv = Pointers(options.argv);
  const std::vector<const char*> env = Pointers(options.env);
  const auto output = [&](const std::string& path) -> const char* {
    if (options.inherit_output) return nullptr;
    return path.empty() ? "/dev/null" : path.c_str();
  };
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "cannot make a pipe");
  const int reading = ends[0];
  const int writing = AboveStandard(ends[1]);
  if (writing < 0) {
    const int error_number = errno;
    close(reading);
    return ErrnoStatus(error_number, "cannot make a pipe");
  }
  const Layout layout = {
      .argv = argv.data(),
      .env = env.data(),
      .cwd = options.cwd.empty() ? nullptr : options.cwd.c_str(),
      .stdout_path = options.channel >= 0 ? nullptr : output(options.stdout_path),
      .stderr_path = output(options.stderr_path),
      .own_group = options.own_group,
      .new_session = options.new_session,
      .die_with_parent = options.die_with_parent,
      .parent = getpid(),
      .channel = options.channel,
      .pipe = writing,
  };

  // Our signal handlers must not run in the child.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  const int fork_error = errno;
  if (pid == 0) BecomeProgram(layout);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(writing);
  if (pid < 0) {
    close(reading);
    return ErrnoStatus(fork_error, Str("cannot start ", options.argv[0]));
  }

  // exec closes the pipe; before that, the child may report an error.
  Failure failure;
  ssize_t n = 0;
  do {
    n = read(reading, &failure, sizeof failure);
  } while (n < 0 && errno == EINTR);
  close(reading);
  if (n == 0) return int{pid};
  RETURN_IF_ERROR(Reap(pid, 0).status());
  if (n != sizeof failure) return Status(Code::kInternal, Str("cannot start ", options.argv[0]));
  return ErrnoStatus(failure.error_number, Describe(failure.step, options));
}

Result<std::optional<ExitInfo>> WaitFor(int pid, std::int64_t timeout_ms) {
  if (timeout_ms < 0) return Reap(pid, 0);
  ASSIGN_OR_RETURN(std::optional<ExitInfo> info, Reap(pid, WNOHANG));
  if (info.has_value() || timeout_ms == 0) return info;

  // A child that has not been reaped keeps its pid, so this cannot be another process.
  const auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return ErrnoStatus(errno, Str("cannot watch process ", pid));
  const std::int64_t deadline = BootMs() + timeout_ms;
  for (;;) {
    const std::int64_t left = deadline - BootMs();
    pollfd watched = {.fd = fd, .events = POLLIN, .revents = 0};
    const int n = poll(&watched, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX)));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0 && left > INT_MAX) continue;
    const int error_number = errno;
    close(fd);
    if (n < 0) return ErrnoStatus(error_number, Str("cannot watch process ", pid));
    return Reap(pid, WNOHANG);
  }
}

std::string ProgramFolder() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  LR_CHECK(n > 0);  // every machine we support has /proc
  return FolderOf(std::string_view(path, static_cast<std::size_t>(n)));
}

std::optional<std::string> GetEnv(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> ProcessStartTicks(int pid) { return NumberOfStat(pid, 22); }

std::optional<std::uint64_t> ProcessBusyTicks(int pid) {
  const std::optional<std::uint64_t> user = NumberOfStat(pid, 14), system = NumberOfStat(pid, 15);
  return user && system ? std::optional(*user + *system) : std::nullopt;
}

}  // namespace longrun
