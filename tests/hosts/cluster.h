// A coordinator and its workers, each on a host of its own (host.h), with a proxy of the test in
// front of each worker (proxy.h); and a laptop. Everything goes over TLS, with certificates and
// tokens, as docs/security.md describes it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/host_port.h"
#include "tests/hosts/host.h"
#include "tests/hosts/proxy.h"

namespace longrun {

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

struct ClusterOptions {
  std::uint64_t seed = 1;
  std::vector<std::string> coordinator = {};  // further options
  std::vector<std::string> worker = {};
  std::vector<std::string> worker_env = {};  // "NAME=value": its trainers have it, too
  std::int64_t coordinator_disk_bytes = std::int64_t{1} << 30;
  std::int64_t worker_disk_bytes = std::int64_t{512} << 20;
};

class Cluster {
 public:
  struct Worker {
    std::unique_ptr<Host> host;
    std::unique_ptr<Proxy> proxy;
    int pid = 0;      // to wait for
    int n_lives = 0;  // each has a log of its own
    const std::string& name() const { return host->name(); }
  };

  // `folder` is the test's. Every host that this makes is on.
  Cluster(std::string folder, ClusterOptions options);
  ~Cluster();

  // Certificates, the coordinator, and a laptop that is logged in as a submitter.
  void Start();

  Host& coordinator_host() { return *coordinator_host_; }
  Host& laptop() { return *laptop_; }
  void StartCoordinator();  // returns when it serves
  void LaunchCoordinator();
  bool CoordinatorServes();
  std::optional<int> CoordinatorHasEnded();             // by itself: its exit code
  int coordinator_pid() const { return coordinator_; }  // to wait for
  void KillCoordinator();
  int StopCoordinator();  // SIGTERM; its exit code

  // A new host, whose worker joins.
  Worker& AddWorker();
  // Again on its host, with the folder that it has; `rejoins`: with a new join token for its name.
  void StartWorker(Worker& worker, bool rejoins = false);
  void KillWorker(Worker& worker);
  void PowerOff(Worker& worker);                       // its host
  static std::optional<int> HasEnded(Worker& worker);  // by itself: its exit code
  int StopWorker(Worker& worker);
  bool IsWelcomed(const Worker& worker) const;  // in its present life
  std::vector<std::unique_ptr<Worker>>& workers() { return workers_; }
  std::string LogOf(const Worker& worker) const;                        // of all its lives
  std::vector<std::string> AttemptFolders(const Worker& worker) const;  // as the test sees them

  // `longrun ARGUMENTS` of a host, with `input` as its standard input.
  Ran Client(const Host& host, std::vector<std::string> arguments, const std::string& input = "");
  // The same on the coordinator's host, as the user of the service.
  Ran Here(std::vector<std::string> arguments);

  // Of the coordinator's database; "" while it cannot be read.
  std::string Query(const std::string& sql) const;
  std::string SweepState(const std::string& name);
  // All logs, shortened.
  std::string Logs() const;

 private:
  std::string At(const std::string& name) const;
  static void Reap(int& pid);
  static std::optional<int> CodeIfEnded(int& pid);
  static void Signal(const Host& host, const std::string& program, int pid, int number);
  static int Stop(const Host& host, const std::string& program, int& pid);

  const std::string folder_;
  const ClusterOptions options_;
  std::unique_ptr<Host> coordinator_host_;
  std::unique_ptr<Host> laptop_;
  std::unique_ptr<Proxy> laptop_proxy_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::string fingerprint_;
  HostPort place_;
  int coordinator_ = 0;  // to wait for
  int n_clients_ = 0;
  int n_coordinators_ = 0;
  int n_hosts_ = 2;
};

}  // namespace longrun
