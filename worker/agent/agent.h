// The worker daemon: it keeps one session with the coordinator, starts a trainer under a shim for
// each Start, and forwards journals. One thread, that of Run(), owns all of its state; gRPC and
// transfers post to it. Everything that must survive is in the attempts' folders, so kill -9 at any
// moment loses nothing.
//
//   attempt:  Start -> Accepted -> preparing (datasets, checkpoints) -> running (shim alive) ->
//             ended -> reported until Ack says `ended` -> folder kept for the retention time
//   journal:  read -> fdatasync -> upload of the files a record names -> JournalBatch -> Ack; a
//             Nack or a Welcome with a smaller durable_seq rewinds
//
// Trainers continue unchanged, however long the coordinator is away.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/held_file.h"
#include "base/random.h"
#include "base/resident_memory.h"
#include "base/status.h"
#include "sweeps/session_messages.h"
#include "sweeps/task.h"
#include "worker/agent/attempt.h"
#include "worker/agent/cache.h"
#include "worker/agent/devices.h"
#include "worker/agent/disk_room.h"
#include "worker/agent/jobs.h"
#include "worker/agent/journal_uplink.h"
#include "worker/agent/link.h"
#include "worker/agent/membership.h"
#include "worker/agent/metrics.h"
#include "worker/agent/order.h"
#include "worker/agent/slot_meter.h"
#include "worker/agent/transfer.h"

namespace longrun::agent {

// For a worker that is there only for a while.
struct TemporaryOptions {
  std::string job;                                // for people: "slurm 1234"
  std::optional<std::int64_t> end_wall_ms = {};   // then the machine is taken away
  std::optional<std::int64_t> idle_exit_ms = {};  // it leaves when it was idle for so long
};

struct AgentOptions {
  std::string state;                               // folder of mode 0700
  std::string coordinator;                         // unix:PATH, or HOST:PORT
  JoinOptions join;                                // for HOST:PORT
  std::string trainer;                             // program
  std::string program;                             // longrun-worker itself
  std::string worker_id;                           // "": the one in the folder, or else a new one
  std::string metrics = "127.0.0.1:0";             // address
  std::map<std::string, std::string> labels = {};  // for people
  int cpu_slots = 0;                               // 0: detect
  std::int64_t grace_ms = 20'000;                  // for trainers, when the worker itself stops
  std::int64_t disk_free_bytes_min = std::int64_t{256} << 20;   // below this: Starts are rejected
  std::int64_t retain_ms = std::int64_t{7} * 24 * 3600 * 1000;  // for folders of reported attempts
  std::int64_t retain_bytes_max = std::int64_t{2} << 30;
  std::int64_t cache_bytes = 0;       // 0: DefaultCacheBytes
  std::string shared_artifacts = {};  // the folder that the coordinator sees, too; "": none
  std::optional<TemporaryOptions> temporary = {};
};

// Of a task for which there is no room in the cache, though there may be for others; 0: not so.
struct NoRoom {
  std::int64_t needed_bytes = 0;
  bool lacks_disk = false;
};

class Agent {
 public:
  // Takes the folder's lock, detects devices, and adopts the attempts in the folder.
  static Result<std::unique_ptr<Agent>> Create(AgentOptions options);
  ~Agent();

  // Runs until RequestStop, which stops trainers, or until a Drain with no attempts left; a
  // temporary worker, until its time is over or it was idle for long enough. kAborted
  // if the folder was deleted or moved; the trainers are then killed, since nobody could find what
  // they write.
  Status Run();
  // May be called from any thread.
  void RequestStop();

 private:
  // An attempt whose trainer was started.
  struct Live {
    explicit Live(std::unique_ptr<LocalAttempt> started)
        : attempt(std::move(started)), uplink(*attempt) {}

    std::unique_ptr<LocalAttempt> attempt;
    JournalUplink uplink;
    bool was_running = false;
    RepeatedError upload_delayed;
    bool cancelled = false;          // the coordinator wants it stopped
    std::int64_t session = 0;        // the last one in which the coordinator named the attempt
    std::optional<SlotMeter> meter;  // while its trainer is running
    std::optional<std::int64_t> kept_bytes;  // of its folder, once it has ended
  };

  Agent(AgentOptions options, FileLock lock);
  // The channel to the coordinator; over the network, joins it first if need be.
  Result<CoordinatorChannel> Connect();
  Status AdoptAttempts();
  void NoteCacheUse(const LocalAttempt& attempt);
  // Frees what ended attempts have used in the cache.
  void NoteCacheUsers();
  Status CheckInPlace() const;
  // Stops the trainers within the grace time, and reports their ends until `report_end_ms`.
  void Leave(std::int64_t report_end_ms, std::string_view why);
  void TickTemporary(std::int64_t now_ms);
  bool IsIdle() const;
  void Post(std::function<void()> closure);  // any thread

