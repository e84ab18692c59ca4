// The shim. Single-threaded, since PR_SET_PDEATHSIG ties the trainer's life to the thread
// that started it.
#include "worker/agent/exec.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process.h"
#include "base/shortage.h"
#include "base/str.h"
#include "sweeps/failure.h"
#include "worker/agent/attempt_folder.h"

extern char** environ;

namespace longrun::agent {
namespace {

// Blocks the signals that request a stop or report the end of a child, and which we then wait for
// one by one. So we miss none, and handle none while the trainer's pid may already belong to
// another process.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// The number in a file's line "oom_kill N"; nullopt if there is none.
std::optional<std::int64_t> OomKillsIn(const std::string& path) {
  constexpr std::string_view kKey = "oom_kill ";
  const Result<std::string> text = ReadFile(path);
  if (!text) return std::nullopt;
  for (const std::string& line : Split(*text, '\n')) {
    if (!line.starts_with(kKey)) continue;
    std::int64_t count = 0;
    std::from_chars(line.data() + kKey.size(), line.data() + line.size(), count);
    return count;
  }
  return std::nullopt;
}

Status SetLimits() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return ErrnoStatus(errno, "cannot give up new privileges");
  }
  // Processes that the trainer leaves behind become our children, so that we can end them.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    return ErrnoStatus(errno, "cannot become the reaper of our descendants");
  }
  const rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) {
    return ErrnoStatus(errno, "cannot turn core dumps off");
  }
  return Status();
}

ExitRecord ExitOf(int state, const rusage& usage) {
  const auto milliseconds = [](const timeval& time) {
    return std::int64_t{time.tv_sec} * 1000 + time.tv_usec / 1000;
  };
  ExitRecord exit;
  if (WIFEXITED(state)) exit.code = WEXITSTATUS(state);
  if (WIFSIGNALED(state)) exit.signal = WTERMSIG(state);
  exit.user_ms = milliseconds(usage.ru_utime);
  exit.system_ms = milliseconds(usage.ru_stime);
  exit.rss_bytes_max = std::int64_t{usage.ru_maxrss} * 1024;
  return exit;
}

// Reaps all children that have ended; returns the trainer's exit if it is among them.
std::optional<ExitRecord> ReapChildren(int trainer_pid) {
  for (;;) {
    int state = 0;
    rusage usage{};
    const pid_t pid = wait4(-1, &state, WNOHANG, &usage);
    if (pid <= 0) return std::nullopt;
    if (pid == trainer_pid) return ExitOf(state, usage);
  }
}

// Waits until the trainer itself has ended, and passes requests to stop on to it.
ExitRecord WaitForTrainer(int trainer_pid, const sigset_t& signals, RecentOomKills oom_kills) {
  // A killed trainer takes a while to give its memory back, but less than this.
  constexpr std::int64_t kIntervalMs = 60'000;
  std::int64_t next_ms = BootMs() + kIntervalMs;
  bool stop_requested = false;
  for (;;) {
    const std::int64_t left_ms = std::max<std::int64_t>(0, next_ms - BootMs());
    const timespec left = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1'000'000};
    const int signal = sigtimedwait(&signals, nullptr, &left);
    if (signal == SIGCHLD) {
      if (std::optional<ExitRecord> exit = ReapChildren(trainer_pid); exit) {
        exit->stop_requested = stop_requested;
        exit->oom_kill = exit->signal == SIGKILL && oom_kills.Any(CountOomKills(""));
        return *exit;
      }
    }
    if (BootMs() >= next_ms) {
      oom_kills.Note(CountOomKills(""));
      next_ms = BootMs() + kIntervalMs;
    }
    if (signal == SIGCHLD || signal < 0) continue;  // nobody has asked for a stop
    stop_requested = true;
    kill(trainer_pid, SIGTERM);
    kill(trainer_pid, SIGCONT);  // one that somebody stopped writes its checkpoint, too
  }
}

// Ends and reaps the processes that the trainer left behind, in its group or outside.
void EndDescendants(int trainer_pid) {
  kill(-trainer_pid, SIGKILL);
  for (;;) {
    const pid_t pid = waitpid(-1, nullptr, WNOHANG);
    if (pid < 0 && errno == ECHILD) return;
    if (pid != 0) continue;
    const Result<std::string> children =
        ReadFile(Str("/proc/self/task/", getpid(), "/children"), 1u << 16);
    if (!children) return;  // a kernel without this list: init gets the rest
    for (const std::string& word : Split(*children, ' ')) {
      int child = 0;
      std::from_chars(word.data(), word.data() + word.size(), child);
      if (child > 1) kill(child, SIGKILL);
    }
    poll(nullptr, 0, 5);
  }
}

