// See executor.h.
#include "coordinator/rpc/executor.h"

#include <utility>

#include "base/thread.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {

Result<std::unique_ptr<Executor>> Executor::Start(const Store& store, int n_threads,
                                                  std::size_t jobs_max) {
  std::unique_ptr<Executor> executor(new Executor(store, jobs_max));
  for (int i = 0; i < n_threads; ++i) {
    ASSIGN_OR_RETURN(auto reader, StoreReader::Open(store.database_path()));
    executor->readers_.push_back(std::move(reader));
  }
  for (const auto& reader : executor->readers_) {
    executor->threads_.push_back(
        StartThread([self = executor.get(), &reader] { self->Run(*reader); }));
  }
  return executor;
}

Executor::~Executor() { Stop(); }

bool Executor::Post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || jobs_.size() >= jobs_max_) return false;
    jobs_.push_back(std::move(job));
  }
  posted_.notify_one();
  return true;
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

void Executor::Run(StoreReader& reader) {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    (void)reader.TakeDamaged();
    reader.SetKnown(store_.damaged());
    job(reader);
  }
}

}  // namespace longrun::coordinator
