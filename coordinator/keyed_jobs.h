// Threads for work that may block for long, such as looking into a folder on another machine's
// disk that does not answer. Each job has keys, and no two jobs with a common key run at the same
// time: so one such folder holds up one thread, and only what needs this folder waits for it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace longrun::coordinator {

class KeyedJobs {
 public:
  explicit KeyedJobs(int n_threads);
  ~KeyedJobs();  // Drop(), and waits for the jobs that are running
  KeyedJobs(const KeyedJobs&) = delete;
  KeyedJobs& operator=(const KeyedJobs&) = delete;

  // Jobs with a common key run in the order of their posts. Any thread.
  void Post(std::set<std::string> keys, std::function<void()> job);
  // The keys of the jobs that have been running for longer than `ms`.
  std::vector<std::string> SlowKeys(std::int64_t ms) const;
  // Drops the jobs that wait, and all later ones. Waits for nothing.
  void Drop();

 private:
  struct Job {
    std::set<std::string> keys;
    std::function<void()> run;
  };
  void Work();
  std::list<Job>::iterator NextJob();  // jobs_.end(): each of them waits for one that is running

  mutable std::mutex mutex_;  // guards the four below
  std::list<Job> jobs_;
  std::map<std::string, std::int64_t> n_waiting_;    // jobs in jobs_, by key
  std::map<std::string, std::int64_t> keys_in_use_;  // by key: since when, on the boot clock
  bool ending_ = false;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};

}  // namespace longrun::coordinator
