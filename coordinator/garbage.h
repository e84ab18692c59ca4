// Removes bytes of the artifact store that nothing refers to, on a thread of its own: unlinking a large
// file takes its time, and the core must not wait for it.
//
// Its candidates are only those that it is told of: their last reference was dropped, or `longrun gc` found
// that they have none. What lies in the store at a start is left alone: the database may be an older copy, or
// a new one where the old one is lost, and its bytes cannot be had back. Each is looked at again by a
// connection that reads; what was asked for too lately stays a candidate until its time.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/reader.h"

namespace longrun {

class GarbageRemover {
 public:
  // Without a thread; Look() is the caller's. `artifacts` must outlive it.
  GarbageRemover(ArtifactStore& artifacts, std::unique_ptr<StoreReader> reader);
  ~GarbageRemover();
  GarbageRemover(const GarbageRemover&) = delete;
  GarbageRemover& operator=(const GarbageRemover&) = delete;

  // Starts the thread: it looks whenever a candidate is due.
  void Start();
  // Any thread; never waits for a disk.
  void Add(const std::vector<std::string>& digests);
  // One round over all candidates; one thread at a time. Gives the milliseconds until the next one
  // makes sense; -1: nothing is left.
  std::int64_t Look();

 private:
  void Run();

  ArtifactStore& artifacts_;
  const std::unique_ptr<StoreReader> reader_;
  std::string told_flaw_;  // for which everything stays; Look() only
  std::mutex mutex_;       // guards the three below
  std::set<std::string> candidates_;
  bool added_ = false;
  bool stopping_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace longrun
