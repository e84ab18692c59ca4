// Fills a database with the rows of sweeps that have run: the scheduler decides, the store's writer
// stores, and a worker and trainers are simulated. So each row is one that the coordinator itself
// would have written.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {

// A journal record as a line, in the form that JournalWriter writes.
std::string JournalLine(std::int64_t seq, RecordKind kind, const Json& body, const Json& step);

// A sweep to submit: one run for each of four position methods and each seed, evaluated at each
// length.
struct SweepShape {
  std::string name;
  int first_seed = 1;
  int n_seeds = 1;
  std::vector<int> lengths = {};
  int n_series = 1;  // records of `series` of each training, of two metrics each
};

// The sweep's file.
std::string YamlOf(const SweepShape& shape);

// The journal of an attempt that succeeds, from the first record to the last. `checkpoint_sha256`
// names the manifest, and only file, of a training's checkpoint, which has kCheckpointBytes.
// A training has `n_series` records of `series`.
inline constexpr std::int64_t kCheckpointBytes = 8;
std::vector<BatchRecord> JournalOfSuccess(const TaskFile& task,
                                          const std::string& checkpoint_sha256, int n_series = 1);

// The dataset of these sweeps: registered by name and digest, without files.
DatasetRow BenchDataset();
Worker BenchWorker(int n_slots);

class Filler {
 public:
  explicit Filler(const std::string& folder);
  ~Filler();  // commits
  Filler(const Filler&) = delete;
  Filler& operator=(const Filler&) = delete;

  void Submit(const SweepShape& shape);  // its tasks wait for a worker
  void Connect();                        // connects the worker that Run simulates
  void Run();                            // runs until no task is ready; every task succeeds

  std::int64_t n_results() const { return counts_.result_rows; }
  std::int64_t n_series() const { return counts_.series_rows; }

 private:
  void Do(SchedulerEvent event);
  void Complete(const SendStart& start);
  void CommitWhenFull(std::size_t n_writes_max);

  std::unique_ptr<Store> store_;
  State state_;
  ApplyCounts counts_;
  std::size_t n_writes_ = 0;  // in the open transaction
  std::int64_t n_sweeps_ = 0;
  int n_series_ = 1;  // of each training of the last sweep
  std::deque<SendStart> starts_;
};

}  // namespace longrun::coordinator
