// Threads for blocking work.
#include "worker/agent/jobs.h"

#include <utility>

#include "base/thread.h"

namespace longrun::agent {

JobThreads::JobThreads(int n_threads) {
  for (int i = 0; i < n_threads; ++i) threads_.push_back(StartThread([this] { Work(); }));
}

JobThreads::~JobThreads() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void JobThreads::Post(std::function<void()> job) {
  {
    const std::scoped_lock lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void JobThreads::Work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || !jobs_.empty(); });
      if (ending_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace longrun::agent
