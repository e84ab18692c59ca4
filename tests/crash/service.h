// A service of a test's own: a coordinator and a worker as real processes on a folder of the test's
// own, with leases and back-offs short enough that nothing is waited for.
//
//   FOLDER/state/            the coordinator's, and the client's --state
//   FOLDER/state/worker/     the worker's
//   FOLDER/fates/            what the next trainers meet (Fate of storm_test.cc);
//                            `trainer` starts them
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/journal_json.h"

namespace longrun {

// A process that stands still at a failpoint (SIGSTOP).
bool IsStopped(int pid);

struct TrainerProcess {
  int pid = 0;
  std::string attempt_folder;
};

struct SweepSize {
  std::int64_t steps = 0;
  std::vector<std::string> positions = {"cable", "rope"};
  bool encoder = false;  // a masked language model, scored by pseudo-perplexity
  bool tuned = false;    // a rotary model, and its fine-tuning at positions of PoSE
};
// Words of a small vocabulary, some much more frequent than others: there is something to learn.
std::string WordSalad(std::uint64_t seed, std::size_t n_bytes);
// A model that learns to spell a little: a step takes milliseconds.
std::string SmallSweep(const std::string& name, const SweepSize& size);
constexpr std::int64_t kSmallSweepBatchTokens = 256;

class Service {
 public:
  explicit Service(std::string folder);
  ~Service();  // SIGKILL for whatever is left
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  std::string At(const std::string& name) const { return folder_ + "/" + name; }
  std::string state() const { return At("state"); }

  // Text of a seed, made here: 200 KB to train on, 20 KB held out; registered as dataset "words".
  void ImportWords();
  void WriteSweep(const std::string& name, const SweepSize& size);  // FOLDER/NAME.yaml

  // Until the coordinator answers, or the worker is welcomed; see Ready().
  void Start();
  void SpawnCoordinator(const std::string& failpoints = "",
                        const std::vector<std::string>& more_arguments = {});
  void SpawnWorker(const std::string& failpoints = "");
  bool CoordinatorIsReady() const;
  bool WorkerIsReady() const;
  int coordinator() const { return coordinator_; }
  int worker() const { return worker_; }
  void KillCoordinator() { Kill(coordinator_); }
  void KillWorker() { Kill(worker_); }
  // SIGTERM to the worker, then to the coordinator: their exit codes.
  std::pair<int, int> Stop();

  // `longrun --state STATE ARGUMENTS...`; its standard output goes to `output`.
  int Client(std::vector<std::string> arguments, std::string* output = nullptr);
  // The same, not waited for.
  int SpawnClient(std::vector<std::string> arguments, const std::string& failpoints = "");
  // PENDING, RUNNING, SUCCEEDED ..., or "" when the coordinator does not answer.
  std::string SweepState(const std::string& name);
  std::string Table(const std::string& name);  // NumbersOf `longrun table NAME -o json`
  // A table in JSON without the ids of attempts, which are history.
  static std::string NumbersOf(const std::string& table);

  std::vector<TrainerProcess> Trainers() const;
  // Every process whose command line names this folder.
  std::vector<int> Processes() const;
  // What a trainer has written so far.
  static std::vector<JsonRecord> Journal(const std::string& attempt_folder);
  std::vector<std::string> AttemptFolders() const;
  // The last lines of the daemons' logs, for a message.
  std::string Logs() const;

 private:
  static void Kill(int& pid);
  std::vector<std::string> Environment(const std::string& failpoints) const;

  std::string folder_;
  int coordinator_ = 0;
  int worker_ = 0;
  int n_workers_ = 0;  // started so far: each has a log of its own
};

// One value of the database of a service that has ended, or runs.
std::string Query(const Service& service, const std::string& sql);

}  // namespace longrun
