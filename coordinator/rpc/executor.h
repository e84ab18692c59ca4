// Threads for slow work: parsing, reading the database, transferring bytes of artifacts. gRPC's own
// threads only hand work over.
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
  using Failed = std::function<void(const Status& why)>;

  // Which job runs next: the oldest, or the oldest of the caller whose turn it is. With turns, a
  // caller with many long jobs delays another one's job by at most one of them for each thread.
  enum class Order { kArrival, kTurns };

  // Each thread has its own reading connection to the database of `store`, which must outlive the
  // executor. A thread opens its connection at its first job. Opening takes some milliseconds, and
  // a coordinator that lives for one command needs only one connection. At most `jobs_max` jobs
  // wait; with turns, so many again of callers who have no other job waiting, so that a few callers
  // with many jobs do not keep others out.
  static std::unique_ptr<Executor> Start(const Store& store, int n_threads, std::size_t jobs_max,
                                         Order order = Order::kArrival);
  ~Executor();  // Stop()

  // Returns false if too much is queued or the executor has stopped: then the job will not run. The
  // reader that a job gets knows of all damage that the store knows of. Its TakeDamaged() never
  // returns damage found by an earlier job. If the connection cannot be opened, `failed` runs
  // instead, and the next job tries again. `caller` is used only with turns.
  bool Post(Job job, Failed failed, const std::string& caller = "");
  bool PostWithoutReader(std::function<void()> job);
  // Runs the queued jobs and ends the threads.
  void Stop();
  bool takes_turns() const { return order_ == Order::kTurns; }

 private:
  using Reader = std::unique_ptr<StoreReader>;  // of one thread; null before its first job

  struct Queue {
    std::string caller;
    std::deque<std::function<void(Reader&)>> jobs;
  };

  Executor(const Store& store, std::size_t jobs_max, Order order)
      : store_(store), jobs_max_(jobs_max), order_(order) {}
  bool Add(const std::string& caller, std::function<void(Reader&)> job);
  std::function<void(Reader&)> Take();
  void Run();

  const Store& store_;
  const std::size_t jobs_max_;
  const Order order_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;          // guards the four below
  std::deque<Queue> queues_;  // one for each caller with waiting jobs, in the order of their turns
  std::size_t n_jobs_ = 0;    // in all of them
  std::string last_caller_;   // whose job was taken last
  bool stopping_ = false;
  std::condition_variable posted_;
};

}  // namespace longrun::coordinator
