// The daemons of a local state folder, as seen from the command line.
//
//   STATE/                     0700
//     coordinator.address      "unix:/..." of the coordinator that runs, or ran last
//     coordinator.lock         held by it; its pid, and "momentary" in a second line of one for one command
//     coordinator.log worker.log
//     worker/                  the worker's own folder (`run` and `up` start one)
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/process.h"
#include "base/status.h"
#include "client/connection.h"
#include "client/held_state.h"
#include "client/lasting_notice.h"
#include "client/restart_policy.h"

namespace longrun {

// A coordinator to talk to: the one that runs on the state folder, or one started for the moment and
// ended with this object.
class Coordinator {
 public:
  static Result<std::unique_ptr<Coordinator>> Reach(const std::string& state);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  Connection& connection() { return *connection_; }
  // It was started by this object and goes with it.
  bool momentary() const { return pid_ > 0; }

 private:
  Coordinator() = default;
  Status ReachOnce(const std::string& state);

  std::unique_ptr<Connection> connection_;
  int pid_ = 0;
};

struct DaemonOptions {
  std::int64_t cpu_slots = 0;  // 0: the worker's own default
  std::string metrics = {};    // of the coordinator: "127.0.0.1:9411"; "": a port of its choice
};

// A coordinator and a worker, kept running: one that dies is started again, as an init system would
// (restart_policy.h). Both end when this process does, however it ends.
class Daemons {
 public:
  // The coordinator alone: what is submitted to it before StartWorking() is known before the first
  // task is placed.
  static Result<std::unique_ptr<Daemons>> Start(const std::string& state,
                                                const DaemonOptions& options);
  // The worker too, and both are watched over from now on. Called once.
  Status StartWorking();
  ~Daemons();  // Stop()
  Daemons(const Daemons&) = delete;
  Daemons& operator=(const Daemons&) = delete;

  // kFailedPrecondition, with the reason and what to do, once nothing more can come of them: the state
  // folder is gone, or one refuses to run. Any thread.
  Status Check() const;

  // Before StartWorking(), when a question got no answer: why the coordinator has ended by itself; ok when
  // another can be asked.
  Status WhyLost();

  // The worker first: its trainers write a checkpoint, the rest of their journals is stored; then
  // the coordinator. Blocks until both are gone.
  void Stop();

 private:
  struct Daemon {
    std::string name;
    std::string log;
    int pid = 0;                 // 0: it does not run
    std::int64_t log_begin = 0;  // how long its log was when it was started
    RestartPolicy policy = {};
    LastingNotice notice = {};
  };

  Daemons(std::string state, DaemonOptions options);
  Status StartCoordinator();
  Status StartWorker();
  void Supervise();
  void LookAfter(Daemon& daemon, Status (Daemons::*start)());
  void NoteEnd(Daemon& daemon, const ExitInfo& exited);
  void NoteFailedStart(Daemon& daemon, const Status& why);
  void GiveUp(const std::string& why);

  std::string state_;
  DaemonOptions options_;
  std::string address_;  // of the coordinator; a restart keeps it
  std::optional<HeldState> held_;
  std::atomic<bool> stopping_{false};
  // The supervisor's, from its start on:
  Daemon coordinator_;
  Daemon worker_;
  std::thread supervisor_;

  mutable std::mutex mutex_;  // guards the one below
  Status given_up_;
};

// What Ctrl-C makes of them, told on stderr: `goes_on` where something is left to go on from, else why
// there is not.
void StopAtInterrupt(Daemons& daemons, const std::string& goes_on);

// True while a coordinator holds the state folder.
bool CoordinatorRuns(const std::string& state);

// --state, else $LONGRUN_HOME, else $XDG_DATA_HOME/longrun, else ~/.local/share/longrun.
Result<std::string> StateFolder(const std::string& given);

}  // namespace longrun
