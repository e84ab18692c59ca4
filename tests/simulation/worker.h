// A simulated host: a worker daemon, its folder, and trainers that live on without it. The daemon
// speaks the session protocol (proto/longrun/v1/session.proto); the folder survives the daemon, and
// what was not synced does not survive the host.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "tests/simulation/sample_sweep.h"
#include "tests/simulation/world.h"

namespace longrun::coordinator {

// The coordinator's door, as a worker sees it.
class SimServerDoor {
 public:
  virtual ~SimServerDoor() = default;
  // A new stream; nothing when nobody listens.
  virtual std::optional<SessionId> Open(int worker) = 0;
  virtual void Receive(const SchedulerEvent& event) = 0;
  virtual std::int64_t n_boots() const = 0;
};

// attempts/ULID: what is on the disk, and the trainer that writes it.
struct SimFolder {
  TaskFile task;
  std::int64_t device_index = 0;
  SampleJournal journal;
  std::int64_t clock_ahead_ms = 0;  // the trainer's wall clock, before virtual time
  bool clock_was_set = false;       // that clock
  std::size_t n_synced = 0;         // records on disk
  bool running = false;             // the trainer
  std::int64_t step = 0;
  std::uint64_t value = 0;
  bool stop = false;                // SIGTERM was sent
  bool is_killed = false;           // and SIGKILL
  std::optional<EndEvidence> exit;  // exit.json
  bool ended = false;               // the end is acknowledged
  // Of the daemon, lost with it:
  std::int64_t acked = 0, sent = 0;
  Instant sent_at = 0, finished_at = 0;
  bool fenced = false;
};

struct SimTrainerFaults {
  std::int64_t diverging_seed = -1;  // this run ends in NaN, always
  double omits_row = 0;              // says `final` although a row is missing
  std::int64_t broken_slot = -1;     // every trainer crashes there, while there are faults
};

class SimWorker {
 public:
  SimWorker(World& world, SimServerDoor& server, int index, SimTrainerFaults trainer_faults);

  // From now on, the host is one job after another, each with an end (the seed decides how long).
  void BeTemporary(std::uint64_t seed);
  void Start();  // begins to tick
  void Receive(SessionId session, const Command& command);
  void Disconnect(SessionId session);  // the stream ended

  // ---- faults
  void CrashDaemon(Instant down_ms);
  void CrashTrainer();
  void LosePower(Instant down_ms);
  void Pause(Instant pause_ms);  // SIGSTOP of the daemon
  void Heal();
  // Somebody starts another worker with the id of this one, on a folder of its own, and ends it.
  void StartTwin();

  const std::map<std::string, SimFolder>& folders() const { return folders_; }
  const std::string& id() const { return id_; }
  bool is_temporary() const { return allocation_random_.has_value(); }

 private:
  void Tick();
  void Connect();
  void Beat();
  DiskSpace Disk() const;
  void Ship(SimFolder& folder);
  void Send(SchedulerEvent event);
  std::vector<LiveAttempt> Inventory(bool with_ended) const;
  Worker Describe() const;

  void Take(const SendMessage& sent);
  void Take(const WelcomeMessage& welcome);
  void Take(const HeartbeatReplyMessage&) {}
  void Take(const DrainMessage&) {}
  void Take(const HoldMessage&) {}           // only for people
  void Take(const SharedVerdictMessage&) {}  // nothing is shared here
  void Take(const SendStart& start);
  void Take(const StopMessage& stop);
  void Take(const AckMessage& ack);
  void Take(const NackMessage& nack);
  void Take(const FencedMessage& fenced);
  void Take(const StartMessage&) {}  // the scheduler sends SendStart instead
  void Take(const CloseSession& close);
  SimFolder* Find(const std::string& attempt);
  bool IsBusy(std::int64_t device_index) const;
  void Reject(const TaskFile& task, const std::string& failure_class, const std::string& reason);
  void RefuseForCache(const TaskFile& task, std::int64_t needed_bytes, std::int64_t limit_bytes);
  void GiveBack(const std::string& attempt);
  void EndPreparation(const std::string& attempt, bool fails);
  void Launch(const SendStart& start);
  void Hold(const std::string& digest);

  void RunTrainer(const std::string& attempt, Instant delay);
  void TrainerStep(SimFolder& folder);
  void TrainStep(SimFolder& folder);
  void EvaluateStep(SimFolder& folder);
  void WriteCheckpoint(SimFolder& folder, bool final);
  void EndTrainer(SimFolder& folder, int exit_code, int signal);
  void BeginAllocation();
  void EndAllocation();
  void LeaveInTime();

  World& world_;
  SimServerDoor& server_;
  const int index_;
  const SimTrainerFaults trainer_faults_;
  const std::string id_;
  std::map<std::string, SimFolder> folders_;
  std::set<std::string> held_;                  // datasets, on disk
  std::map<std::string, SendStart> preparing_;  // taken, not launched; lost with the daemon
  // Of a host that is a job:
  std::optional<SeededRandom> allocation_random_;
  std::int64_t n_allocations_ = 0;
  Instant work_end_ = 0;  // when it asks its trainers to stop
  bool leaving_ = false;
  bool up_ = true;
  Instant paused_until_ = 0;
  std::int64_t incarnation_ = 1;
  std::int64_t n_twins_ = 0;
  std::optional<SessionId> session_;
  bool welcomed_ = false;
  std::size_t n_greeted_ = 0;  // attempts in the Hello of this session
  Instant opened_at_ = 0, heard_at_ = 0, beat_at_ = 0;
  std::int64_t n_beats_ = 0;
  Instant full_until_ = 0;  // its disk
};

}  // namespace longrun::coordinator
