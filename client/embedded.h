// The daemons of a local state folder, as seen from the command line.
//
//   STATE/                     0700
//     coordinator.address      "unix:/..." of the coordinator that runs, or ran last
//     coordinator.lock         held by it
//     coordinator.log worker.log
//     worker/                  the worker's own folder (`run` and `up` start one)
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "base/status.h"
#include "client/connection.h"

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
  std::unique_ptr<Connection> connection_;
  int pid_ = 0;
};

struct DaemonOptions {
  std::int64_t cpu_slots = 0;  // 0: the worker's own default
  std::string metrics = {};    // of the coordinator: "127.0.0.1:9411"; "": a port of its choice
};

// A coordinator and a worker, kept running: one that dies is started again, as an init system would.
// Both end when this process does, however it ends.
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

  // The worker first: its trainers write a checkpoint, the rest of their journals is stored; then
  // the coordinator. Blocks until both are gone.
  void Stop();

 private:
  Daemons(std::string state, DaemonOptions options)
      : state_(std::move(state)), options_(std::move(options)) {}
  Status StartCoordinator();
  Status StartWorker();
  void Supervise();

  std::string state_;
  DaemonOptions options_;
  std::string address_;  // of the coordinator; a restart keeps it
  std::atomic<bool> stopping_{false};
  // The supervisor's, from its start on:
  int coordinator_pid_ = 0;
  int worker_pid_ = 0;
  std::thread supervisor_;
};

// True while a coordinator holds the state folder.
bool CoordinatorRuns(const std::string& state);

// --state, else $LONGRUN_HOME, else $XDG_DATA_HOME/longrun, else ~/.local/share/longrun.
Result<std::string> StateFolder(const std::string& given);

}  // namespace longrun
