#include "client/embedded.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "base/user_folders.h"
#include "client/writable.h"

namespace longrun {
namespace {

constexpr std::int64_t kStartMs = 30'000;  // a coordinator answers by then, or has failed
// For the checkpoint of a large model on a slow disk: a step that is lost is done again.
constexpr std::int64_t kTrainerGraceMs = 60'000;
constexpr std::int64_t kStopMs = kTrainerGraceMs + 30'000;
constexpr std::int64_t kPollMs = 20;
constexpr std::int64_t kLogTailBytes = 2'000;
constexpr std::int64_t kRestartsMax = 1'000;  // of one daemon, in one life of ours
constexpr std::int64_t kRestartPauseMs = 200;
constexpr int kExitTaken = 69;  // of a coordinator: folder or address are somebody else's now

void Pause(std::int64_t ms) { poll(nullptr, 0, static_cast<int>(ms)); }

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> env;
  for (char** entry = environ; *entry != nullptr; ++entry) env.emplace_back(*entry);
  return env;
}

// Daemons have a process group of their own (Ctrl-C is for us: we stop them in order), and end when
// we do.
Result<int> SpawnDaemon(std::vector<std::string> argv, const std::string& log) {
  return Spawn({.argv = std::move(argv),
                .env = OwnEnvironment(),
                .stdout_path = log,
                .stderr_path = log,
                .own_group = true,
                .die_with_parent = true});
}

std::string LogTail(const std::string& path) {
  const Result<std::string> text = ReadFile(path);
  if (!text.ok()) return "";
  const std::size_t keep = std::min<std::size_t>(text->size(), kLogTailBytes);
  return text->substr(text->size() - keep);
}

// The last error that a daemon logged, for the message of the one who started it: what stands in
// `error="..."`, or else its last line.
std::string LastError(const std::string& log) {
  constexpr std::string_view kField = " error=\"";
  std::string last;
  for (const std::string& line : Split(LogTail(log), '\n')) {
    if (!Trim(line).empty()) last = line;
  }
  const std::size_t at = last.find(kField);
  if (at == std::string::npos) return last;
  std::string error;
  for (std::size_t i = at + kField.size(); i < last.size() && last[i] != '"'; ++i) {
    if (last[i] == '\\' && i + 1 < last.size()) ++i;
    error += last[i];
  }
  return error;
}

Result<std::string> RunningAddress(const std::string& state) {
  Result<std::string> address = ReadFile(JoinPath(state, "coordinator.address"), 4096);
  if (!address.ok()) return std::move(address).status();
  return std::string(Trim(*address));
}

struct Answering {
  int pid = 0;
  std::string address;
};

// Who answers at the address that the state folder names. An address that a crash left behind answers
// nothing.
std::optional<Answering> WhoAnswers(const std::string& state) {
  const Result<std::string> address = RunningAddress(state);
  if (!address.ok()) return std::nullopt;
  Connection connection(*address);
  const Result<Json> info = connection.Call("GetServerInfo", Json::object(), 2'000);
  if (!info.ok()) return std::nullopt;
  return Answering{.pid = info->at("pid").get<int>(), .address = *address};
}

// SIGTERM, then SIGKILL when it does not go. One that was waited for already gets neither: its pid may
// be anybody's by now.
void EndProcess(int pid) {
  if (pid <= 0) return;
  const auto gone = [pid](std::int64_t timeout_ms) {
    const Result<std::optional<ExitInfo>> exited = WaitFor(pid, timeout_ms);
    return !exited.ok() || exited->has_value();  // an error: it is no child of ours any more
  };
  if (gone(0)) return;
  kill(pid, SIGTERM);
  if (gone(kStopMs)) return;
  kill(pid, SIGKILL);
  static_cast<void>(WaitFor(pid, kStopMs).ok());
}

// Starts a coordinator and waits until it answers. When another one takes the folder in the same
// moment, ours ends and that one is used: then pid is 0.
Result<Answering> StartAndWait(const std::string& state, const std::string& metrics) {
  const std::string log = JoinPath(state, "coordinator.log");
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-coordinator"), "--state",
                                   state};
  if (!metrics.empty()) argv.insert(argv.end(), {"--metrics", metrics});
  ASSIGN_OR_RETURN(const int pid, SpawnDaemon(std::move(argv), log));
  const std::int64_t deadline = BootMs() + kStartMs;
  // Once ours has been waited for, its pid may be anybody's.
  std::optional<ExitInfo> exited;
  while (BootMs() < deadline) {
    if (std::optional<Answering> answering = WhoAnswers(state)) {
      if (answering->pid != pid) {
        if (!exited) EndProcess(pid);
        answering->pid = 0;
      }
      return *answering;
    }
    if (!exited) {
      ASSIGN_OR_RETURN(exited, WaitFor(pid, 0));
    }
    if (exited && !CoordinatorRuns(state)) {
      return Status(
          exited->code == kExitTaken ? Code::kUnavailable : Code::kFailedPrecondition,
          Str("the coordinator did not start: ", LastError(log), " (its log: ", log, ")"));
    }
    Pause(kPollMs);
  }
  if (!exited) {
    kill(pid, SIGKILL);
    ASSIGN_OR_RETURN(exited, WaitFor(pid, kStopMs));
  }
  return Status(Code::kDeadlineExceeded,
                Str("the coordinator did not answer within ", kStartMs / 1000, " s; see ", log));
}

// What keeps a coordinator from starting is most often its folder: then that is told, and not in what
// statement it noticed.
Result<Answering> StartCoordinatorProgram(const std::string& state, const std::string& metrics) {
  Result<Answering> answering = StartAndWait(state, metrics);
  if (answering.ok()) return answering;
  const int error_number = WriteErrno(state);
  if (error_number == 0) return answering;
  const WriteProblem problem = DescribeWriteErrno(error_number, state);
  return Status(Code::kFailedPrecondition,
                Str("the coordinator cannot start: ", problem.found, "; ", problem.remedy));
}

void LogRestart(std::string_view daemon, const Status& started) {
  if (started.ok()) {
    std::fprintf(stderr, "the %s had ended and was started again\n", std::string(daemon).c_str());
  } else {
    std::fprintf(stderr, "the %s had ended and does not start again: %s\n",
                 std::string(daemon).c_str(), started.message().c_str());
  }
}

}  // namespace

