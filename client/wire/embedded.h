// The daemons of a local state folder, from the command line's side.
//
//   STATE/                     0700
//     coordinator.address      address of the running, or last, coordinator
//     coordinator.lock         held by a running one; has its pid (sweeps/coordinator_lock.h)
//     coordinator.log worker.log
//     service.lock             held by `run` or `up` while it restarts daemons that die
//     worker/                  the worker's own folder (`run` and `up` start one)
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/files.h"
#include "base/process.h"
#include "base/status.h"
#include "client/wire/connection.h"
#include "client/wire/held_state.h"
#include "client/wire/lasting_notice.h"
#include "client/wire/restart_policy.h"

namespace longrun::client {

// A connection to a coordinator: the one that runs on the state folder, or a momentary one that
// ends with this object.
class Coordinator {
 public:
  // `state`: a state folder, or a context's folder (context.h).
  static Result<std::unique_ptr<Coordinator>> Reach(const std::string& state);
  // For commands that only read. Makes no database in a folder that has none: a notice says so, and
  // the answers are those of an empty database.
  static Result<std::unique_ptr<Coordinator>> ReachToRead(const std::string& state);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  CoordinatorConnection& connection() { return *connection_; }
  // Whether no service runs: it ends with this command, or with another one that started it.
  bool momentary() const { return is_momentary_; }

 private:
  Coordinator() = default;
  static Result<std::unique_ptr<Coordinator>> ReachOverNetwork(const std::string& context);
  Status ReachOnce(const std::string& state);

  std::unique_ptr<TempFolder> empty_;  // in place of a folder without a database
  std::unique_ptr<CoordinatorConnection> connection_;
  int pid_ = 0;  // if this object started it, and will end it
  bool is_momentary_ = false;
};

struct DaemonOptions {
  std::int64_t cpu_slots = 0;  // 0: the worker's own default
  std::string metrics = {};    // the coordinator's: "127.0.0.1:9411"; "": any free port
  std::string listen = {};     // the coordinator's, for other machines: "HOST:PORT"; "": nowhere
};

// Called where no service answers: if a `run` or `up` lives that keeps the service of a local state
// folder running, waits until that has started its coordinator again. kUnavailable if this takes
// too long (service_patience.h). Ok if the service runs, or if nobody keeps one.
Status AwaitService(const std::string& state);
// Whether a living `run` or `up` keeps the service of a local state folder running, so that nobody
// else must start daemons there, even if none runs now.
bool ServiceIsKept(const std::string& state);

// A coordinator and a worker that are kept running: like an init system, this restarts one that
// dies (restart_policy.h). Both end when this process does, however it ends.
class Daemons {
 public:
  // Starts only the coordinator, so that sweeps submitted before StartWorking() are known when the
  // first task is placed. Waits for a command that uses the folder, however long it runs, and
  // returns kCancelled once `is_interrupted`.
  static Result<std::unique_ptr<Daemons>> Start(const std::string& state,
                                                const DaemonOptions& options,
                                                const std::function<bool()>& is_interrupted);
  // Starts the worker too, and supervises both from now on. Called once.
  Status StartWorking();
  ~Daemons();  // Stop()
  Daemons(const Daemons&) = delete;
  Daemons& operator=(const Daemons&) = delete;

  // kFailedPrecondition, with the reason and the remedy, once the daemons cannot continue: the
  // state folder is gone, or one of them refuses to run. May be called from any thread.
  Status Check() const;

  // Called after a request that got no answer. Returns why the coordinator ended, or ok if the
  // request can be sent again.
  Status WhyLost();

  // Stops the worker first: its trainers write a checkpoint, and the rest of their journals is
  // stored. Then stops the coordinator. Blocks until both have ended.
  void Stop();

 private:
  struct Daemon {
    std::string name;
    std::string log;
    int pid = 0;                 // 0: not running
    std::int64_t log_begin = 0;  // length of its log when it was started
    RestartPolicy policy = {};
    LastingNotice notice = {};
  };

  Daemons(std::string state, DaemonOptions options);
  Status StartCoordinator(const std::function<bool()>& is_cancelled);
  Status StartWorker();
  void Supervise();
  void LookAfter(Daemon& daemon, const std::function<Status()>& start);
  void NoteEnd(Daemon& daemon, int pid, const ExitInfo& exited);
  void NoteFailedStart(Daemon& daemon, const Status& why);
  void GiveUp(const std::string& why);

  std::string state_;
  DaemonOptions options_;
  std::string address_;  // the coordinator's; a restart keeps it
  std::optional<HeldState> held_;
  std::optional<FileLock> service_lock_;  // while the supervisor runs
  std::atomic<bool> stopping_{false};
  // Only for the supervisor thread, once it runs:
  Daemon coordinator_;
  Daemon worker_;
  std::thread supervisor_;

  mutable std::mutex mutex_;  // guards the one below
  Status given_up_;
};

// Stops the daemons after Ctrl-C and says so on stderr, followed by `goes_on`, or by the reason why
// nothing can be continued.
void StopAtInterrupt(Daemons& daemons, const std::string& goes_on);

// True while a coordinator holds the state folder; of a context, whose coordinator is elsewhere,
// always.
bool CoordinatorRuns(const std::string& state);
// Whether it is the momentary one of a command, and so no service.
bool IsOfACommand(const std::string& state);
// Whether a service runs: not only the coordinator of a command.
bool ServiceRuns(const std::string& state);

// --state, else $LONGRUN_HOME, else $XDG_DATA_HOME/longrun, else ~/.local/share/longrun.
Result<std::string> StateFolder(const std::string& given);

}  // namespace longrun::client
