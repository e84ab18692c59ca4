// The single thread that owns the coordinator's state. Other threads post events to it and get
// their answers from it; nothing else touches State or the writing connection.
//
//   queue -> Step() each -> one SQLite transaction for all -> commands and answers
//
// Nothing is sent or answered before COMMIT has returned (synchronous=FULL): everything that a peer
// has been told is on the disk. A batch takes items from the queue until it has 2000 writes or 5 ms
// have passed. While it is being committed, the next one gathers.
//
// Crash-only: if a transaction fails, the process ends, and nothing in the transaction had been
// acknowledged. The next start rebuilds the state from the store. The process also ends if its
// state folder was deleted or moved, which it checks before each COMMIT and once a second.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
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
#include "coordinator/byte_sources.h"
#include "coordinator/garbage.h"
#include "coordinator/keyed_jobs.h"
#include "coordinator/metrics.h"
#include "coordinator/observer.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {

// The core's side of an open worker session. Called on the core's thread: must not wait.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  virtual void Send(DownMessage message) = 0;
  virtual void Close(const std::string& reason) = 0;
};

struct CoreOptions {
  SchedulerLimits limits;
  std::int64_t disk_low_water_bytes = 64 << 20;  // below this: no submissions, no journal batches
  // Returns the free bytes on the state folder's disk; the default asks the file system.
  std::function<Result<std::int64_t>()> disk_free_bytes = {};
  std::uint64_t seed = 0;         // attempt ids and jitter
  bool shares_artifacts = false;  // with workers that see the folder of the artifact store
  // Lists the folder of a dataset, which may take as long as its disk likes.
  std::function<Result<DatasetListing>(const std::string& folder)> list_dataset = &ListDataset;
  // Called if a transaction fails or the state folder is gone. The default ends the process.
  std::function<void(const Status&)> on_fatal;
};

class Core {
 public:
  // Reads the state back and starts the thread. All arguments must outlive the core.
  static Result<std::unique_ptr<Core>> Start(Store& store, ArtifactStore& artifacts,
                                             Metrics& metrics, CoreOptions options);
  ~Core();  // Stop()
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // ---- any thread -------------------------------------------------------------------------------

  using Done = std::function<void(const StepResult&)>;
  // `done` runs on the core's thread, after COMMIT; it must not wait.
  void Post(SchedulerEvent event, Done done = nullptr);
  // `look` runs on the core's thread and sees only committed state, and what there is of a sweep
  // that is being submitted in parts; it must not wait.
  void Look(std::function<void(const State&)> look);
  // Stores the dataset; waits for COMMIT. Returns true if the name pointed to other content before.
  // kResourceExhausted if its owner would have more than `owned_bytes_max` then (store/owned.h).
  Result<bool> RegisterDataset(const DatasetRow& dataset,
                               std::int64_t owned_bytes_max = kNoOwnedLimit);
  // Removes the name if it exists; waits for COMMIT.
  Status RemoveDataset(const std::string& name);

  // Stores the name of an imported checkpoint whose files are in the artifact store; waits for
  // COMMIT. Returns false if the name already refers to this checkpoint; kAlreadyExists if it
  // refers to another one, and kResourceExhausted as for a dataset.
  Result<bool> RegisterModel(const ModelRow& model, const std::vector<ArtifactFile>& files,
                             std::int64_t owned_bytes_max = kNoOwnedLimit);
  // Removes the name. Returns true if nothing else refers to its bytes, so that they are removed
  // too. kNotFound; kFailedPrecondition if they must go, but a run needs them.
  Result<bool> RemoveModel(const std::string& name, ModelBytes bytes = ModelBytes::kMayStay);

  // Stores labels and note of a sweep, unless the sweep was removed meanwhile; waits for COMMIT.
  Status Annotate(const SweepAnnotation& annotation);
  // Stores what `write` does to the store, in a transaction of the core's thread. Write waits for
  // COMMIT; PostWrite does not wait, and its rows are committed no later than those of any event
  // that is posted after them. An error of `write` ends the process.
  Status Write(const std::function<Status(Store&)>& write);
  void PostWrite(std::function<Status(Store&)> write);
  // Notes bytes that seem to be unreferenced. They are checked again, and deleted once they are old
  // enough.
  void NoteUnreferenced(const std::vector<std::string>& digests) { garbage_->Add(digests); }

