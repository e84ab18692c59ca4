#include "client/wire/embedded.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/absent.h"
#include "base/access.h"
#include "base/clock.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/held_file.h"
#include "base/process.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/user_folders.h"
#include "base/utf8.h"
#include "client/console/output.h"
#include "client/wire/daemon_log.h"
#include "client/wire/database_lock.h"
#include "client/wire/service_patience.h"
#include "client/wire/start_patience.h"
#include "client/wire/writable.h"
#include "sweeps/coordinator_address.h"
#include "sweeps/coordinator_lock.h"
#include "sweeps/worker_folder.h"

namespace longrun::client {
namespace {

// Time to write the checkpoint of a large model to a slow disk; otherwise steps would be repeated.
constexpr std::int64_t kTrainerGraceMs = 60'000;
constexpr std::int64_t kStopMs = kTrainerGraceMs + 30'000;
constexpr std::int64_t kPollMs = 20;
// A coordinator of a small state folder starts in some tens of milliseconds.
constexpr std::int64_t kQuickPollMs = 3;
constexpr int kQuickLooks = 100;
constexpr std::int64_t kReachMs = 30'000;  // while coordinators of other commands come and go
constexpr std::int64_t kLookMs = 200;
constexpr std::int64_t kRestartMs = 15'000;   // RestartPolicy waits for 10 s at most
constexpr std::int64_t kWonderMs = 1'000;     // then a user would like to know why nothing happens
constexpr std::int64_t kRunsAgainMs = 2'000;  // after this, a daemon counts as started

void Pause(std::int64_t ms) { poll(nullptr, 0, static_cast<int>(ms)); }

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> env;
  for (char** entry = environ; *entry != nullptr; ++entry) env.emplace_back(*entry);
  return env;
}

// Daemons have their own process group, so that Ctrl-C reaches only us and we stop them in order;
// they end when we do.
Result<int> SpawnDaemon(std::vector<std::string> argv, const std::string& log) {
  return Spawn({.argv = std::move(argv),
                .env = OwnEnvironment(),
                .stdout_path = log,
                .stderr_path = log,
                .own_group = true,
                .die_with_parent = true});
}

// The coordinator that holds the folder, or was killed while it held it;
// pid 0 if that is not known.
CoordinatorHolder HolderOf(const std::string& state) {
  return ReadCoordinatorLock(state).value_or(CoordinatorHolder());
}

// Whether somebody stopped the process (SIGSTOP), so that it answers nothing until it is continued.
// A process under a debugger has another state, "t", which SIGCONT does not end.
bool IsStopped(int pid) {
  const Result<std::string> status = ReadFile(Str("/proc/", pid, "/status"), 4096);
  return pid > 0 && status.ok() && status->find("\nState:\tT") != std::string::npos;
}

std::string StoppedText(const std::string& daemon, int pid) {
  return Str("the ", daemon, " (pid ", pid, ") is stopped and does nothing: `kill -CONT ", pid,
             "` continues it");
}

// Another program has the database, such as a shell of SQLite: its name, and what to do.
std::string LockedText(const std::string& state, const DatabaseLocker& locker) {
  const std::string who =
      locker.pid == 0 ? std::string("another program")
      : locker.name.empty()
          ? Str("another program (pid ", locker.pid, ")")
          : Str("another program (", PrintableBytes(locker.name), ", pid ", locker.pid, ")");
  return Str(who, " has locked the database ", JoinPath(state, "longrun.db"),
             ", so the coordinator cannot start: end that program, or the transaction that it has "
             "open");
}

// Called while nobody answers: reports once that the coordinator is stopped, that another program
// has locked the database, or that the start is slow.
// `waits_for_command`: whether the holder must end before ours can start.
void SayWhyItWaits(StartPatience& patience, const std::string& state,
                   const CoordinatorHolder& holder, bool waits_for_command) {
  static std::atomic<int> told_pid = 0;
  if (IsStopped(holder.pid) && CoordinatorRuns(state)) {
    if (told_pid.exchange(holder.pid) == holder.pid) return;
    return SayLine(Str(StoppedText("coordinator", holder.pid), "; this command waits for it"));
  }
  static std::atomic<int> told_locker = -1;
  if (!waits_for_command && patience.WaitedMs(BootMs()) >= kWonderMs) {
    if (const std::optional<DatabaseLocker> locker = WhoLocksDatabase(state, holder.pid)) {
      (void)patience.IsToBeTold(BootMs(), /*has_reason=*/true);  // this is why it is slow
      if (told_locker.exchange(locker->pid) == locker->pid) return;
      return SayLine(LockedText(state, *locker));
    }
  }
  const std::string log = JoinPath(state, "coordinator.log");
  const bool is_migrating =
      !waits_for_command && patience.LooksForReason(BootMs()) && IsMigrating(log);
  if (!patience.IsToBeTold(BootMs(), waits_for_command || is_migrating)) return;
  if (waits_for_command) {
    return SayLine(Str("another command uses ", state, " (its coordinator has pid ", holder.pid,
                       "); this one goes on once that has ended"));
  }
  if (HasWrittenAddress(state)) {
    return SayLine(Str("the coordinator (pid ", holder.pid,
                       ") has started, but does not answer yet; this command waits up to ",
                       StartPatience::kStartedMsMax / 1000, " s for it (its log: ", log, ")"));
  }
  SayLine(Str("the coordinator is still starting",
              is_migrating ? ": it brings the database up to date, which can take minutes" : "",
              "; this command waits as long as it makes progress (its log: ", log, ")"));
}

std::int64_t BytesOf(const std::string& log) {
  const Result<std::int64_t> n_bytes = FileBytes(log);
  return n_bytes.ok() ? *n_bytes : 0;
}

// Whether the program itself caused the signal, and nobody sent it.
bool IsCrash(int signal) {
  constexpr int kCrashes[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
  return std::ranges::find(kCrashes, signal) != std::end(kCrashes);
}

// By somebody, who may do so only once.
bool WasKilled(const ExitInfo& exited) {
  constexpr int kByHand[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP};
  return std::ranges::find(kByHand, exited.signal) != std::end(kByHand);
}

// "has ended: cannot use the database ...", of a daemon whose log had `begin` bytes
// when it started.
std::string HowEnded(const ExitInfo& exited, const std::string& log, std::int64_t begin) {
  const std::string error = LastError(log, begin);
  if (exited.signal == 0) {
    if (exited.code == 0) return "has ended";
    return error.empty() ? Str("has ended with exit code ", exited.code)
                         : Str("has ended: ", error);
  }
  const std::string how = Str("was ended by signal ", exited.signal);
  if (!IsCrash(exited.signal)) return how;
  return Str(how, " (", strsignal(exited.signal), ")", error.empty() ? "" : ": ", error);
}

struct Answering {
  int pid = 0;
  std::string address;
  std::string folder;          // the state folder that it serves, as given to it
  std::int64_t log_begin = 0;  // the length of its log when it started, if we started it
  bool is_momentary = false;
};

// The coordinator that answers at the address in the state folder. After a crash, nobody answers
// there; a copied folder has the address of the original's coordinator.
std::optional<Answering> WhoAnswersAt(const std::string& state) {
  const Result<std::string> address = ReadCoordinatorAddress(state);
  if (!address.ok()) return std::nullopt;
  CoordinatorConnection connection(*address);
  const Result<v1::GetServerInfoResponse> info = connection.GetServerInfo(2'000);
  if (!info.ok()) return std::nullopt;
  return Answering{.pid = static_cast<int>(info->pid()),
                   .address = *address,
                   .folder = info->state_folder(),
                   .is_momentary = info->is_momentary()};
}

// Nobody has answered for so long that waiting is in vain.
Status NobodyAnswers(const std::string& state, const StartPatience& patience) {
  const std::string log = JoinPath(state, "coordinator.log");
  if (!patience.StartedLongAgo(BootMs())) {
    return Status(Code::kDeadlineExceeded,
                  Str("the coordinator does not answer, and has done nothing for ",
                      StartPatience::kIdleMsMax / 1000, " s; see ", log));
  }
  const Result<std::string> address = ReadCoordinatorAddress(state);
  return Status(
      Code::kDeadlineExceeded,
      Str("the coordinator (pid ", HolderOf(state).pid, ") has started, but has not answered for ",
          StartPatience::kStartedMsMax / 1000, " s",
          address.ok() ? Str(" at ", *address, ", the address in ", CoordinatorAddressPath(state))
                       : "",
          ": see whether its machine is overloaded, whether that socket can be reached from here, "
          "and what its log says (",
          log, ")"));
}

bool Serves(const Answering& answering, const std::string& state) {
  const Result<HeldFile> folder = HeldFile::Open(answering.folder);
  return folder.ok() ? folder->IsAt(state) : CoordinatorRuns(state);
}

std::optional<Answering> WhoAnswers(const std::string& state) {
  std::optional<Answering> answering = WhoAnswersAt(state);
  return answering && Serves(*answering, state) ? answering : std::nullopt;
}

// Says that a state folder is a copy, if the original's coordinator runs.
void SayIfCopied(const std::string& state) {
  const std::optional<Answering> other = WhoAnswersAt(state);
  if (!other || Serves(*other, state)) return;
  SayLine(Str(state, " is a copy of ", other->folder, ", where a coordinator runs (pid ",
              other->pid, "): this one works independently, and neither sees the other's results"));
}

// Sends SIGTERM, then SIGKILL if the process does not end. Sends nothing to a process that has been
// waited for: its pid may belong to another one by now.
void EndProcess(int pid) {
  if (pid <= 0) return;
  const auto gone = [pid](std::int64_t timeout_ms) {
    const Result<std::optional<ExitInfo>> exited = WaitFor(pid, timeout_ms);
    return !exited.ok() || exited->has_value();  // an error: it is not our child any more
  };
  if (gone(0)) return;
  kill(pid, SIGTERM);
  kill(pid, SIGCONT);  // if somebody stopped it, it must run to end its work
  if (gone(kStopMs)) return;
  kill(pid, SIGKILL);
  static_cast<void>(WaitFor(pid, kStopMs).ok());
}

Code CodeOfExit(int exit_code) {
  if (exit_code == kExitTaken) return Code::kUnavailable;
  if (exit_code == kExitBadUsage) return Code::kInvalidArgument;
  if (exit_code == kExitLimit) return Code::kResourceExhausted;
  return exit_code == kExitNoPermission ? Code::kPermissionDenied : Code::kFailedPrecondition;
}

// Starts a coordinator and waits until it answers. If another one takes the folder at the same
// moment, ours ends, and the answer is the other one with pid 0. A coordinator that is to stay
// waits until a momentary one has ended with its command (Store::Open), which may take hours.
// kCancelled, and ours is killed, once `is_cancelled`.
Result<Answering> StartAndWait(const std::string& state, const DaemonOptions& options,
                               bool is_momentary, const std::function<bool()>& is_cancelled) {
  const int holding = CoordinatorRuns(state) ? HolderOf(state).pid : 0;
  if (IsStopped(holding)) {
    return Status(Code::kUnavailable, Str(StoppedText("coordinator", holding),
                                          "; it is also safe to kill at any time"));
  }
  const std::string log = JoinPath(state, "coordinator.log");
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-coordinator"), "--state",
                                   state};
  if (!options.metrics.empty()) argv.insert(argv.end(), {"--metrics", options.metrics});
  if (!options.listen.empty()) argv.insert(argv.end(), {"--listen", options.listen});
  if (is_momentary) argv.emplace_back("--momentary");
  const std::int64_t log_begin = BytesOf(log);
  const Result<int> spawned = SpawnDaemon(std::move(argv), log);
  if (!spawned) return NamingDenied(spawned.status(), state);
  const int pid = *spawned;
  StartPatience patience(BootMs());
  // After we have waited for ours, its pid may belong to another process.
  std::optional<ExitInfo> exited;
  int n_looks = 0;
  bool waits_for_command = false;
  while (!is_cancelled()) {
    std::optional<Answering> answering;
    if (!waits_for_command) answering = WhoAnswers(state);
    const CoordinatorHolder holder = HolderOf(state);
    if (answering && answering->pid != pid && !is_momentary) {
      // If the lock names no holder, a momentary one may have answered and ended, unless ours ended
      // because of it.
      const bool is_named = holder.pid == answering->pid;
      const bool has_gone = !is_named && (holder.pid != 0 || !exited);
      if (holder.is_momentary || has_gone) answering.reset();
    }
    if (answering) {
      if (answering->pid != pid) {
        if (!exited) EndProcess(pid);
        answering->pid = 0;
      }
      answering->log_begin = log_begin;
      return *answering;
    }
    if (!exited) {
      ASSIGN_OR_RETURN(exited, WaitFor(pid, 0));
    }
    const bool was_ended = exited && (WasKilled(*exited) || exited->code == 0);
    if (was_ended && !is_momentary) {
      return Status(Code::kUnavailable,
                    Str("the coordinator (pid ", pid, ") ", HowEnded(*exited, log, log_begin),
                        " while it started (its log: ", log, ")"));
    }
    if (exited && !CoordinatorRuns(state)) {
      const std::string error = LastError(log, log_begin);
      return Status(CodeOfExit(exited->code),
                    Str("the coordinator did not start: ",
                        error.empty() ? Str("it ", HowEnded(*exited, log, log_begin)) : error,
                        " (its log: ", log, ")"));
    }
    waits_for_command = !is_momentary && !exited && holder.is_momentary && CoordinatorRuns(state);
    if (waits_for_command) patience.NoteWork(BootMs());
    const bool has_started = !waits_for_command && HasWrittenAddress(state);
    if (!patience.Lasts(BootMs(), ProcessBusyTicks(exited ? holder.pid : pid), has_started)) break;
    SayWhyItWaits(patience, state, holder, waits_for_command);
    const std::int64_t poll_ms = waits_for_command ? kLookMs : kPollMs;
    Pause(++n_looks < kQuickLooks ? kQuickPollMs : poll_ms);
  }
  const Status gives_up = NobodyAnswers(state, patience);  // while ours is still named there
  if (!exited) {
    kill(pid, SIGKILL);
    ASSIGN_OR_RETURN(exited, WaitFor(pid, kStopMs));
  }
  if (is_cancelled()) {
    return Status(Code::kCancelled, "interrupted before the coordinator had started");
  }
  return gives_up;
}

// If a coordinator cannot start, the cause is usually its folder: the error then names the folder's
// problem, not the statement that failed. The coordinator's own error already names a limit and the
// file, if its log could grow.
Result<Answering> StartCoordinatorProgram(const std::string& state, const DaemonOptions& options,
                                          bool is_momentary,
                                          const std::function<bool()>& is_cancelled) {
  const std::string log = JoinPath(state, "coordinator.log");
  const std::int64_t log_begin = BytesOf(log);
  Result<Answering> answering = StartAndWait(state, options, is_momentary, is_cancelled);
  if (answering.ok() || answering.status().code() == Code::kCancelled) return answering;
  const bool is_limit = answering.status().code() == Code::kResourceExhausted;
  const bool is_named = is_limit && !LastError(log, log_begin).empty();
  const int error_number = is_named ? 0 : WriteErrno(state);
  if (error_number == 0) {
    return is_limit ? Status(Code::kFailedPrecondition, answering.status().message()) : answering;
  }
  const WriteProblem problem = DescribeWriteErrno(error_number, state);
  const bool is_denied = error_number == EACCES || error_number == EPERM;
  return Status(is_denied ? Code::kPermissionDenied : Code::kFailedPrecondition,
                Str("the coordinator cannot start: ", problem.found, "; ", problem.remedy));
}

// After our coordinator stopped answering: the error with which it ended by itself, since it would
// end the same way again. Ok if it runs, was asked to stop, or was killed. Sets `pid` to 0 if it
// has ended.
Status EndOfCoordinator(int& pid, const std::string& log, std::int64_t log_begin) {
  constexpr std::int64_t kEndMs = 1'000;  // between its last byte to us and its end
  if (pid <= 0) return Status();
  const Result<std::optional<ExitInfo>> exited = WaitFor(pid, kEndMs);
  if (exited.ok() && !exited->has_value()) return Status();
  pid = 0;
  if (!exited.ok()) return Status();
  const bool is_failure =
      (*exited)->signal != 0 ? IsCrash((*exited)->signal) : (*exited)->code != 0;
  if (!is_failure) return Status();
  return Status(
      Code::kFailedPrecondition,
      Str("the coordinator ", HowEnded(**exited, log, log_begin), " (its log: ", log, ")"));
}

void Say(const std::string& line) {
  if (!line.empty()) SayLine(line);
}

bool DiskIsFull(const std::string& state) {
  const int error_number = WriteErrno(state);
  return error_number == ENOSPC || error_number == EDQUOT;
}

// Whether no coordinator has ever used the folder, which may not exist. A folder that lost its
// database still has the database's id.
bool HasNoDatabase(const std::string& state) {
  if (IsAbsent(state)) return true;
  return IsFolder(state) && IsAbsent(JoinPath(state, "longrun.db")) &&
         IsAbsent(JoinPath(state, "database.id"));
}

std::string ServiceLockPath(const std::string& state) { return JoinPath(state, "service.lock"); }

// Other commands look at the lock by taking it for a moment, so the first try may fail.
std::optional<FileLock> TakeServiceLock(const std::string& state) {
  constexpr int kTries = 50;
  for (int i = 0; i < kTries; ++i) {
    Result<FileLock> lock = FileLock::Acquire(ServiceLockPath(state), "the state folder's service");
    if (lock.ok()) return std::move(lock).value();
    Pause(kQuickPollMs);
  }
  return std::nullopt;  // another service is just ending: ours only goes unannounced
}

// After the death of a coordinator under a living `run` or `up`: waits until it is started again,
// or a command's coordinator holds the folder. Whether one of them is there.
bool AwaitRestart(const std::string& state) {
  const std::int64_t begin = BootMs();
  bool is_told = false;
  while (ServiceIsKept(state) && BootMs() - begin < kRestartMs) {
    if (CoordinatorRuns(state)) return true;
    if (!is_told && BootMs() - begin >= kWonderMs) {
      is_told = true;
      SayLine("the coordinator has ended and is being started again; this command waits for it");
    }
    Pause(kPollMs);
  }
  return CoordinatorRuns(state);
}

}  // namespace

bool CoordinatorRuns(const std::string& state) {
  return IsContext(state) || FileLock::IsHeld(CoordinatorLockPath(state));
}

bool ServiceIsKept(const std::string& state) {
  return !IsContext(state) && FileLock::IsHeld(ServiceLockPath(state));
}

Status AwaitService(const std::string& state) {
  StartPatience patience(BootMs());
  ServicePatience service(BootMs());
  std::int64_t waited_ms = kRestartMs;
  while (!ServiceRuns(state) && ServiceIsKept(state)) {
    if (!AwaitRestart(state)) break;
    const CoordinatorHolder holder = HolderOf(state);
    if (!service.Lasts(BootMs(), holder.is_momentary ? holder.pid : 0)) {
      waited_ms = ServicePatience::kOthersMsMax;
      break;
    }
    if (holder.is_momentary) SayWhyItWaits(patience, state, holder, /*waits_for_command=*/true);
    Pause(kPollMs);
  }
  if (ServiceRuns(state) || !ServiceIsKept(state)) return Status();
  return Status(Code::kUnavailable,
                Str("`longrun up` or `longrun run` keeps a service on ", state,
                    ", and has not started its coordinator again within ", waited_ms / 1000,
                    " s: see what it says in its terminal, whether somebody stopped it (Ctrl-Z, or "
                    "SIGSTOP), and the log ",
                    JoinPath(state, "coordinator.log")));
}

bool IsOfACommand(const std::string& state) {
  return CoordinatorRuns(state) && HolderOf(state).is_momentary;
}

bool ServiceRuns(const std::string& state) {
  return CoordinatorRuns(state) && !HolderOf(state).is_momentary;
}

Result<std::string> StateFolder(const std::string& given) {
  std::string folder = given;
  if (folder.empty()) folder = GetEnv("LONGRUN_HOME").value_or("");
  if (!folder.empty()) return AbsolutePath(folder);
  ASSIGN_OR_RETURN(const std::string data, DataHome());
  if (data.empty()) {
    return Status(Code::kInvalidArgument,
                  "no state folder: give --state, or set LONGRUN_HOME or HOME");
  }
  return AbsolutePath(JoinPath(data, "longrun"));
}

Result<std::unique_ptr<Coordinator>> Coordinator::ReachOverNetwork(const std::string& context) {
  ASSIGN_OR_RETURN(const Destination destination, DestinationOf(context));
  std::unique_ptr<Coordinator> coordinator(new Coordinator());
  coordinator->connection_ = std::make_unique<CoordinatorConnection>(destination);
  coordinator->connection_->WhenLost([destination] { return WhyNotReached(destination); });
  return coordinator;
}

Result<std::unique_ptr<Coordinator>> Coordinator::Reach(const std::string& state) {
  RETURN_IF_ERROR(RoomForConnections());
  if (IsContext(state)) return ReachOverNetwork(state);
  RETURN_IF_ERROR(MakeFolders(state, 0700).In("making the state folder"));
  std::unique_ptr<Coordinator> coordinator(new Coordinator());
  const std::int64_t deadline = BootMs() + kReachMs;
  while (true) {
    const Status reached = coordinator->ReachOnce(state);
    if (reached.ok()) return coordinator;
    // Another command's coordinator was there, and has ended with its command.
    if (reached.code() != Code::kUnavailable || BootMs() >= deadline) return reached;
  }
}

Result<std::unique_ptr<Coordinator>> Coordinator::ReachToRead(const std::string& state) {
  if (CoordinatorRuns(state) || !HasNoDatabase(state)) return Reach(state);
  static std::once_flag is_said;
  std::call_once(is_said, [&state] {
    SayLine(Str("there is nothing in ", state,
                ": no sweep, dataset or model was ever stored there; --state FOLDER or "
                "LONGRUN_HOME names another folder"));
  });
  auto empty = std::make_unique<TempFolder>();
  ASSIGN_OR_RETURN(std::unique_ptr<Coordinator> coordinator, Reach(empty->path()));
  coordinator->empty_ = std::move(empty);
  return coordinator;
}

// kUnavailable if another coordinator took the folder and has ended.
Status Coordinator::ReachOnce(const std::string& state) {
  StartPatience patience(BootMs());
  // The coordinator that holds the folder may be starting or ending.
  while (CoordinatorRuns(state) || AwaitRestart(state)) {
    const CoordinatorHolder holder = HolderOf(state);
    if (!patience.Lasts(BootMs(), ProcessBusyTicks(holder.pid), HasWrittenAddress(state))) {
      if (patience.StartedLongAgo(BootMs())) return NobodyAnswers(state, patience);
      break;
    }
    if (const std::optional<Answering> answering = WhoAnswers(state)) {
      connection_ = std::make_unique<CoordinatorConnection>(answering->address);
      is_momentary_ = answering->is_momentary;
      return Status();
    }
    SayWhyItWaits(patience, state, holder, /*waits_for_command=*/false);
    Pause(kPollMs);
  }
  ASSIGN_OR_RETURN(const Answering started,
                   StartCoordinatorProgram(state, {}, true, [] { return false; }));
  connection_ = std::make_unique<CoordinatorConnection>(started.address);
  is_momentary_ = started.is_momentary;
  if (started.pid == 0) return Status();
  pid_ = started.pid;
  connection_->WhenLost([this, state, log_begin = started.log_begin] {
    return EndOfCoordinator(pid_, JoinPath(state, "coordinator.log"), log_begin);
  });
  return Status();
}

Coordinator::~Coordinator() {
  connection_.reset();
  EndProcess(pid_);
}

Daemons::Daemons(std::string state, DaemonOptions options)
    : state_(std::move(state)),
      options_(std::move(options)),
      coordinator_{.name = "coordinator", .log = JoinPath(state_, "coordinator.log")},
      worker_{.name = "worker", .log = JoinPath(state_, "worker.log")} {}

Result<std::unique_ptr<Daemons>> Daemons::Start(const std::string& state,
                                                const DaemonOptions& options,
                                                const std::function<bool()>& is_interrupted) {
  RETURN_IF_ERROR(RoomForConnections());
  RETURN_IF_ERROR(MakeFolders(state, 0700).In("making the state folder"));
  std::unique_ptr<Daemons> daemons(new Daemons(state, options));
  SayIfCopied(state);
  if (const Status status = daemons->StartCoordinator(is_interrupted); !status.ok()) {
    const bool is_taken = status.code() == Code::kUnavailable;
    return is_taken ? Status(Code::kFailedPrecondition, status.message()) : status;
  }
  ASSIGN_OR_RETURN(daemons->held_, HeldState::Open(state));
  return daemons;
}

Status Daemons::StartWorking() {
  RETURN_IF_ERROR(StartWorker());
  service_lock_ = TakeServiceLock(state_);
  supervisor_ = StartThread([this] { Supervise(); });
  return {};
}

// kUnavailable if another coordinator has the folder or the address.
Status Daemons::StartCoordinator(const std::function<bool()>& is_cancelled) {
  ASSIGN_OR_RETURN(const Answering started,
                   StartCoordinatorProgram(state_, options_, false, is_cancelled));
  if (started.pid == 0) {
    return {Code::kUnavailable,
            Str("a coordinator runs on ", state_, " already: submit to it with `longrun submit`")};
  }
  coordinator_.pid = started.pid;
  coordinator_.log_begin = started.log_begin;
  coordinator_.policy.Started(BootMs());
  address_ = started.address;
  return {};
}

Status Daemons::StartWorker() {
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-worker"),
                                   "--state",
                                   OwnWorkerFolder(state_),
                                   "--coordinator",
                                   address_,
                                   "--grace-ms",
                                   Str(kTrainerGraceMs)};
  if (options_.cpu_slots > 0) {
    argv.insert(argv.end(), {"--cpu-slots", Str(options_.cpu_slots)});
  }
  worker_.log_begin = BytesOf(worker_.log);
  ASSIGN_OR_RETURN(worker_.pid, SpawnDaemon(std::move(argv), worker_.log));
  worker_.policy.Started(BootMs());
  return {};
}

