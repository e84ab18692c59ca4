// longrun-coordinator: owns all durable state. Crash-only: killing it at any moment and starting it
// again loses nothing.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/end_signals.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/program.h"
#include "base/str.h"
#include "base/units.h"
#include "base/usage_problem.h"
#include "base/user_folders.h"
#include "base/version.h"
#include "coordinator/access.h"
#include "coordinator/rpc/health_check.h"
#include "coordinator/server.h"
#include "coordinator/store/backup.h"
#include "coordinator/store/deep_check.h"
#include "coordinator/store/query_process.h"
#include "coordinator/store/restore.h"
#include "proto/grpc_log.h"

namespace longrun::coordinator {
namespace {

Status Check(const ServerOptions& options) {
  const SchedulerLimits& limits = options.limits;
  if (limits.heartbeat_ms >= limits.suspect_ms || limits.suspect_ms >= limits.lease_ms) {
    return Status(Code::kInvalidArgument,
                  Str("--heartbeat-ms ", limits.heartbeat_ms, ", --suspect-ms ", limits.suspect_ms,
                      " and --lease-ms ", limits.lease_ms,
                      " must be in ascending order: a worker becomes suspect only after missed "
                      "heartbeats, and lost only after it is suspect"));
  }
  if (limits.back_off.base_ms > limits.back_off.limit_ms) {
    return Status(
        Code::kInvalidArgument,
        Str("--back-off-base-ms ", limits.back_off.base_ms, " is more than --back-off-limit-ms ",
            limits.back_off.limit_ms, ": the first wait must not be longer than the limit"));
  }
  return Status();
}

// --state, else $LONGRUN_HOME, else $XDG_DATA_HOME/longrun.
Result<std::string> StateFolder(const std::string& folder, bool is_given) {
  if (!folder.empty()) return AbsolutePath(folder);
  std::string data;
  if (!is_given) {
    ASSIGN_OR_RETURN(data, DataHome());
  }
  if (data.empty()) {
    return Status(Code::kInvalidArgument,
                  "no state folder: give --state FOLDER, or set LONGRUN_HOME");
  }
  return AbsolutePath(JoinPath(data, "longrun"));
}

// A command calls its coordinator over the socket. The ports that the environment names belong to a
// service, which may even be that of another state folder.
void KeepToTheSocket(ServerOptions& options) {
  std::erase_if(options.listen,
                [](const std::string& place) { return !place.starts_with("unix:"); });
  options.metrics.clear();
}

void PrintLine(const Json& line) { WriteOutput(CanonicalJson(line) + "\n"); }

int NotChecked(const Status& status) {
  std::fprintf(stderr, "longrun-coordinator: %s\n", status.message().c_str());
  switch (status.code()) {
    case Code::kNotFound:
      return kExitConfiguration;
    case Code::kPermissionDenied:
      return kExitNoPermission;
    case Code::kUnavailable:
      return kExitTaken;
    case Code::kResourceExhausted:
      return kExitStorage;
    case Code::kFailedPrecondition:
      return kExitSoftware;
    default:
      return kExitDamaged;
  }
}

// Runs for `longrun doctor --deep` and `--repair`.
int PrintDeepCheck(const std::string& state_folder, bool repairs) {
  if (repairs) {
    const auto repaired = RepairDatabase(state_folder);
    if (!repaired.ok()) return NotChecked(repaired.status());
    for (const std::string& what : *repaired) PrintLine({{"repaired", what}});
  }
  const Result<DeepCheck> found = CheckDeep(state_folder);
  if (!found.ok()) return NotChecked(found.status());
  for (const DamagedObject& one : found->damaged) {
    PrintLine({{"object", one.object}, {"remedy", one.remedy}});
  }
  for (const auto& [name, folder] : found->datasets)
    PrintLine({{"dataset", name}, {"folder", folder}});
  PrintLine({{"rows", found->n_rows}, {"files", found->n_files}});
  return found->damaged.empty() ? 0 : kExitDamaged;
}

// What `longrun admin` asks for; the names are those of its verbs.
struct AdminOptions {
  std::string backup, restore, check;  // files; "" if not asked for
  bool checks_state = false;
  bool no_artifacts = false;
  bool with_keys = false;
  bool replaces = false;
  bool is_asked() const {
    return !backup.empty() || !restore.empty() || !check.empty() || checks_state;
  }
};

void PrintFound(const DeepCheck& found) {
  for (const DamagedObject& one : found.damaged) {
    PrintLine({{"object", one.object}, {"remedy", one.remedy}});
  }
}

Json AccessJson(std::string_view kind, const std::string& id, const std::string& what) {
  return {{"kind", kind}, {"id", id}, {"what", ToUtf8(what)}};
}

std::string_view KindOf(const TokenRow& token) {
  return token.role == kWorkerRole ? "join token" : "token";
}

// Access that ended after the backup, and stays ended.
Json EndedJson(const AccessSince& access) {
  Json ended = Json::array();
  for (const TokenRow& token : access.tokens_ended) {
    ended.push_back(AccessJson(KindOf(token), token.id,
                               token.IsUsed()       ? Str("used by ", token.ended_by)
                               : token.note.empty() ? "revoked"
                                                    : Str("\"", token.note, "\", revoked")));
  }
  for (const WorkerCertificateRow& one : access.workers_revoked) {
    ended.push_back(AccessJson("worker", one.worker, "its certificate was revoked"));
  }
  for (const WorkerCertificateRow& one : access.workers_replaced) {
    ended.push_back(AccessJson("worker", one.worker, "the key before it joined again"));
  }
  return ended;
}

// Access that is valid, although nothing says that it was not revoked after the backup.
Json UnknownJson(const AccessSince& access) {
  Json unknown = Json::array();
  for (const TokenRow& token : access.tokens_unknown) {
    unknown.push_back(AccessJson(KindOf(token), token.id, token.note));
  }
  for (const std::string& worker : access.workers_unknown) {
    unknown.push_back(AccessJson("worker", worker, ""));
  }
  return unknown;
}

Status Restore(const AdminOptions& admin, const std::string& state) {
  ASSIGN_OR_RETURN(
      const Restored restored,
      RestoreBackup({.state_folder = state, .path = admin.restore, .replaces = admin.replaces}));
  Json missing = Json::array();
  for (const auto& [name, folder] : restored.datasets_missing) {
    missing.push_back({{"name", name}, {"folder", ToUtf8(folder)}});
  }
  PrintLine({{"facts", restored.facts},
             {"restore_count", restored.restore_count},
             {"files_new", restored.n_files_new},
             {"moved_to", restored.moved_to},
             {"replaced_is_read", restored.replaced_is_read},
             {"sweeps_since", restored.sweeps_since},
             {"attempts_since", restored.n_attempts_since},
             {"workers", restored.workers},
             {"workers_to_join", restored.access.workers_to_join},
             {"access_ended", EndedJson(restored.access)},
             {"access_unknown", UnknownJson(restored.access)},
             {"attempts_live", restored.n_attempts_live},
             {"datasets_missing", std::move(missing)},
             {"artifacts_missing", restored.n_artifacts_missing},
             {"keys", restored.keys},
             {"names", restored.names},
             {"members", restored.members}});
  return Status();
}

// One line {"facts"} or that of Restore(), after a line for each damaged object; or {"code",
// "message"}, which is also on stderr.
int Administer(const AdminOptions& admin, const std::string& state) {
  Status status;
  bool is_damaged = false;
  if (!admin.restore.empty()) {
    status = Restore(admin, state);
  } else {
    const Result<CheckedState> checked = !admin.backup.empty()
                                             ? WriteBackup({.state_folder = state,
                                                            .path = admin.backup,
                                                            .with_artifacts = !admin.no_artifacts,
                                                            .with_keys = admin.with_keys,
                                                            .replaces = admin.replaces})
                                         : !admin.check.empty() ? CheckBackup(admin.check)
                                                                : CheckState(state);
    status = checked.status();
    if (checked.ok()) {
      PrintFound(checked->found);
      PrintLine({{"facts", checked->facts},
                 {"rows", checked->found.n_rows},
                 {"files", checked->found.n_files}});
      is_damaged = !checked->found.damaged.empty();
    }
  }
  if (status.ok()) return is_damaged ? kExitDamaged : 0;
  PrintLine({{"code", static_cast<int>(status.code())}, {"message", status.message()}});
  return NotChecked(status);
}

// Each connection takes a descriptor: those of hundreds of workers and callers are more than the
// soft limit of a shell. A server that lacks one for a moment ends (grpc_log.cc).
void RaiseFileLimit() {
  constexpr rlim_t kEnough = 1 << 16;
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min(limit.rlim_max, kEnough);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    LogWarning("file_limit_not_raised", {{"error", ErrnoStatus(errno, "setrlimit").message()}});
  }
}

// "64Mi" -> "67108864"; what is no size stays, and the check that follows refuses it. "4096B"
// stays, too: for a count, B is a billion, but here it looks like bytes.
std::string SizeToBytes(std::string& text) {
  const Result<std::int64_t> n_bytes = ParseCount(text);
  if (n_bytes.ok() && !text.ends_with('B')) text = Str(*n_bytes);
  return "";
}

int Main(int argc, char** argv) {
  ServerOptions options;
  CLI::App app{
      "The coordinator of longrun: accepts sweeps, schedules their tasks onto workers, keeps "
      "every result.\nIt stops cleanly at SIGTERM, and it is safe to kill at any time.",
      "longrun-coordinator"};
  const std::string version = Str("longrun-coordinator ", kVersion, " (", BuildCommit(), ")");
  app.set_version_flag("--version", version);
  app.add_option("--state", options.state_folder,
                 "folder of the database, artifacts and socket (default: $XDG_DATA_HOME/longrun, "
                 "else ~/.local/share/longrun)")
      ->envname("LONGRUN_HOME");
  app.add_option(
         "--listen", options.listen,
         "HOST:PORT for other machines, with TLS (0.0.0.0:PORT: every address of this one), or "
         "unix:PATH of the socket (default: coordinator.sock in the state folder); give it "
         "twice for both")
      ->envname("LONGRUN_LISTEN");
  app.add_option("--metrics", options.metrics,
                 "loopback address of the metrics page; port 0: any free port")
      ->envname("LONGRUN_METRICS")
      ->capture_default_str();
  const auto add_ms = [&](const char* flag, std::int64_t& ms, const char* help,
                          const char* variable) {
    app.add_option(flag, ms, help)
        ->envname(variable)
        ->check(WholeNumberCheck(1))  // first: CLI11 says of a word that it is not in the range
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{86'400'000}))
        ->capture_default_str();
  };
  add_ms("--heartbeat-ms", options.limits.heartbeat_ms, "time between two heartbeats of a worker",
         "LONGRUN_HEARTBEAT_MS");
  add_ms("--suspect-ms", options.limits.suspect_ms,
         "a worker that is silent this long gets no new work", "LONGRUN_SUSPECT_MS");
  add_ms("--lease-ms", options.limits.lease_ms,
         "the tasks of a worker that is silent this long are given to other workers",
         "LONGRUN_LEASE_MS");
  add_ms("--offer-ms", options.limits.offer_ms,
         "time in which a worker must accept the offer of a task", "LONGRUN_OFFER_MS");
  add_ms(
      "--stop-grace-ms", options.limits.stop_grace_ms,
      "time that a trainer has to write a checkpoint, from the request to stop until it is killed",
      "LONGRUN_STOP_GRACE_MS");
  add_ms("--back-off-base-ms", options.limits.back_off.base_ms,
         "a failed task waits about this long before it is tried again, and twice as long after "
         "each further failure",
         "LONGRUN_BACK_OFF_BASE_MS");
  add_ms("--back-off-limit-ms", options.limits.back_off.limit_ms,
         "a failed task never waits longer than this", "LONGRUN_BACK_OFF_LIMIT_MS");
  add_ms("--connection-idle-ms", options.connection_idle_ms,
         "a connection without a call in progress is closed after this long",
         "LONGRUN_CONNECTION_IDLE_MS");
  const CLI::Validator size(&SizeToBytes, "");
  app.add_option("--owner-tasks-max", options.limits.owner_tasks_max,
                 "how many tasks the sweeps of one owner may have together")
      ->envname("LONGRUN_OWNER_TASKS_MAX")
      ->check(WholeNumberCheck(1), "POSITIVE")
      ->capture_default_str();
  app.add_option(
         "--disk-low-water", options.disk_low_water_bytes,
         "disk to keep free, such as 64Mi; with less, the coordinator refuses sweeps and uploads")
      ->envname("LONGRUN_DISK_LOW_WATER")
      ->transform(size)
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  app.add_option("--unused-upload-bytes", options.unused_upload_bytes,
                 "bytes that one person may have sent from another machine and that nothing uses "
                 "yet; 0: a quarter of the disk of --state")
      ->envname("LONGRUN_UNUSED_UPLOAD_BYTES")
      ->transform(size)
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  app.add_option("--kept-file-bytes", options.kept_file_bytes,
                 "bytes that the files may have together which the sweeps of one person on another "
                 "machine name (such as questions); 0: a quarter of the disk of --state")
      ->envname("LONGRUN_KEPT_FILE_BYTES")
      ->transform(size)
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  app.add_option("--registered-bytes", options.registered_bytes,
                 "bytes that the datasets and models may have together which one person has sent "
                 "from another machine; 0: a quarter of the disk of --state")
      ->envname("LONGRUN_REGISTERED_BYTES")
      ->transform(size)
      ->check(WholeNumberCheck(0), "NONNEGATIVE")
      ->capture_default_str();
  app.add_option(
         "--session-memory-bytes", options.session_memory_bytes,
         "memory that the messages of all worker sessions may take together; beyond it, the "
         "coordinator reads nothing more from workers that take more than their share")
      ->envname("LONGRUN_SESSION_MEMORY_BYTES")
      ->transform(size)
      ->check(WholeNumberCheck(1), "POSITIVE")
      ->capture_default_str();
  app.add_option(
         "--shared-artifacts", options.shared_artifacts,
         "folder, such as one on NFS or Lustre, in which to keep the artifact store, so that "
         "workers with --shared-artifacts read and write artifacts there (default: as at "
         "the last start; at the first one, a folder of the state folder, not shared)")
      ->envname("LONGRUN_SHARED_ARTIFACTS");
  app.add_option(
         "--worker-certificate-ms", options.access.worker_certificate_ms,
         "how long a worker's certificate is valid; the worker renews it after half of that")
      ->envname("LONGRUN_WORKER_CERTIFICATE_MS")
      ->check(WholeNumberCheck(1))
      ->check(CLI::Range(std::int64_t{1'000}, std::int64_t{365 * 86'400'000LL}))
      ->capture_default_str();
  app.add_flag("--momentary", options.is_momentary,
               "serve one command, which ends this coordinator: on the socket only, and without a "
               "metrics page. A coordinator without this flag waits until then");
  bool check = false;
  app.add_flag("--check", check,
               "read everything in the state folder, print damage as lines of JSON, and exit: 0, "
               "or 65 if anything is damaged");
  bool repair = false;
  app.add_flag("--repair", repair,
               "repair the database as far as possible, however large it is (a start repairs only "
               "databases of up to 16 MiB), then do the same as --check");
  AdminOptions admin;
  app.add_option("--backup", admin.backup,
                 "write a backup of the state folder to this file, also beside a running "
                 "coordinator, and exit (`longrun admin backup`)");
  app.add_flag("--no-artifacts", admin.no_artifacts, "--backup: leave out artifacts/");
  app.add_flag("--with-keys", admin.with_keys, "--backup: include the keys in pki/");
  app.add_option("--restore", admin.restore,
                 "restore a backup into the state folder, and exit (`longrun admin restore`)");
  app.add_flag("--replace", admin.replaces,
               "--backup: replace the file; --restore: move the state folder's database aside");
  app.add_option("--check-backup", admin.check,
                 "read and check a backup, and exit (`longrun admin check`)");
  app.add_flag("--check-state", admin.checks_state,
               "do the same as --check, and print what the state folder contains");
  bool checks_health = false;
  app.add_flag(
      "--check-health", checks_health,
      "ask the coordinator of the state folder whether it serves, and exit: 0, or 69 if it "
      "does not; for the probes of a container");
  bool answers_query = false;  // a child of a coordinator, for nobody else
  app.add_flag(kAnswerQueryFlag, answers_query)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportUsage(app, error, {argv + 1, argv + argc});
  }
  if (answers_query) return AnswerQuery();
  Status status = Check(options);
  if (status.ok()) {
    const Result<std::string> state = StateFolder(options.state_folder, app.count("--state") > 0);
    status = state.status();
    if (state.ok()) options.state_folder = *state;
  }
  if (!status.ok()) {
    std::fprintf(stderr, "longrun-coordinator: %s\n", status.message().c_str());
    return status.code() == Code::kInvalidArgument ? kExitBadUsage : kExitConfiguration;
  }
  if (options.is_momentary) KeepToTheSocket(options);
  umask(0077);
  if (checks_health) {
    status = CheckHealth(options.state_folder);
    return status.ok() ? 0 : NotChecked(status);
  }
  if (check || repair) return PrintDeepCheck(options.state_folder, repair);
  if (admin.is_asked()) return Administer(admin, options.state_folder);
  signal(SIGPIPE, SIG_IGN);
  RaiseFileLimit();
  LogGrpcErrors();
  // Blocked before any thread starts, so that one place can wait for them.
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return RunServer(options);
}

}  // namespace
}  // namespace longrun::coordinator

int main(int argc, char** argv) {
  return longrun::RunMain("longrun-coordinator", longrun::coordinator::Main, argc, argv);
}
