// A real Slurm of the test's own: munged, slurmctld and a slurmd for each node, as processes of the
// test in namespaces of network, mounts and processes. So ports never clash, and nothing outlives
// the test. It needs Debian's packages slurmctld, slurmd, slurm-client and munge.
//
//   node   partitions        two GPUs (that are not there) and four processors each
//   n1     main, one
//   n2     main, low, high   jobs of `high` preempt those of `low`, which are requeued
//   n3     dead              never starts
#pragma once

#include <string>
#include <vector>

namespace longrun {

// Calls `body` in namespaces of its own: the program runs itself again there. Where that is not
// possible, says why, and returns 1.
int RunInNamespaces(int argc, char** argv, int (*body)(int, char**));

// Jobs of Slurm's queue.
struct ClusterJob {
  std::string id;
  std::string state;  // "RUNNING"
  std::string node;   // "" while it waits
  std::string name;
};

class SlurmCluster {
 public:
  explicit SlurmCluster(std::string folder);
  ~SlurmCluster();
  SlurmCluster(const SlurmCluster&) = delete;
  SlurmCluster& operator=(const SlurmCluster&) = delete;

  // Until all nodes but n3 are idle.
  void Start();
  // What a program needs that submits jobs.
  std::vector<std::string> Environment() const;

  // A command of Slurm, such as {"scancel", "7"}; what it printed.
  std::string Run(const std::vector<std::string>& argv) const;
  // Jobs whose name begins so, and that wait, run or are ending.
  std::vector<ClusterJob> Jobs(const std::string& prefix = "longrun-") const;
  std::string Logs() const;

 private:
  void Spawn(const std::vector<std::string>& argv);

  std::string folder_;
  std::vector<int> pids_;
};

// Looks five times a second until `condition` holds; false when it does not within `limit_ms`.
bool Await(long limit_ms, bool (*condition)(void*), void* argument);
template <typename Condition>
bool Await(long limit_ms, Condition condition) {
  return Await(
      limit_ms, [](void* argument) { return (*static_cast<Condition*>(argument))(); }, &condition);
}

}  // namespace longrun