Status Daemons::WhyLost() {
  if (supervisor_.joinable()) return Check();
  return EndOfCoordinator(coordinator_.pid, coordinator_.log, coordinator_.log_begin);
}

// Restarts a daemon that has died, and ends both in order when asked to stop, or when a restart
// cannot help. PR_SET_PDEATHSIG ends a child with the thread that spawned it, so this thread
// outlives the daemons.
void Daemons::Supervise() {
  const auto start_coordinator = [this] {
    return StartCoordinator([this] { return stopping_.load(); });
  };
  while (!stopping_) {
    Pause(kLookMs);
    // Check the folder first: a daemon that starts without it would make a new one.
    if (!Check().ok()) break;
    if (!stopping_) LookAfter(coordinator_, start_coordinator);
    if (!stopping_ && Check().ok()) LookAfter(worker_, [this] { return StartWorker(); });
  }
  EndProcess(worker_.pid);
  EndProcess(coordinator_.pid);
}

void Daemons::LookAfter(Daemon& daemon, const std::function<Status()>& start) {
  if (daemon.pid > 0) {
    const Result<std::optional<ExitInfo>> exited = WaitFor(daemon.pid, 0);
    if (exited.ok() && !exited->has_value()) {
      if (IsStopped(daemon.pid)) {
        const std::string text = StoppedText(daemon.name, daemon.pid);
        return Say(daemon.notice.While(text, text, BootMs()));
      }
      if (BootMs() - daemon.policy.started_ms() < kRunsAgainMs) return;
      return Say(daemon.notice.Over(Str("the ", daemon.name, " runs again")));
    }
    NoteEnd(daemon, std::exchange(daemon.pid, 0), exited.ok() ? **exited : ExitInfo{});
  }
  if (!daemon.policy.IsDue(BootMs())) return;
  const Status started = start();
  if (!started.ok() && started.code() != Code::kCancelled) NoteFailedStart(daemon, started);
}

