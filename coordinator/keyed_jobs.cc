// See keyed_jobs.h.
#include "coordinator/keyed_jobs.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/thread.h"

namespace longrun::coordinator {

KeyedJobs::KeyedJobs(int n_threads) {
  for (int i = 0; i < n_threads; ++i) threads_.push_back(StartThread([this] { Work(); }));
}

KeyedJobs::~KeyedJobs() {
  Drop();
  for (std::thread& thread : threads_) thread.join();
}

void KeyedJobs::Post(std::set<std::string> keys, std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return;
    bool waits = false;
    for (const std::string& key : keys) {
      waits |= keys_in_use_.contains(key);
      waits |= n_waiting_[key]++ > 0;
    }
    jobs_.push_back({.keys = std::move(keys), .run = std::move(job)});
    if (waits) return;  // the thread that frees its keys takes it
  }
  changed_.notify_one();
}

void KeyedJobs::Drop() {
  std::list<Job> dropped;  // destroyed without the lock
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    dropped.swap(jobs_);
    n_waiting_.clear();
  }
  changed_.notify_all();
}

std::vector<std::string> KeyedJobs::SlowKeys(std::int64_t ms) const {
  const std::int64_t begun_ms = BootMs() - ms;
  std::vector<std::string> slow;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, since_ms] : keys_in_use_) {
    if (since_ms < begun_ms) slow.push_back(key);
  }
  return slow;
}

std::list<KeyedJobs::Job>::iterator KeyedJobs::NextJob() {
  std::set<std::string> taken;  // also by earlier jobs that wait
  for (const auto& [key, since_ms] : keys_in_use_) taken.insert(key);
  return std::ranges::find_if(jobs_, [&](const Job& job) {
    const bool is_free =
        std::ranges::none_of(job.keys, [&](const std::string& key) { return taken.contains(key); });
    taken.insert(job.keys.begin(), job.keys.end());
    return is_free;
  });
}

void KeyedJobs::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    auto next = jobs_.end();
    changed_.wait(lock, [&] { return ending_ || (next = NextJob()) != jobs_.end(); });
    if (ending_) return;
    Job job = std::move(*next);
    jobs_.erase(next);
    const std::int64_t now_ms = BootMs();
    for (const std::string& key : job.keys) {
      keys_in_use_[key] = now_ms;
      if (--n_waiting_[key] == 0) n_waiting_.erase(key);
    }
    // The keys that became free may have been those of several jobs.
    const bool may_be_more = std::ranges::any_of(
        n_waiting_, [&](const auto& waiting) { return !keys_in_use_.contains(waiting.first); });
    lock.unlock();
    if (may_be_more) changed_.notify_one();
    job.run();
    job.run = nullptr;
    lock.lock();
    for (const std::string& key : job.keys) keys_in_use_.erase(key);
  }
}

}  // namespace longrun::coordinator