bool CoordinatorRuns(const std::string& state) {
  return FileLock::IsHeld(JoinPath(state, "coordinator.lock"));
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

Result<std::unique_ptr<Coordinator>> Coordinator::Reach(const std::string& state) {
  RETURN_IF_ERROR(MakeFolders(state, 0700).In("making the state folder"));
  std::unique_ptr<Coordinator> coordinator(new Coordinator());
  const std::int64_t deadline = BootMs() + kStartMs;
  // One that holds the folder may be on its way up, or on its way out.
  while (CoordinatorRuns(state) && BootMs() < deadline) {
    if (const std::optional<Answering> answering = WhoAnswers(state)) {
      coordinator->connection_ = std::make_unique<Connection>(answering->address);
      return coordinator;
    }
    Pause(kPollMs);
  }
  ASSIGN_OR_RETURN(const Answering started, StartCoordinatorProgram(state, ""));
  coordinator->pid_ = started.pid;
  coordinator->connection_ = std::make_unique<Connection>(started.address);
  return coordinator;
}

Coordinator::~Coordinator() {
  connection_.reset();
  EndProcess(pid_);
}

Result<std::unique_ptr<Daemons>> Daemons::Start(const std::string& state,
                                                const DaemonOptions& options) {
  RETURN_IF_ERROR(MakeFolders(state, 0700).In("making the state folder"));
  std::unique_ptr<Daemons> daemons(new Daemons(state, options));
  RETURN_IF_ERROR(daemons->StartCoordinator());
  return daemons;
}

Status Daemons::StartWorking() {
  RETURN_IF_ERROR(StartWorker());
  supervisor_ = std::thread([this] { Supervise(); });
  return {};
}

Status Daemons::StartCoordinator() {
  Result<Answering> answering = StartCoordinatorProgram(state_, options_.metrics);
  if (answering.status().code() == Code::kUnavailable) {
    return {Code::kFailedPrecondition, answering.status().message()};
  }
  ASSIGN_OR_RETURN(const Answering started, std::move(answering));
  if (started.pid == 0) {
    return {Code::kFailedPrecondition,
            Str("another coordinator runs on ", state_, " already; use `longrun submit` with it")};
  }
  coordinator_pid_ = started.pid;
  address_ = started.address;
  return {};
}

Status Daemons::StartWorker() {
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-worker"),
                                   "--state",
                                   JoinPath(state_, "worker"),
                                   "--coordinator",
                                   address_,
                                   "--grace-ms",
                                   Str(kTrainerGraceMs)};
  if (options_.cpu_slots > 0) {
    argv.insert(argv.end(), {"--cpu-slots", Str(options_.cpu_slots)});
  }
  ASSIGN_OR_RETURN(const int pid, SpawnDaemon(std::move(argv), JoinPath(state_, "worker.log")));
  worker_pid_ = pid;
  return {};
}

// Starts again what has died, and ends both in order when asked to stop. PR_SET_PDEATHSIG is tied to
// the thread that spawned, so this thread outlives whatever it has started.
void Daemons::Supervise() {
  const auto gone = [](int pid) {
    const Result<std::optional<ExitInfo>> exited = WaitFor(pid, 0);
    return !exited.ok() || exited->has_value();
  };
  std::int64_t restarts = 0;
  while (!stopping_) {
    Pause(kRestartPauseMs);
    if (restarts > kRestartsMax) continue;
    // A start that fails leaves the old pid, so it is tried again in the next round.
    if (!stopping_ && gone(coordinator_pid_)) {
      ++restarts;
      LogRestart("coordinator", StartCoordinator());
    }
    if (!stopping_ && gone(worker_pid_)) {
      ++restarts;
      LogRestart("worker", StartWorker());
    }
  }
  EndProcess(worker_pid_);
  EndProcess(coordinator_pid_);
}

void Daemons::Stop() {
  stopping_ = true;
  if (supervisor_.joinable()) {
    supervisor_.join();
  } else {
    EndProcess(coordinator_pid_);  // nobody has watched over it yet
  }
  coordinator_pid_ = 0;
}

Daemons::~Daemons() { Stop(); }

}  // namespace longrun