  // Session.
  void TickLink(std::int64_t now_ms);
  HelloMessage Hello();
  std::vector<std::string> HeldDatasets() const;
  void TickHeldDatasets();
  bool IsNamed(const Live& live) const;  // by the coordinator, in this session
  std::vector<LiveAttempt> LiveAttempts() const;
  void ListKept(std::vector<LiveAttempt>& attempts) const;
  void On(const WelcomeMessage& welcome);
  void On(const StartMessage& start);
  void On(const StopMessage& stop);
  void On(const AckMessage& ack);
  void On(const NackMessage& nack);
  void On(const FencedMessage& fenced);
  void On(const HeartbeatReplyMessage& reply);
  void On(const DrainMessage& drain);
  void On(const HoldMessage& hold);
  void On(const SharedVerdictMessage& verdict);
  // Looks into the shared folder and writes to it; the coordinator then says whether it is its own.
  void LookAtSharedFolder(const WelcomeMessage& welcome);
  void ApplyVerdict(const AttemptVerdict& verdict, Order& order);
  void ApplyVerdict(const AttemptVerdict& verdict, Live& live);
  void Reject(const std::string& attempt, std::uint64_t epoch, std::string_view failure_class,
              const std::string& reason, const NoRoom& no_room = {});

  // Starting.
  std::string WhySlotIsTaken(int device_index) const;  // "" when it is free
  // Runs on a thread of fetches_. Gets everything that an attempt needs, if the disk has room. To
  // make room, it may remove files from the cache.
  Preparation PrepareNow(const StartMessage& start, const TaskFile& task,
                         const std::atomic<bool>& unwanted);
  // upkeep_ removes what it can from the cache; then the free space is checked again.
  void FreeDisk();
  void Prepare(Order& order);
  void GiveBack(Order& order, const std::string& reason);
  void OnPrepared(const std::string& id, const Preparation& preparation);
  std::string GpuOf(int device_index) const;  // its UUID; "": the slot is on the CPU
  void LaunchAttempt(const Order& order, const Prepared& prepared);

  // Forwarding.
  void Pump(Live& live, std::int64_t now_ms);
  bool SendNext(Live& live, std::int64_t now_ms);  // returns false if nothing can be sent now
  bool SendBatch(Live& live);                      // returns false if too much is in flight
  void StartUpload(Live& live);
  void OnUploaded(const std::string& id, std::int64_t seq, const Status& status, bool is_replaced);
  void ReportEnded(Live& live);
  std::size_t InFlightBytes() const;
  std::int64_t BacklogBytes() const;  // unacknowledged, of all unfinished journals

  void Tick(std::int64_t now_ms);
  void TickOrders(std::int64_t now_ms);
  void Measure(Live& live, const JournalRecord& record);
  void UpdateMetrics();
  void ApplyRetention();
  bool IsDone(std::int64_t now_ms);

  const AgentOptions options_;
  FileLock lock_;
  std::optional<HeldFile> held_lock_;
  std::string worker_id_;
  std::string incarnation_;
  std::string folder_id_;
  std::vector<Slot> devices_;
  std::vector<GpuName> gpus_;  // of each slot; empty on a CPU
  std::unique_ptr<WorkerMetrics> metrics_;
  std::unique_ptr<Cache> cache_;
  std::vector<std::string> own_datasets_;    // digests in STATE/datasets, at the last Hello
  std::int64_t held_version_ = 0;            // of the cache's datasets that the coordinator knows
  bool coordinator_takes_datasets_ = false;  // DatasetsHeld, in this session
  std::string shared_folder_;                // the coordinator's part of --shared-artifacts
  std::int64_t sharing_until_ms_ = 0;        // orders wait for the coordinator's verdict until then
  SeededRandom random_;
  // Both maps are by attempt. An attempt is in at most one of them.
  std::map<std::string, Order> orders_;
  std::map<std::string, Live> attempts_;

  bool draining_ = false;
  bool stopping_ = false;
  std::int64_t stopped_at_ms_ = 0;
  std::int64_t stop_deadline_ms_ = 0;    // for trainers
  std::int64_t report_deadline_ms_ = 0;  // for what they leave to report
  std::optional<std::int64_t> end_ms_;   // of the allocation, by BootMs()
  std::int64_t busy_at_ms_ = 0;          // when the worker was last seen busy
  std::int64_t retention_at_ms_ = 0;
  std::int64_t second_at_ms_ = 0;
  std::optional<DiskRoom> disk_;  // reported with the next heartbeat
  ResidentMemory memory_;

  std::mutex mutex_;  // guards posted_
  std::condition_variable changed_;
  std::deque<std::function<void()>> posted_;

  // Last, so that they are destroyed first: their threads post to the members above.
  std::unique_ptr<Membership> membership_;  // null over a unix socket
  ArtifactTransfer artifacts_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<JobThreads> uploads_;
  std::unique_ptr<JobThreads> fetches_;  // apart: a large fetch must not hold up the journals
  std::unique_ptr<JobThreads> upkeep_;   // of the cache
};

}  // namespace longrun::agent
