#include "client/doctor/checks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

#include "base/access.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "base/subnormals.h"
#include "base/units.h"
#include "base/user_folders.h"
#include "base/version.h"
#include "client/wire/damage_notice.h"
#include "client/wire/retrying_client.h"
#include "client/wire/writable.h"
#include "model/known_speed.h"
#include "pki/files.h"
#include "sweeps/coordinator_address.h"
#include "sweeps/coordinator_lock.h"
#include "sweeps/worker_folder.h"
#include "sweeps/worker_id.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr std::int64_t kGiB = std::int64_t{1} << 30;
// A trainer of the tiny size with LibTorch loaded takes about 0.5 GiB.
constexpr std::int64_t kMemoryFail = 512 * kMiB;
constexpr std::int64_t kMemoryWarn = 2 * kGiB;
// What the coordinator itself keeps free (--disk-low-water), and room for a few checkpoints.
constexpr std::int64_t kDiskFail = 64 * kMiB;
constexpr std::int64_t kDiskNoWork = 256 * kMiB;  // of a worker (--disk-free-bytes-min)
constexpr std::int64_t kDiskWarn = 2 * kGiB;
// A commit is one or two syncs, and every acknowledged batch is one commit.
constexpr double kSyncWarnMs = 25;
// The coordinator holds a descriptor for each artifact it serves and each session.
constexpr std::int64_t kFilesFail = 256;
constexpr std::int64_t kFilesWarn = 1024;
constexpr std::int64_t kProcessesWarn = 512;
// The write-ahead log of the database alone grows to 16 MiB.
constexpr std::int64_t kFileFail = 64 * kMiB;
constexpr std::int64_t kClockStartMs = 1'735'689'600'000;  // 2025-01-01T00:00:00Z
constexpr std::int64_t kClockSkewMs = 300'000;
constexpr std::int64_t kTrainerMs = 60'000;

Finding Ok(std::string found) { return {.found = std::move(found), .remedy = ""}; }
Finding Warn(std::string found, std::string remedy) {
  return {.verdict = CheckVerdict::kWarn, .found = std::move(found), .remedy = std::move(remedy)};
}
Finding Fail(std::string found, std::string remedy) {
  return {.verdict = CheckVerdict::kFail, .found = std::move(found), .remedy = std::move(remedy)};
}

// ---- programs -----------------------------------------------------------------------------------

// The trainer is linked to LibTorch: that it can show its help shows that all of it can be loaded.
Finding CheckLibTorch(const MachineFacts& machine) {
  const char* const remedy =
      "run `./dev setup`, then build again; or point LONGRUN_WORKER_TRAINER at a trainer that "
      "works";
  if (access(machine.trainer.c_str(), X_OK) != 0) {
    return Fail(Str("the trainer ", machine.trainer, " cannot be run: ", std::strerror(errno)),
                remedy);
  }
  const TempFolder temporary;
  const std::string said = JoinPath(temporary.path(), "said");
  const Result<int> pid = Spawn({.argv = {machine.trainer, "--help"},
                                 .env = {"PATH=/usr/bin:/bin"},
                                 .stderr_path = said,
                                 .die_with_parent = true});
  if (!pid.ok()) return Fail(pid.status().message(), remedy);
  const Result<std::optional<ExitInfo>> exited = WaitFor(*pid, kTrainerMs);
  if (exited.ok() && exited->has_value() && (*exited)->code == 0) {
    return Ok(Str(machine.trainer, " starts, with LibTorch"));
  }
  const Result<std::string> error = ReadFile(said, 4096);
  return Fail(Str(machine.trainer, " does not start: ",
                  error.ok() ? std::string(Trim(*error)) : std::string("no message")),
              remedy);
}

// A program that does not say its version may be one of the user's own.
Finding CheckPrograms(const MachineFacts& machine) {
  const std::string own = Str(kVersion, " (", BuildCommit(), ")");
  std::vector<std::string> others;
  for (const auto& [program, version] : machine.programs) {
    if (!version.empty() && version != own) others.push_back(Str(program, " is ", version));
  }
  if (others.empty()) return Ok(Str("all of version ", own));
  return Warn(Str("longrun is ", own, ", but ", Join(others, ", ")),
              "build all programs from the same sources (`./dev build`), or install all of them "
              "from one release");
}