  // Post and Look that wait; not to be called on the core's thread.
  // kUnavailable if the core stops first, or has stopped.
  StepResult PostAndWait(SchedulerEvent event);
  // The parts of one submission, one submission at a time. What others post comes between them.
  // Returns the result of the last part, after its COMMIT.
  StepResult SubmitInParts(std::vector<SweepSubmitted> parts);
  // An order about a sweep (SweepCancelled, SweepPaused, SweepResumed, RetryRequested), with
  // n_tasks_max = kTasksOfStep. What others post comes between its steps. One large order at a
  // time: another one waits. Returns the counts of all steps, after the last COMMIT.
  StepResult Order(const std::string& sweep_id, SchedulerEvent event);
  // So few that a step holds up all others only for a moment.
  static constexpr std::size_t kTasksOfStep = 250;
  Status LookAndWait(const std::function<void(const State&)>& look);

  SessionId AddSession(std::shared_ptr<SessionSink> sink);  // shared: the core may be using it
  void RemoveSession(SessionId session);                    // also tells the scheduler
  void CloseSessions(const std::string& reason);            // all of them

  std::vector<DatasetRow> datasets() const { return *shared_datasets(); }
  // The same without a copy; a later registration does not change it.
  std::shared_ptr<const std::vector<DatasetRow>> shared_datasets() const;
  std::vector<ModelRow> models() const;
  // Whether workers read these bytes in the shared folder of the artifact store, because they are
  // of a registered dataset or of an evaluation. False if the store is not shared. Blocks.
  bool IsNeededInSharedStore(const std::string& sha256) const;
  // What can be sent to other machines.
  const ByteSources& bytes() const { return bytes_; }
  // Grows with every change that a watcher could see.
  std::int64_t version() const { return version_.load(); }
  // kResourceExhausted if less than the low-water mark is free.
  Status CheckDiskSpace() const;
  // The same for frequent callers: checks the disk only if there was too little space a second ago.
  Status CheckDiskSpaceIfLow() const;
  std::int64_t disk_low_water_bytes() const { return options_.disk_low_water_bytes; }
  // Free bytes on the state folder's disk.
  Result<std::int64_t> FreeDiskBytes() const { return options_.disk_free_bytes(); }
  const Store& store() const { return store_; }
  const SchedulerLimits& limits() const { return options_.limits; }

  // Finishes the queued work and ends the thread. Later posts are dropped, and so are offers for
  // which a folder is still being looked into: they expire.
  void Stop();

 private:
  struct EventItem {
    SchedulerEvent event;
    Done done;
  };
  struct LookItem {
    std::function<void(const State&)> look;
  };
  // A write that the scheduler does not know about. An error of either function ends the process.
  struct WriteItem {
    std::function<Status(ApplyCounts&)> apply;  // in the open transaction
    std::function<Status()> after = {};         // after COMMIT
    std::size_t n_writes = 1;                   // rows, at most
  };
  using Item = std::variant<EventItem, LookItem, WriteItem>;
  // A step whose writes are in the open transaction, and the actions that follow COMMIT.
  struct Stepped {
    StepResult result;
    Done done;
  };
  struct Batch;

