// See executor.h.
#include "coordinator/rpc/executor.h"

#include <algorithm>
#include <utility>

#include "base/thread.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {

std::unique_ptr<Executor> Executor::Start(const Store& store, int n_threads, std::size_t jobs_max,
                                          Order order) {
  std::unique_ptr<Executor> executor(new Executor(store, jobs_max, order));
  for (int i = 0; i < n_threads; ++i) {
    executor->threads_.push_back(StartThread([self = executor.get()] { self->Run(); }));
  }
  return executor;
}

Executor::~Executor() { Stop(); }

bool Executor::Post(Job job, Failed failed, const std::string& caller) {
  return Add(caller, [this, job = std::move(job), failed = std::move(failed)](Reader& reader) {
    if (reader == nullptr) {
      Result<Reader> opened = StoreReader::Open(store_.database_path());
      if (!opened.ok()) return failed(opened.status());
      reader = std::move(opened).value();
    }
    (void)reader->TakeDamaged();
    reader->SetKnown(store_.damaged());
    job(*reader);
  });
}

bool Executor::PostWithoutReader(std::function<void()> job) {
  return Add("", [job = std::move(job)](Reader&) { job(); });
}

bool Executor::Add(const std::string& caller, std::function<void(Reader&)> job) {
  {
    const std::lock_guard lock(mutex_);
    const std::string name = takes_turns() ? caller : "";
    auto queue = std::ranges::find(queues_, name, &Queue::caller);
    const bool is_first = takes_turns() && queue == queues_.end();
    if (stopping_ || n_jobs_ >= (is_first ? 2 * jobs_max_ : jobs_max_)) return false;
    if (queue == queues_.end()) queue = queues_.insert(queue, Queue{.caller = name, .jobs = {}});
    queue->jobs.push_back(std::move(job));
    n_jobs_ += 1;
  }
  posted_.notify_one();
  return true;
}

// Takes a job off the queues, which are not all empty, under the lock.
std::function<void(Executor::Reader&)> Executor::Take() {
  // Others may have come while the last caller's job ran: they have waited longer for a turn.
  if (queues_.size() > 1 && queues_.front().caller == last_caller_) {
    std::ranges::rotate(queues_, queues_.begin() + 1);
  }
  Queue queue = std::move(queues_.front());
  queues_.pop_front();
  std::function<void(Reader&)> job = std::move(queue.jobs.front());
  queue.jobs.pop_front();
  n_jobs_ -= 1;
  last_caller_ = queue.caller;
  if (!queue.jobs.empty()) queues_.push_back(std::move(queue));
  return job;
}

void Executor::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Executor::Run() {
  Reader reader;
  while (true) {
    std::function<void(Reader&)> job;
    {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [&] { return stopping_ || n_jobs_ > 0; });
      if (n_jobs_ == 0) return;
      job = Take();
    }
    job(reader);
  }
}

}  // namespace longrun::coordinator