std::string RateText(const KnownRate& rate) {
  const auto low = static_cast<int>(rate.low), high = static_cast<int>(rate.high);
  return low == high ? Str(low) : Str(low, " to ", high);
}

Json RateJson(const KnownRate& rate) {
  return {{"low", rate.low},
          {"high", rate.high},
          {"date", rate.date.empty() ? Json() : Json(rate.date)}};
}

// "229 to 270 GFLOP/s in fp32 products; 182 to 184 in fp32 attention, forward, 2026-11-21"
std::string KnownSpeedText(const KnownSpeed& known) {
  const auto dated = [](const KnownRate& rate) {
    return rate.date.empty() ? std::string() : Str(", ", rate.date);
  };
  return Str(RateText(known.products), " GFLOP/s in fp32 products", dated(known.products), "; ",
             RateText(known.attention), " in fp32 attention, forward", dated(known.attention));
}

// What a new run takes here, under the names that its record will have,
// and what that is known to reach.
Finding CheckCpu(const MachineFacts& machine) {
  const CpuPaths& paths = machine.cpu_paths;
  const KnownSpeed* const known = FindKnownSpeed(paths);
  const std::string_view subnormals = SubnormalsName(DefaultSubnormals());  // as a new run here
  Finding finding =
      Ok(Str(ProcessorName(paths.cpu), ": instruction set ", paths.simd, ", matrix path ",
             paths.linear, ", subnormal numbers ", subnormals, "; "));
  finding.facts = {{"processor", ProcessorName(paths.cpu)},
                   {"simd", paths.simd},
                   {"linear", paths.linear},
                   {"subnormals", subnormals},
                   {"known_speed", nullptr}};
  if (known == nullptr) {
    finding.found +=
        "its speed was not measured on processors of this make: `./dev bench train --page` in a "
        "checkout of longrun measures it and writes docs/benchmarks.md";
  } else {
    const std::string measured_on = Str(known->make, ", ", known->microarchitecture);
    const bool is_same = known->microarchitecture == MicroarchitectureOf(paths.cpu);
    finding.found += Str(is_same ? "" : "not measured on this processor, but ", "a core of ",
                         measured_on, " reached ", KnownSpeedText(*known));
    finding.facts["known_speed"] = {{"measured_on", measured_on},
                                    {"unit", "GFLOP/s of one core, fp32"},
                                    {"products", RateJson(known->products)},
                                    {"attention_forward", RateJson(known->attention)}};
  }
  if (IsX86(paths.cpu) && paths.simd == "default") {
    finding.verdict = CheckVerdict::kWarn;
    finding.found += "; no AVX2: LibTorch and our kernels use their slower portable code";
    finding.remedy = "train on another machine; on a virtual one, pass the host's CPU through";
  }
  return finding;
}

Finding CheckGpu(const MachineFacts& machine) {
  if (machine.nvidia_gpus && *machine.nvidia_gpus > 0) {
    return Ok(Str("GPUs that the NVIDIA driver shows: ", *machine.nvidia_gpus));
  }
  if (!machine.has_nvidia_device && !machine.nvidia_gpus) {
    return Ok("no NVIDIA GPU: the CPU is used");
  }
  if (machine.nvidia_gpus && *machine.nvidia_gpus < 0) {
    return Fail("the NVIDIA driver's library is installed but does not answer",
                "look at `nvidia-smi` and `dmesg`; library and kernel module may differ: reboot "
                "after a driver update");
  }
  if (machine.nvidia_gpus)
    return Warn("the NVIDIA driver is installed but shows no GPU", "see `nvidia-smi`");
  return Warn("an NVIDIA GPU is present but has no driver: it is not used",
              "install the NVIDIA driver (libnvidia-ml.so.1 must be found)");
}

// ---- resources ----------------------------------------------------------------------------------