void Daemons::NoteEnd(Daemon& daemon, int pid, const ExitInfo& exited) {
  const bool is_coordinator = &daemon == &coordinator_;
  const std::string how = HowEnded(exited, daemon.log, daemon.log_begin);
  auto end = RestartPolicy::End::kMayPass;
  if (exited.signal != 0) {
    // A daemon that crashes while it starts would do so at each start.
    const bool has_run = BootMs() - daemon.policy.started_ms() >= kRunsAgainMs;
    if (IsCrash(exited.signal) && !has_run) end = RestartPolicy::End::kRefused;
  } else if (exited.code != 0) {
    const bool may_pass = is_coordinator ? exited.code == kExitTaken || exited.code == kExitStorage
                                         : exited.code == kExitWorkerTaken;
    if (!may_pass && !DiskIsFull(state_)) end = RestartPolicy::End::kRefused;
    // Each start would find the same damage, until somebody repairs the folder.
    if (exited.code == kExitDamaged) end = RestartPolicy::End::kForGood;
  }
  daemon.policy.Ended(end, BootMs());
  if (daemon.policy.gives_up()) {
    return GiveUp(Str("the ", daemon.name, " ", how, " (its log: ", daemon.log, ")"));
  }
  // An obstacle that lasts is told once; each kill is told.
  const bool lasts = exited.code != 0;
  Say(daemon.notice.While(
      lasts ? how : Str(how, " ", pid),
      Str("the ", daemon.name, " (pid ", pid, ") ", how, "; it is started again"), BootMs()));
}

