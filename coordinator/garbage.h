// Removes unreferenced bytes of the artifact store, on its own thread: unlinking a large file takes
// time, and the core must not wait for it.
//
// It considers only the candidates that it is given: bytes that lost their last reference, or that
// `longrun gc` found unreferenced. It does not look for others at a start: the database may then be
// an older copy, or a new one after the old one was lost, and deleted bytes could not be recovered.
// Each candidate is checked again on a reading connection. A candidate that was requested too
// recently is checked again later.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/reader.h"

namespace longrun::coordinator {

class GarbageRemover {
 public:
  // Does not start a thread; without Start() the caller calls Look(). `artifacts` must outlive it.
  // `is_kept`: bytes that stay although no row refers to them.
  GarbageRemover(
      ArtifactStore& artifacts, std::unique_ptr<StoreReader> reader,
      std::function<bool(const std::string& sha256)> is_kept = [](const std::string&) {
        return false;
      });
  ~GarbageRemover();
  GarbageRemover(const GarbageRemover&) = delete;
  GarbageRemover& operator=(const GarbageRemover&) = delete;

  // Starts the thread, which checks candidates when they are due.
  void Start();
  // May be called from any thread; never waits for the disk.
  void Add(const std::vector<std::string>& digests);
  // The same for bytes to which rows referred until now, such as a checkpoint that newer ones
  // replaced.
  void AddDropped(const std::vector<std::string>& digests);
  // The disk has too little room, said each second while that is so: dropped bytes go at once,
  // unless somebody asked for them just now. May be called from any thread.
  void MakeRoom();
  // Checks all candidates once; one thread at a time. Returns the milliseconds until the next check
  // is useful; -1: no candidates are left.
  std::int64_t Look();

 private:
  enum class Kind : bool { kUnused, kDropped };
  void AddAs(Kind kind, const std::vector<std::string>& digests);
  // Returns as Look() does.
  std::int64_t Remove(Kind kind, const std::vector<std::string>& candidates, bool in_need);
  void Run();

  ArtifactStore& artifacts_;
  const std::unique_ptr<StoreReader> reader_;
  const std::function<bool(const std::string& sha256)> is_kept_;
  std::string told_flaw_;  // the flaw that was logged last; used only by Look()
  std::mutex mutex_;       // guards the four below
  std::map<std::string, Kind> candidates_;
  bool added_ = false;
  bool in_need_ = false;
  bool stopping_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace longrun::coordinator