Finding CheckMemory(const MachineFacts& machine) {
  const std::string found = Str(FormatBytes(machine.memory_bytes), " available");
  if (machine.memory_bytes < kMemoryFail) {
    return Fail(found,
                "end other programs, or use a machine with more memory: a small trainer "
                "takes 0.5 GiB");
  }
  if (machine.memory_bytes < kMemoryWarn) {
    return Warn(found, "run one trainer at a time: `longrun up --cpu-slots 1`");
  }
  return Ok(found);
}

// Why nothing can be written into the state folder.
Finding CannotWrite(const MachineFacts& machine) {
  WriteProblem problem = DescribeWriteErrno(machine.write_errno, machine.state);
  return Fail(std::move(problem.found), std::move(problem.remedy));
}

Finding CheckDisk(const MachineFacts& machine) {
  const std::string found = Str(FormatBytes(machine.disk_free_bytes), " free at ", machine.state);
  // Also when bytes are free: there may be no more names for files, or no quota.
  if (machine.write_errno == ENOSPC || machine.write_errno == EDQUOT) return CannotWrite(machine);
  if (machine.disk_free_bytes < kDiskFail) {
    return Fail(found,
                "make room (`longrun gc --dry-run` shows what can be removed), or choose another "
                "folder with --state: with less than 64 MiB free, the coordinator accepts no work");
  }
  if (machine.disk_free_bytes < kDiskNoWork) {
    return Fail(found,
                "make room: `longrun gc --dry-run` shows what can be removed; with less than 256 "
                "MiB free, no task starts; all tasks continue by themselves when there is room");
  }
  if (machine.disk_free_bytes < kDiskWarn) {
    return Warn(found, "make room: `longrun gc --dry-run` shows what can be removed");
  }
  return Ok(found);
}

Finding CheckSync(const MachineFacts& machine) {
  if (machine.write_errno != 0) {
    return Warn("not measured: nothing can be written in the state folder",
                DescribeWriteErrno(machine.write_errno, machine.state).remedy);
  }
  if (machine.sync_ms <= 0) return Ok("not measured: the state folder does not exist yet");
  char number[32];
  std::snprintf(number, sizeof number, "%.2f ms", machine.sync_ms);
  const std::string found = Str("a sync of 4 KiB takes ", number);
  if (machine.sync_ms > kSyncWarnMs) {
    return Warn(found,
                "put the state folder on a local SSD: every acknowledged result waits for a "
                "sync");
  }
  return Ok(found);
}

Finding CheckFileSizes(const MachineFacts& machine) {
  const std::string found = Str("size of a file: at most ", FormatBytes(machine.file_bytes));
  const char* const remedy = "raise it: `ulimit -f unlimited`, or LimitFSIZE= of the systemd unit";
  if (machine.file_bytes < kFileFail) return Fail(found, remedy);
  return Warn(Str(found, ": the database and larger checkpoints may not fit"), remedy);
}

Finding CheckLimits(const MachineFacts& machine) {
  const std::string found = Str("open files: ", machine.open_files);
  if (machine.open_files < kFilesFail) {
    return Fail(found, "raise it: `ulimit -n 4096`, or LimitNOFILE= of the systemd unit");
  }
  const bool is_limited = machine.file_bytes < std::numeric_limits<std::int64_t>::max();
  if (is_limited) return CheckFileSizes(machine);
  if (machine.open_files < kFilesWarn) {
    return Warn(found, "raise it: `ulimit -n 4096`, or LimitNOFILE= of the systemd unit");
  }
  if (machine.processes < kProcessesWarn) {
    return Warn(Str("processes and threads of this user: ", machine.processes),
                "raise it: `ulimit -u 4096`, or TasksMax= of the systemd unit");
  }
  return Ok(found);
}

