// Removes unreferenced bytes of the artifact store, on its own thread: unlinking a large file takes
// time, and the core must not wait for it.
//
// It considers only the candidates that it is given: bytes that lost their last reference, or that
// `longrun gc` found unreferenced. It does not look for others at a start: the database may then be
// an older copy, or a new one after the old one was lost, and deleted bytes could not be recovered.
// Each candidate is checked again on a reading connection. A candidate that was requested too
// recently is checked again later.
//
// A file lists the bytes that lost their last reference and are still too young. The next start
// takes them up again, if they belong to the same database and nobody has asked for them since:
// otherwise a row may have referred to them that this database, an older copy, does not have.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/reader.h"

namespace longrun::coordinator {

class GarbageRemover {
 public:
  struct Options {
    // Bytes that stay although no row refers to them.
    std::function<bool(const std::string& sha256)> is_kept = [](const std::string&) {
      return false;
    };
    std::string list_path = "";  // of the file of dropped bytes; "": none
    std::string database = "";   // identifies it in that file
  };
  // Reads the file of dropped bytes. Does not start a thread; without Start() the caller calls
  // Look(). `artifacts` must outlive it.
  GarbageRemover(ArtifactStore& artifacts, std::unique_ptr<StoreReader> reader, Options options);
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
  struct Candidate {
    Kind kind = Kind::kUnused;
    // Of dropped bytes: when they may go, as found at the first check. If they may go only later
    // than this, somebody has asked for them since.
    std::optional<std::int64_t> first_may_go_at_ms = {};
  };
  void AddAs(Kind kind, const std::vector<std::string>& digests);
  // Returns as Look() does. `listed` gets those of the candidates that the file is to list.
  std::int64_t Remove(const std::map<std::string, Candidate>& candidates, bool in_need,
                      std::map<std::string, std::int64_t>& listed);
  void ReadList();
  void WriteList(std::map<std::string, std::int64_t> dropped);
  void Run();

  ArtifactStore& artifacts_;
  const std::unique_ptr<StoreReader> reader_;
  const Options options_;
  std::string told_flaw_;  // the flaw that was logged last; used only by Look()
  // What the file holds: the dropped bytes, and when each may go. Used only by Look().
  std::map<std::string, std::int64_t> listed_;
  bool told_list_ = false;  // the warning that the file cannot be written was logged; likewise
  std::mutex mutex_;        // guards the four below
  std::map<std::string, Candidate> candidates_;
  bool added_ = false;
  bool in_need_ = false;
  bool stopping_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace longrun::coordinator
