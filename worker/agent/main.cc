// longrun-worker: one per machine.
//
//   longrun-worker --state FOLDER --coordinator unix:PATH [...]   the daemon
//   longrun-worker --state FOLDER --coordinator HOST:PORT --join FILE --ca-fingerprint HEX [...]
//   longrun-worker exec ATTEMPT_DIR TRAINER                       the shim (exec.h)
//   longrun-worker gc --folder FOLDER [--dry-run]                 makes room (garbage.h)
//
// SIGTERM, SIGINT and SIGHUP (but not with nohup) stop it and its trainers, which write a
// checkpoint; kill -9 leaves trainers running for the next worker on the folder. Exit codes: 0; 64
// usage; 65 its folder is damaged; 71 a limit on file size or open files; 74 a disk or memory; 75
// the folder or an address is in use, or the coordinator cannot let it join now; 77 permission; 78
// configuration; 70 anything else.
#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "base/access.h"
#include "base/end_signals.h"
#include "base/log.h"
#include "base/process.h"
#include "base/program.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/units.h"
#include "base/usage_problem.h"
#include "base/version.h"
#include "proto/grpc_log.h"
#include "worker/agent/agent.h"
#include "worker/agent/exec.h"
#include "worker/agent/garbage.h"

namespace longrun::agent {
namespace {

int ExitCodeOf(const Status& status) {
  switch (status.code()) {
    case Code::kDataLoss:
      return kExitDamaged;
    case Code::kUnavailable:
      return kExitWorkerTaken;
    case Code::kInvalidArgument:
      return kExitBadUsage;
    case Code::kFailedPrecondition:
    case Code::kNotFound:
    case Code::kAlreadyExists:
      return kExitConfiguration;
    case Code::kPermissionDenied:
      return kExitNoPermission;
    case Code::kResourceExhausted:
      return IsProcessLimit(status) ? kExitLimit : kExitStorage;
    default:
      return kExitSoftware;
  }
}

int RunDaemon(const AgentOptions& options) {
  // Blocked before any thread starts, so that only the waiting thread gets them. SIGUSR1 is ours,
  // sent when the agent has ended.
  sigset_t signals = EndSignals();
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  LogGrpcErrors();
  Result<std::unique_ptr<Agent>> agent = Agent::Create(options);
  if (!agent) {
    const Status status = NamingDenied(agent.status(), options.state);
    LogError("worker_not_started", {{"error", status.message()}});
    return ExitCodeOf(status);
  }
  std::thread waiter = StartThread([&] {
    for (int signal = 0; sigwait(&signals, &signal) == 0 && signal != SIGUSR1;) {
      (*agent)->RequestStop();
    }
  });
  const Status status = (*agent)->Run();
  pthread_kill(waiter.native_handle(), SIGUSR1);
  waiter.join();
  if (!status.ok()) LogError("worker_failed", {{"error", status.message()}});
  // Nothing is left to write, and destroying the metrics server takes up to 2 s.
  std::_Exit(status.ok() ? 0 : ExitCodeOf(status));
}

constexpr std::int64_t kAllocationEndMaxS = 253'402'300'799;  // the end of the year 9999

int Main(int argc, char** argv) {
  CLI::App app("longrun-worker: starts trainers on this machine's devices", "longrun-worker");
  app.set_version_flag("--version", Str("longrun-worker ", kVersion, " (", BuildCommit(), ")"));
  AgentOptions options;
  options.program = JoinPath(ProgramFolder(), "longrun-worker");
  options.trainer = JoinPath(ProgramFolder(), "longrun-trainer");
  app.add_option("--state", options.state, "folder of this worker; created if it does not exist")
      ->envname("LONGRUN_WORKER_STATE");
  app.add_option("--coordinator", options.coordinator,
                 "unix:PATH of the coordinator's socket, or HOST:PORT on another machine")
      ->envname("LONGRUN_WORKER_COORDINATOR");
  app.add_option("--join", options.join.token_file,
                 "file with a join token (longrun admin join-token create), or a folder of such "
                 "files, each for one worker; used once, when this worker joins a coordinator on "
                 "another machine")
      ->envname("LONGRUN_WORKER_JOIN");
  app.add_option("--ca-fingerprint", options.join.ca_fingerprint,
                 "SHA-256 of that coordinator's authority (longrun admin pki show)")
      ->envname("LONGRUN_WORKER_CA_FINGERPRINT");
  app.add_option(
      "--id", options.worker_id,
      "name for a new worker, which its folder then keeps (default: made from the host's name)");
  std::vector<std::string> labels;
  app.add_option("--label", labels, "KEY=VALUE, shown by `longrun workers`; may be repeated");
  app.add_option("--cpu-slots", options.cpu_slots,
                 "run this many trainers at once on the CPU, and use no GPU (0: use the GPUs; "
                 "without any, one trainer per core)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--trainer", options.trainer, "program that runs the tasks")
      ->envname("LONGRUN_WORKER_TRAINER")
      ->capture_default_str();
  app.add_option("--metrics", options.metrics,
                 "loopback address of the metrics page; port 0: any free port")
      ->envname("LONGRUN_WORKER_METRICS")
      ->capture_default_str();
  app.add_option("--grace-ms", options.grace_ms,
                 "time for trainers to write a checkpoint when the worker is stopped")
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  app.add_option("--disk-free-bytes-min", options.disk_free_bytes_min,
                 "start no trainer while fewer bytes of disk are free")
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  app.add_option("--retain-ms", options.retain_ms,
                 "how long to keep the folder of an attempt after its end")
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  app.add_option("--retain-bytes-max", options.retain_bytes_max,
                 "largest total size of such folders; the oldest are removed first")
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  std::string cache_bytes;
  app.add_option("--cache-bytes", cache_bytes,
                 "largest size of the cache of fetched datasets, checkpoints and files, such as "
                 "200G or 64Gi; the least recently used are removed first (default: a quarter of "
                 "the disk of --state)")
      ->envname("LONGRUN_WORKER_CACHE_BYTES");

  TemporaryOptions temporary;
  std::optional<std::string> idle_exit;
  std::optional<std::int64_t> allocation_end_s;
  app.add_option("--idle-exit", idle_exit,
                 "leave after so long without a task, such as 5min; the coordinator then forgets "
                 "this worker (default: stay)");
  app.add_option("--allocation-end", allocation_end_s,
                 "when a batch system takes this machine away, in seconds since 1970; trainers "
                 "write a checkpoint and stop twice --grace-ms before it (default: never)")
      ->check(WholeNumberCheck(0), "NONNEGATIVE");
  app.add_option("--job", temporary.job,
                 "the job that this worker is, such as \"slurm 1234\"; shown by `longrun workers`");
  app.add_option("--shared-artifacts", options.shared_artifacts,
                 "this machine's path to the folder that the coordinator got as "
                 "--shared-artifacts: artifacts are read and written there instead of sent")
      ->envname("LONGRUN_WORKER_SHARED_ARTIFACTS");

  std::string garbage_folder;
  bool dry_run = false;
  CLI::App* const gc = app.add_subcommand(
      "gc", "remove data that is no longer needed from a stopped worker's folder");
  gc->add_option("--folder", garbage_folder, "folder of the worker")->required();
  gc->add_flag("--dry-run", dry_run, "only list what would be removed");
  std::string attempt_dir, trainer;
  CLI::App* const exec =
      app.add_subcommand("exec", "runs the shim of one attempt; started by the worker");
  exec->add_option("attempt_dir", attempt_dir, "folder of the attempt")->required();
  exec->add_option("trainer", trainer, "program that runs the task")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportUsage(app, error, {argv + 1, argv + argc});
  }
  if (gc->parsed()) {
    const Result<Json> collected = CollectWorkerGarbage(garbage_folder, dry_run);
    if (collected.ok()) {
      std::cout << CanonicalJson(*collected) << "\n";
      return 0;
    }
    std::cerr << "longrun-worker: " << collected.status().message() << "\n";
    return ExitCodeOf(collected.status());
  }
  if (exec->parsed()) return ExecAttempt(attempt_dir, trainer);
  if (options.state.empty() || options.coordinator.empty()) {
    std::cerr
        << "longrun-worker: --state FOLDER and --coordinator unix:PATH or HOST:PORT are required\n";
    return kExitBadUsage;
  }
  for (const std::string& label : labels) {
    const std::size_t equals = label.find('=');
    const std::string key = label.substr(0, equals);
    if (equals == std::string::npos || !IsSafeName(key)) {
      std::cerr << "longrun-worker: --label \"" << label
                << "\": expected KEY=VALUE, with letters, digits, '.', '_' and '-' in KEY\n";
      return kExitBadUsage;
    }
    options.labels[key] = label.substr(equals + 1);
  }
  if (idle_exit) {
    const Result<std::int64_t> idle_exit_ms = ParseDurationMs(*idle_exit);
    if (!idle_exit_ms.ok()) {
      std::cerr << "longrun-worker: --idle-exit: " << idle_exit_ms.status().message() << "\n";
      return kExitBadUsage;
    }
    temporary.idle_exit_ms = *idle_exit_ms;
  }
  if (allocation_end_s) {
    temporary.end_wall_ms = std::min(*allocation_end_s, kAllocationEndMaxS) * 1000;
  }
  if (idle_exit || allocation_end_s || !temporary.job.empty()) options.temporary = temporary;
  if (!cache_bytes.empty()) {
    const Result<std::int64_t> n_bytes = ParseCount(cache_bytes);
    if (!n_bytes.ok() || *n_bytes < 1) {
      std::cerr << "longrun-worker: --cache-bytes \"" << cache_bytes
                << "\": expected a size such as 200G or 64Gi\n";
      return kExitBadUsage;
    }
    options.cache_bytes = *n_bytes;
  }
  return RunDaemon(options);
}

}  // namespace
}  // namespace longrun::agent

int main(int argc, char** argv) {
  return longrun::RunMain("longrun-worker", longrun::agent::Main, argc, argv);
}
