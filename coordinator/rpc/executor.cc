// See executor.h.
#include "coordinator/rpc/executor.h"

#include <utility>

#include "base/thread.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {

std::unique_ptr<Executor> Executor::Start(const Store& store, int n_threads, std::size_t jobs_max) {
  std::unique_ptr<Executor> executor(new Executor(store, jobs_max));
  for (int i = 0; i < n_threads; ++i) {
    executor->threads_.push_back(StartThread([self = executor.get()] { self->Run(); }));
  }
  return executor;
}

Executor::~Executor() { Stop(); }

bool Executor::Post(Job job, Failed failed) {
  return Add([this, job = std::move(job), failed = std::move(failed)](Reader& reader) {
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
  return Add([job = std::move(job)](Reader&) { job(); });
}

bool Executor::Add(std::function<void(Reader&)> job) {
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

void Executor::Run() {
  Reader reader;
  while (true) {
    std::function<void(Reader&)> job;
    {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job(reader);
  }
}

}  // namespace longrun::coordinator
