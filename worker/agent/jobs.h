// A few threads for blocking work (transfers), so that the agent's own thread never blocks.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace longrun::agent {

class JobThreads {
 public:
  explicit JobThreads(int n_threads);
  ~JobThreads();  // drops waiting jobs and waits for running ones
  void Post(std::function<void()> job);

 private:
  void Work();

  std::mutex mutex_;  // guards jobs_ and ending_
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace longrun::agent