// Makes the kernel end a trainer before a daemon. Best effort: a container may forbid it.
void PreferForOomKill(int pid) {
  const std::string path = Str("/proc/", pid, "/oom_score_adj");
  if (FILE* file = std::fopen(path.c_str(), "we"); file != nullptr) {
    std::fputs("500", file);
    std::fclose(file);
  }
}

// exit.json is the only evidence of the end, so wait up to a minute where its room could not be
// reserved.
Status WriteExitPatiently(const AttemptFolder& folder, const ExitRecord& exit) {
  constexpr int kTries = 60;
  for (int i = 1;; ++i) {
    Status status = WriteExit(folder, exit);
    if (status.ok() || i == kTries) return status;
    poll(nullptr, 0, 1000);
  }
}

// The exit code of a trainer that met the same error: a shortage has its own class and remedy.
int ExitCodeWithoutTrainer(const Status& status) {
  constexpr int kNotExecutable = 126;  // as in a shell
  const std::optional<Shortage> shortage = ShortageOf(status);
  return shortage ? FailureOf(ClassOfShortage(*shortage)).exit_code : kNotExecutable;
}

Result<int> StartTrainer(const AttemptFolder& folder, const std::string& trainer) {
  std::vector<std::string> env;
  for (char** variable = environ; *variable != nullptr; ++variable) env.emplace_back(*variable);
  return Spawn({.argv = {trainer, "task", folder.TaskFilePath()},
                .env = std::move(env),
                .cwd = folder.path,
                .stdout_path = folder.Log(),
                .stderr_path = folder.Log(),
                .own_group = true,
                .die_with_parent = true});
}

Result<ProcessName> NameOf(int pid) {
  const std::optional<std::uint64_t> ticks = ProcessStartTicks(pid);
  if (!ticks) {
    return Status(Code::kFailedPrecondition, Str("cannot read /proc/", pid, "/stat: mount /proc"));
  }
  return ProcessName{.pid = pid, .start_ticks = *ticks};
}

// Starts the trainer, once everything is ready to record its end.
Result<int> PrepareAndStart(const AttemptFolder& folder, const std::string& trainer,
                            ShimRecord& shim) {
  RETURN_IF_ERROR(SetLimits());
  ASSIGN_OR_RETURN(shim.shim, NameOf(getpid()));
  RETURN_IF_ERROR(ReserveExit(folder));
  RETURN_IF_ERROR(WriteShim(folder, shim));
  Failpoint("shim_before_trainer");
  return StartTrainer(folder, trainer);
}

Result<int> RunAttempt(const AttemptFolder& folder, const std::string& trainer) {
  const sigset_t signals = BlockSignals();
  ASSIGN_OR_RETURN(const FileLock lock,
                   FileLock::Acquire(folder.ShimLock(), "the shim of this attempt"));
  for (const std::string& path : {folder.Abandoned(), folder.Exit(), folder.Journal()}) {
    if (!PathExists(path)) continue;
    LogWarning("shim_started_nothing", {{"because", path + " exists"}});
    return kShimStartedNothing;
  }
  ShimRecord shim;
  const RecentOomKills oom_kills(CountOomKills(""));
  const Result<int> pid = PrepareAndStart(folder, trainer, shim);
  if (!pid) {
    LogError("trainer_not_started", {{"error", pid.status().message()}});
    RETURN_IF_ERROR(WriteExitPatiently(folder, {.code = ExitCodeWithoutTrainer(pid.status())}));
    return 1;
  }
  PreferForOomKill(*pid);
  // Not reaped yet, so /proc has it even if it has already ended.
  const Result<ProcessName> name = NameOf(*pid);
  if (name) shim.trainer = *name;
  const Status written = name ? WriteShim(folder, shim) : name.status();
  if (!written.ok()) LogWarning("shim_record_not_written", {{"error", written.message()}});

  const ExitRecord exit = WaitForTrainer(*pid, signals, oom_kills);
  EndDescendants(*pid);
  Failpoint("shim_before_exit_json");
  RETURN_IF_ERROR(WriteExitPatiently(folder, exit));
  return 0;
}

}  // namespace

std::optional<std::int64_t> CountOomKills(const std::string& root) {
  const Result<std::string> groups = ReadFile(root + "/proc/self/cgroup");
  for (const std::string& line : Split(groups ? *groups : "", '\n')) {
    if (!line.starts_with("0::")) continue;
    const auto of_group = OomKillsIn(Str(root, "/sys/fs/cgroup", line.substr(3), "/memory.events"));
    if (of_group) return of_group;
  }
  return OomKillsIn(root + "/proc/vmstat");
}

int ExecAttempt(const std::string& attempt_dir, const std::string& trainer) {
  const Result<int> code = RunAttempt(AttemptFolder{.path = attempt_dir}, trainer);
  if (code) return *code;
  LogError("shim_failed", {{"error", code.status().message()}});
  return 1;
}

}  // namespace longrun::agent