  Core(Store& store, ArtifactStore& artifacts, Metrics& metrics, CoreOptions options);
  // Waits for COMMIT, and for `after` of the item.
  Status WriteAndWait(WriteItem item);
  // The same for a change of a name, whose refusal becomes the error.
  Result<bool> ChangeName(std::size_t n_writes,
                          const std::function<Result<NameChange>(ApplyCounts&)>& change,
                          std::function<Status()> reload);
  Status ReloadDatasets();
  Status ReloadModels();
  bool Push(Item item);  // returns false if the core has stopped
  using Waiter = std::promise<Status>;
  // `give` gives the core something to do, or returns false if the core takes nothing more. Waits
  // until the core calls `done`; kUnavailable if it never will.
  Status Await(const std::function<bool(const std::function<void()>& done)>& give);
  void EndWait(const std::shared_ptr<Waiter>& waiter, Status status);
  void EndAllWaits();  // the core has failed: it carries out nothing more
  void Run();
  std::deque<Item> TakeQueue();  // waits for work or a deadline; empty: a deadline
  bool IsStopping() const;
  Status RunBatch(std::deque<Item>& items);
  Status RunPart();
  Status FinishParts();  // commits the parts that were stored
  void DropParts();
  Status Open(Batch& batch);    // begins its transaction
  Status Finish(Batch& batch);  // commits it, and then does what follows
  Status Take(Batch& batch, EventItem item);
  Status Take(Batch& batch, LookItem item);
  Status Take(Batch& batch, WriteItem item);
  void Deliver(const SendStart& start);
  // An offer that lacks what only the folders of datasets can tell.
  struct Offer {
    SendStart start;
    bool by_digest = false;     // the worker gets datasets and files by digest
    bool over_network = false;  // the worker may be on another machine
    StartMessage message = {};
    // The attempts whose results the worker's trainer may take over; nullopt: it takes none.
    std::optional<EpochRange> earlier = {};
    std::string too_large = {};  // why the message cannot be sent; "": it can
  };
  std::optional<EpochRange> EarlierEpochs(const TaskFile& task, const Worker& worker) const;
  // What the task has measured before, if it can be read.
  std::vector<EarlierResults> ReadEarlier(const TaskFile& task, const EpochRange& epochs) const;
  // These three look into the folders of datasets, which may take as long as it likes: not on the
  // core's thread.
  void Complete(Offer& offer) const;
  // The registered folder of the dataset with this digest; "": none.
  std::string RegisteredFolder(const std::string& digest) const;
  // Adds what a worker needs that gets datasets and files by digest.
  void NameSources(Offer& offer) const;
  // Sends the offer, unless it has ended meanwhile.
  void Send(const State& state, Offer& offer);
  void Deliver(const SendMessage& command);
  void Deliver(const CloseSession& command);
  // Null if the session has ended. The worker's next session repeats what is still needed.
  std::shared_ptr<SessionSink> FindSession(SessionId session) const;
  void MarkStoredBytes(JournalReceived& event);
  // Reads the files of a checkpoint, on another thread, and notes the damaged ones. Else a worker
  // that writes the same checkpoint again would not send them.
  void CheckCheckpoint(const std::string& sha256);
  void NoteDamaged(const std::string& checkpoint, const std::vector<ArtifactFile>& files);
  void CheckpointWal();
  Status EachSecond();
  void NoteSilentFolders();

  Store& store_;
  ArtifactStore& artifacts_;
  ByteSources bytes_;
  Metrics& metrics_;
  const CoreOptions options_;

  // The core's thread only.
  State state_;
  Instant wake_at_ = 0;
  Instant second_at_ = 0;
  Instant warn_of_folders_at_ = 0;
  Instant committed_at_ = 0;
  bool waits_for_workers_ = false;  // a backup was restored: nothing is placed yet
  ResidentMemory memory_;
  Observer observer_;
  std::map<std::string, Instant> checked_at_;  // when CheckCheckpoint was last asked
  std::unique_ptr<Batch> stored_parts_;        // parts of a submission that are not committed yet

  std::mutex orders_mutex_;  // held during a large order

  mutable std::mutex mutex_;  // guards the seven below
  std::deque<Item> queue_;
  std::deque<EventItem> parts_;
  std::set<std::shared_ptr<Waiter>> waiters_;
  bool stopping_ = false;
  bool stopped_ = false;
  std::shared_ptr<const std::vector<DatasetRow>> datasets_ =
      std::make_shared<const std::vector<DatasetRow>>();
  std::vector<ModelRow> models_;
  std::condition_variable queued_;

  mutable std::mutex sessions_mutex_;  // guards the two below
  std::map<SessionId, std::shared_ptr<SessionSink>> sessions_;
  SessionId last_session_ = 0;

  std::unique_ptr<GarbageRemover> garbage_;
  KeyedJobs offers_;  // by the digests of the datasets that they read; its jobs use all the above
  KeyedJobs checks_;  // of checkpoints; likewise
  std::atomic<std::int64_t> version_ = 0;
  std::atomic<bool> disk_is_low_ = false;
  std::thread thread_;
};

}  // namespace longrun::coordinator
