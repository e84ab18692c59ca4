// The one thread that owns the coordinator's state. Others post events to it and get their answers
// from it; nothing else touches State or the writing connection.
//
//   queue -> Step() each -> one SQLite transaction for all -> commands and answers
//
// Nothing is sent and nobody is answered before COMMIT has returned (synchronous=FULL): what a peer
// was told is on the disk. A batch is what was there, for at most 5 ms or 2000 writes; while one is
// being committed the next one gathers.
//
// Crash-only: when a transaction fails, nothing of it was acknowledged, and the process ends. The
// state is rebuilt from the store at the next start. So it does when the state folder is deleted or moved
// under it: that is looked at before each COMMIT, and once a second.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/resident_memory.h"
#include "base/status.h"
#include "coordinator/garbage.h"
#include "coordinator/metrics.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/store.h"

namespace longrun {

// A checkpoint that a Start names, with the files it consists of.
struct CheckpointSource {
  std::string sha256;  // of manifest.json
  std::vector<ArtifactFileRow> files;
};

// The core's side of an open worker session. Called on the core's thread: must not wait.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  virtual void Deliver(const Command& command,
                       const std::vector<CheckpointSource>& checkpoints) = 0;
};

struct CoreOptions {
  SchedulerLimits limits;
  std::int64_t disk_low_water_bytes = 64 << 20;  // below: no submits, no journal batches
  // Of the state folder's disk; the default asks the file system.
  std::function<Result<std::int64_t>()> disk_free_bytes = {};
  std::uint64_t seed = 0;  // attempt ids and jitter
  // A transaction failed, or the state folder is gone. The default ends the process.
  std::function<void(const Status&)> on_fatal;
};

class Core {
 public:
  // Reads the state back and starts the thread. What is passed in must outlive the core.
  static Result<std::unique_ptr<Core>> Start(Store& store, ArtifactStore& artifacts,
                                             Metrics& metrics, CoreOptions options);
  ~Core();  // Stop()
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // ---- any thread -------------------------------------------------------------------------------

  using Done = std::function<void(const StepResult&)>;
  // `done` runs on the core's thread, after COMMIT; it must not wait.
  void Post(SchedulerEvent event, Done done = nullptr);
  // `look` runs on the core's thread with a state that is committed as it stands; it must not wait.
  void Look(std::function<void(const State&)> look);
  // Stores the dataset; waits for COMMIT. `changed`: the name pointed to other content before.
  Result<bool> RegisterDataset(const DatasetRow& dataset);
  // The name goes, if it is there; waits for COMMIT.
  Status RemoveDataset(const std::string& name);

  // Stores the name of an imported checkpoint, whose files are in the artifact store; waits for COMMIT.
  // False when the name stands for it already; kAlreadyExists when for another.
  Result<bool> RegisterModel(const ModelRow& model, const std::vector<ArtifactFileRow>& files);
  // The name goes; true: its bytes go too, since nothing else refers to them. kNotFound.
  Result<bool> RemoveModel(const std::string& name);

  // Stores labels and note of a sweep, unless it was removed meanwhile; waits for COMMIT.
  Status Annotate(const SweepAnnotation& annotation);
  // Bytes that nothing refers to, as it seems: they go once they are old enough.
  void NoteUnreferenced(const std::vector<std::string>& digests) { garbage_->Add(digests); }

  // The same, and wait; not on the core's thread. kUnavailable when it has stopped.
  StepResult PostAndWait(SchedulerEvent event);
  Status LookAndWait(const std::function<void(const State&)>& look);

  SessionId AddSession(std::shared_ptr<SessionSink> sink);  // shared: a command may be under way
  void RemoveSession(SessionId session);                    // and tells the scheduler
  void CloseSessions(const std::string& reason);            // all of them

  std::vector<DatasetRow> datasets() const;
  std::vector<ModelRow> models() const;
  // Grows with whatever a watcher could see.
  std::int64_t version() const { return version_.load(); }
  // kResourceExhausted when less than the low-water mark is free.
  Status CheckDiskSpace() const;
  // The same for what comes often: looks only when there was too little a second ago.
  Status CheckDiskSpaceIfLow() const;
  std::int64_t disk_low_water_bytes() const { return options_.disk_low_water_bytes; }
  // Of the state folder's disk.
  Result<std::int64_t> FreeDiskBytes() const { return options_.disk_free_bytes(); }
  const Store& store() const { return store_; }
  const SchedulerLimits& limits() const { return options_.limits; }

  // Finishes what is queued and ends the thread. Posts after that are dropped.
  void Stop();

 private:
  struct EventItem {
    SchedulerEvent event;
    Done done;
  };
  struct LookItem {
    std::function<void(const State&)> look;
  };
  struct DatasetItem {
    DatasetRow dataset;
    bool removes = false;  // the one of its name
    std::function<void(bool changed)> done;
  };
  // Registers `model`, or removes the one of its name.
  struct ModelItem {
    ModelRow model;
    std::vector<ArtifactFileRow> files;
    bool removes = false;
    std::function<void(Result<bool>)> done;
    Result<bool> result = false;
  };
  struct AnnotationItem {
    SweepAnnotation annotation;
    std::function<void()> done;
  };
  using Item = std::variant<EventItem, LookItem, DatasetItem, ModelItem, AnnotationItem>;
  // A step whose writes are in the open transaction, and what follows after COMMIT.
  struct Stepped {
    StepResult result;
    Done done;
  };
  struct Batch;

  Core(Store& store, ArtifactStore& artifacts, Metrics& metrics, CoreOptions options);
  Result<bool> ChangeModels(ModelItem item);
  bool Push(Item item);  // false: the core has stopped
  void Run();
  std::deque<Item> TakeQueue();  // waits for something to do; empty: time has passed
  Status RunBatch(std::deque<Item>& items);
  Status Take(Batch& batch, EventItem item);
  Status Take(Batch& batch, LookItem item);
  Status Take(Batch& batch, DatasetItem item);
  Status Take(Batch& batch, ModelItem item);
  Status Take(Batch& batch, AnnotationItem item);
  void Deliver(const Command& command);
  void MarkStoredBytes(JournalReceived& event);
  void Observe(const StepResult& result);
  void ObserveTask(const PutTransition& moved);
  void ObserveAttempt(const PutTransition& moved, const Attempt& attempt);
  void CountTasks();
  void CountWorkers();
  void CountUnplaced();
  Status EachSecond();

  Store& store_;
  ArtifactStore& artifacts_;
  Metrics& metrics_;
  const CoreOptions options_;

  // The core's thread only.
  State state_;
  Instant wake_at_ = 0;
  Instant second_at_ = 0;
  Instant committed_at_ = 0;
  ResidentMemory memory_;
  std::int64_t counted_version_ = -1;
  std::map<std::string, Instant> ready_at_;  // of tasks that have not started since
  std::set<std::string> known_workers_;      // whose failures are counted

  mutable std::mutex mutex_;  // guards the five below
  std::deque<Item> queue_;
  bool stopping_ = false;
  bool stopped_ = false;
  std::vector<DatasetRow> datasets_;
  std::vector<ModelRow> models_;
  std::condition_variable queued_;

  mutable std::mutex sessions_mutex_;  // guards the two below
  std::map<SessionId, std::shared_ptr<SessionSink>> sessions_;
  SessionId last_session_ = 0;

  std::unique_ptr<GarbageRemover> garbage_;
  std::atomic<std::int64_t> version_ = 0;
  std::atomic<bool> disk_is_low_ = false;
  std::thread thread_;
};

}  // namespace longrun