Finding CheckClock(const MachineFacts& machine) {
  const std::string now = FormatWallMs(machine.wall_ms);
  if (machine.wall_ms < kClockStartMs) {
    return Fail(Str("the clock says ", now), "set the clock: `timedatectl set-ntp true`");
  }
  if (machine.newest_file_wall_ms > machine.wall_ms + kClockSkewMs) {
    return Warn(Str("the clock says ", now, ", but the state folder has a file of ",
                    FormatWallMs(machine.newest_file_wall_ms)),
                "the clock went back: set it (`timedatectl set-ntp true`); results are safe, only "
                "displayed times are wrong");
  }
  return Ok(now);
}

Finding CheckEnvironment(const MachineFacts& machine) {
  if (machine.ignored_variables.empty())
    return Ok("no environment variable sets a folder to a relative path");
  return Warn(Str(Join(machine.ignored_variables, ", "),
                  machine.ignored_variables.size() == 1 ? " is a relative path and is ignored"
                                                        : " are relative paths and are ignored",
                  ", as the XDG base directory specification asks"),
              "set it to an absolute path, or unset it; --state and LONGRUN_HOME may be relative");
}

// ---- the state folder ---------------------------------------------------------------------------

Finding CheckFolder(const MachineFacts& machine) {
  struct stat info {};
  if (lstat(machine.state.c_str(), &info) != 0) {
    if (errno == ENOENT && machine.write_errno == 0) {
      return Ok(Str(machine.state, " does not exist yet: it is created when needed"));
    }
    if (errno == ENOENT) {
      WriteProblem problem = DescribeWriteErrno(machine.write_errno, NearestFolder(machine.state));
      return Fail(Str(machine.state, " cannot be made: ", problem.found), problem.remedy);
    }
    return Fail(Str("cannot look at ", machine.state, ": ", std::strerror(errno)),
                "choose another folder with --state or LONGRUN_HOME");
  }
  if (stat(machine.state.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return Fail(Str(machine.state, " is not a folder"),
                "choose another folder with --state or LONGRUN_HOME");
  }
  if (info.st_uid != geteuid()) {
    return Fail(Str(machine.state, " belongs to user ", info.st_uid, ", but longrun runs as user ",
                    geteuid()),
                Str("run as that user, or choose another folder with --state"));
  }
  if (machine.write_errno == EROFS) return CannotWrite(machine);
  if (access(machine.state.c_str(), R_OK | W_OK | X_OK) != 0) {
    return Fail(Str("cannot write to ", machine.state), Str("chmod 700 ", machine.state));
  }
  if ((info.st_mode & 0077) != 0) {
    return Warn(Str(machine.state, " is open to other users"), Str("chmod 700 ", machine.state));
  }
  struct statfs system {};
  constexpr long kNfs = 0x6969;
  constexpr long kCifs = 0xff534d42L;
  if (statfs(machine.state.c_str(), &system) == 0 &&
      (system.f_type == kNfs || system.f_type == kCifs)) {
    return Warn(Str(machine.state, " is on a network file system"),
                "put it on a local disk: SQLite's WAL needs one");
  }
  return Ok(Str(machine.state, " is private to this user"));
}

Finding CheckSocket(const MachineFacts& machine) {
  const std::string path = JoinPath(machine.state, "coordinator.sock");
  if (CheckSocketPath(path).ok()) return Ok(path);
  const bool is_too_long = path.size() > kSocketPathBytesMax;
  const Result<std::string> run_time = RuntimeFolder();
  const std::string place =
      run_time.ok() && !run_time->empty() ? *run_time : GetEnv("TMPDIR").value_or("/tmp");
  return Warn(
      Str(is_too_long ? Str("the state folder's path is too long for a socket (", path.size(),
                            " bytes, at most ", kSocketPathBytesMax, " are possible)")
                      : Str("the state folder's path has a comma, which the path of a socket must "
                            "not have"),
          ": the socket is made under ", place, " instead"),
      Str("give ", is_too_long ? "a shorter --state" : "a --state without commas",
          " if several users share that folder"));
}

// Locks are the kernel's, so a dead process holds none: who holds one must answer.
Finding CheckLocks(const MachineFacts& machine) {
  const bool coordinator = CoordinatorRuns(machine.state);
  const bool worker = FileLock::IsHeld(WorkerLockPath(OwnWorkerFolder(machine.state)));
  if (!coordinator) {
    if (worker) {
      return Warn("a worker is running without a coordinator",
                  "`longrun up` starts one, and its work continues");
    }
    if (PathExists(CoordinatorAddressPath(machine.state))) {
      return Ok("no coordinator is running; the last one was killed, and the next start cleans up");
    }
    return Ok("no coordinator is running");
  }
  const Result<std::string> address = ReadCoordinatorAddress(machine.state);
  if (address.status().code() == Code::kDataLoss) {
    return Fail(address.status().message(), "commands cannot reach the coordinator until then");
  }
  if (!address.ok()) {
    return Warn("a coordinator uses the folder but has no address yet",
                "it is starting: check again; if this remains, see coordinator.log");
  }
  CoordinatorConnection connection{*address};
  const Result<v1::GetServerInfoResponse> info = connection.GetServerInfo(5'000);
  if (!info.ok()) {
    return Fail(Str("a coordinator uses the folder but does not answer: ", info.status().message()),
                Str("find it with `fuser -v ", CoordinatorLockPath(machine.state),
                    "` and end it: it is safe to kill at any time"));
  }
  return Ok(Str("the coordinator with pid ", info->pid(), " answers",
                worker ? ", and a worker runs" : ""));
}

// "runs of which ...: 1f2e3d4c (this build does not know position method "mine"), and 3 more"
std::string UnknownRuns(const Repeated<v1::UnknownRun>& unknown) {
  constexpr std::size_t kShownMax = 5;
  std::vector<std::string> parts;
  for (const v1::UnknownRun& run : unknown) {
    if (parts.size() == kShownMax) {
      parts.push_back(Str("and ", static_cast<std::size_t>(unknown.size()) - kShownMax, " more"));
      break;
    }
    parts.push_back(Str(run.run_key().substr(0, 8), " (", run.why(), ")"));
  }
  return "runs of another build: " + Join(parts, ", ");
}

// A coordinator checks its database when it opens it; one is started if none runs.
Finding CheckDatabase(const MachineFacts& machine) {
  if (!PathExists(JoinPath(machine.state, "longrun.db"))) {
    if (PathExists(JoinPath(machine.state, "database.id"))) {
      return Fail("longrun.db is missing, although this folder had a database",
                  "put it back from a backup; or remove database.id to start over");
    }
    return Ok("none yet");
  }
  const auto cannot_write = [&] {
    const WriteProblem problem = DescribeWriteErrno(machine.write_errno, machine.state);
    return Fail(Str("not checked: ", problem.found),
                Str(problem.remedy, "; there is no sign that the database is damaged"));
  };
  // A coordinator that runs already answers without writing; none can be started.
  if (machine.write_errno != 0 && !CoordinatorRuns(machine.state)) return cannot_write();
  const Result<v1::GetServerInfoResponse> info =
      RetryingClient(machine.state, RetryingClient::NoDatabase::kIsMade).GetServerInfo();
  if (!info.ok()) {
    if (machine.write_errno != 0) return cannot_write();
    if (info.status().code() == Code::kResourceExhausted) {
      return Fail(Str("not checked: ", info.status().message()),
                  "do what the message says; there is no sign that the database is damaged");
    }
    // Nobody looked into the database: that says nothing about it.
    const bool no_answer = info.status().code() == Code::kUnavailable ||
                           info.status().code() == Code::kDeadlineExceeded;
    if (no_answer) {
      return Fail(Str("not checked: ", info.status().message()),
                  Str("see why: `tail ", JoinPath(machine.state, "coordinator.log"), "`"));
    }
    return Fail(
        info.status().message(),
        "do what the message says; if the database is damaged, put its newest backup back, or "
        "begin with another --state");
  }
  const std::string checked = Str("schema ", info->schema_version(), ", start ", info->boot_epoch(),
                                  ", opened and checked");
  if (const std::set<std::string> damaged = DamageNoticed(); !damaged.empty()) {
    return Fail(Str(checked, "; damaged objects: ", damaged.size(),
                    ", the first of them: ", *damaged.begin()),
                "`longrun doctor --deep` lists all that is damaged, each with its remedy");
  }
  const Repeated<v1::UnknownRun>& unknown = info->unknown_runs();
  if (unknown.empty()) return Ok(checked);
  std::int64_t n_waiting = 0;
  for (const v1::UnknownRun& run : unknown) n_waiting += run.tasks_waiting();
  const std::string found = Str(checked, "; ", UnknownRuns(unknown));
  if (n_waiting == 0) return Ok(found);
  return Warn(Str(found, "; tasks waiting for a build that knows these runs: ", n_waiting),
              "use a build that knows what these runs need, or `longrun cancel` their sweeps "
              "(`longrun get RUN` shows them); their results stay readable");
}

// What other machines need. Without these keys, the coordinator works, but opens no port for them.
Finding CheckKeys(const MachineFacts& machine) {
  const PkiPaths paths = PkiPathsOf(machine.state);
  if (!PathExists(paths.folder)) return Ok("none: this folder serves no other machines yet");
  const Status usable = CheckPki(machine.state, machine.wall_ms);
  if (usable.ok()) return Ok(Str("those in ", paths.folder, " belong together and are valid"));
  return Warn("the coordinator cannot listen for other machines", usable.message());
}

Finding CheckWorkerId(const MachineFacts& machine) {
  const std::string path = JoinPath(machine.state, "worker/worker_id");
  const Result<std::string> id = ReadWorkerId(path);
  if (id.ok()) return Ok(Str("its id is ", *id));
  if (id.status().code() == Code::kNotFound) return Ok("no worker has run here yet");
  return Fail(NamingDenied(id.status(), FolderOf(path)).message(), kNoWorkerUntilThen);
}

Finding CheckPorts(const MachineFacts& machine) {
  const std::string text =
      machine.metrics_address.empty() ? "127.0.0.1:0" : machine.metrics_address;
  const std::size_t colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  int port = -1;
  if (colon != std::string::npos) {
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  }
  if (port < 0 || port > 65535 ||
      inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    return Fail(Str("LONGRUN_METRICS=", text, " is not an address"), "expected 127.0.0.1:PORT");
  }
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  const bool free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                    bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                    listen(fd, 1) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (CoordinatorRuns(machine.state)) {
    const Result<std::string> shown = ReadFile(JoinPath(machine.state, "coordinator.metrics"), 256);
    return Ok(shown.ok() ? Str("metrics at http://", Trim(*shown), "/metrics")
                         : Str("metrics: ", text));
  }
  if (free) {
    return Ok(port == 0 ? std::string("metrics: on a free port that the coordinator chooses")
                        : Str("metrics: ", text, " is free"));
  }
  return Fail(Str("cannot listen on ", text, ": ", std::strerror(error)),
              "give another port in LONGRUN_METRICS, or end the program that has it (`ss -ltnp`)");
}

constexpr Check kChecks[] = {
    {.name = "libtorch", .run = &CheckLibTorch}, {.name = "programs", .run = &CheckPrograms},
    {.name = "cpu", .run = &CheckCpu},           {.name = "gpu", .run = &CheckGpu},
    {.name = "memory", .run = &CheckMemory},     {.name = "disk", .run = &CheckDisk},
    {.name = "sync", .run = &CheckSync},         {.name = "limits", .run = &CheckLimits},
    {.name = "clock", .run = &CheckClock},       {.name = "environment", .run = &CheckEnvironment},
    {.name = "state", .run = &CheckFolder},      {.name = "socket", .run = &CheckSocket},
    {.name = "locks", .run = &CheckLocks},       {.name = "database", .run = &CheckDatabase},
    {.name = "keys", .run = &CheckKeys},         {.name = "worker", .run = &CheckWorkerId},
    {.name = "ports", .run = &CheckPorts},
};

}  // namespace

std::string_view VerdictName(CheckVerdict verdict) {
  return verdict == CheckVerdict::kOk ? "ok" : verdict == CheckVerdict::kWarn ? "warn" : "fail";
}

std::span<const Check> Checks() { return kChecks; }

}  // namespace longrun::client
