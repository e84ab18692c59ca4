// Threads for slow work: parsing, reading the database, bytes of artifacts.
// gRPC's own threads only hand work over.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "coordinator/store/reader.h"

namespace longrun::coordinator {

class Store;

class Executor {
 public:
  using Job = std::function<void(StoreReader& reader)>;

  // Each thread has its own reading connection to the database of `store`,
  // which must outlive the executor.
  static Result<std::unique_ptr<Executor>> Start(const Store& store, int n_threads,
                                                 std::size_t jobs_max);
  ~Executor();  // Stop()

  // Returns false if too much is queued or the executor has stopped: then the job will not run. Its
  // reader knows the damage that the store knows, and has none of an earlier job for TakeDamaged().
  bool Post(Job job);
  // Runs the queued jobs and ends the threads.
  void Stop();

 private:
  Executor(const Store& store, std::size_t jobs_max) : store_(store), jobs_max_(jobs_max) {}
  void Run(StoreReader& reader);

  const Store& store_;
  const std::size_t jobs_max_;
  std::vector<std::unique_ptr<StoreReader>> readers_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;  // guards the two below
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::condition_variable posted_;
};

}  // namespace longrun::coordinator