void Daemons::NoteFailedStart(Daemon& daemon, const Status& why) {
  const bool may_pass = why.code() == Code::kUnavailable || why.code() == Code::kDeadlineExceeded ||
                        DiskIsFull(state_);
  daemon.policy.Ended(may_pass ? RestartPolicy::End::kMayPass : RestartPolicy::End::kRefused,
                      BootMs());
  if (daemon.policy.gives_up()) return GiveUp(why.message());
  Say(daemon.notice.While(why.message(), Str(why.message(), "; it is tried again until it starts"),
                          BootMs()));
}

void Daemons::GiveUp(const std::string& why) {
  const std::lock_guard lock(mutex_);
  given_up_ = Status(Code::kFailedPrecondition, why);
}

Status Daemons::Check() const {
  RETURN_IF_ERROR(held_->Check());
  const std::lock_guard lock(mutex_);
  return given_up_;
}

void Daemons::Stop() {
  stopping_ = true;
  if (supervisor_.joinable()) {
    supervisor_.join();
    service_lock_.reset();
  } else {
    EndProcess(coordinator_.pid);  // it has no supervisor yet
  }
  coordinator_.pid = 0;
}

Daemons::~Daemons() { Stop(); }

void StopAtInterrupt(Daemons& daemons, const std::string& goes_on) {
  SayLine("stopping: trainers write a checkpoint ...");
  daemons.Stop();
  const Status left = daemons.Check();
  SayLine(Str("stopped; ", left.ok() ? goes_on : left.message()));
}

}  // namespace longrun::client
