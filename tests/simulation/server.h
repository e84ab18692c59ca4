// The simulated coordinator process around the real scheduler: it posts events to Step(), groups
// the writes of several steps into one commit that takes time, and sends the commands afterwards. A
// crash loses its memory at any point, also between COMMIT and sending; what is committed stays.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/checker.h"
#include "tests/simulation/folded_store.h"
#include "tests/simulation/worker.h"
#include "tests/simulation/world.h"

namespace longrun::coordinator {

class SimServer final : public SimServerDoor {
 public:
  SimServer(World& world, SchedulerLimits limits, std::vector<std::unique_ptr<SimWorker>>& workers,
            std::uint64_t seed);

  // ---- the workers' door
  std::optional<SessionId> Open(int worker) override;
  void Receive(const SchedulerEvent& event) override;
  std::int64_t n_boots() const override { return n_boots_; }

  // ---- the users' door: `done` runs after the commit, never when the process dies before; with
  // what the scheduler said, which may be that it refuses
  using Done = std::function<void(const Status&)>;
  void Ask(const SchedulerEvent& event, Done done);

  void Start();
  // ---- faults
  void Crash(Instant down_ms, bool power_loss, bool restore_backup);
  void Pause(Instant pause_ms);  // the machine sleeps: messages wait
  void Heal();

  const FoldedStore& store() const { return store_; }
  SimChecker& checker() { return checker_; }
  bool up() const { return up_; }

 private:
  struct Pending {
    std::vector<Write> writes;
    std::vector<Command> commands;
    Status status;
    Done done;
  };
  void Tick(std::int64_t boot);
  void Process(const SchedulerEvent& event, Done done);
  void Submit(SweepSubmitted event, Done done);
  void CountHeldTriedAgain(const RetryRequested& event);
  void SubmitFrom(std::vector<SweepSubmitted> parts, std::size_t next, Done done);
  void Order(SchedulerEvent event, Done done);
  void GoOn(const SchedulerEvent& event, std::size_t n_tasks_max, Done done);
  StepResult StepOnce(const SchedulerEvent& event);
  void BindByOffers(std::vector<Write>& writes);
  void CheckDryRun(const GarbageWanted& event, const State& before, const StepResult& result);
  void RemoveBytes(const std::vector<Write>& transaction);
  void Commit(std::int64_t boot);
  void SendAll(const std::vector<Command>& commands);
  void Boot(bool restored);
  void ReplayLog(std::size_t n_kept);
  void RemoveRule(SchedulerEvent& event);  // world_.mutation

  World& world_;
  const SchedulerLimits limits_;
  std::vector<std::unique_ptr<SimWorker>>& workers_;
  FoldedStore store_;
  std::vector<std::vector<Write>> log_;  // committed transactions, oldest first
  SimChecker checker_;
  State state_;
  bool up_ = false;
  bool restored_ = false;  // the next boot finds an older database
  std::int64_t n_boots_ = 0;
  bool submits_in_parts_ = false;
  bool orders_in_steps_ = false;
  SeededRandom order_random_;  // its own, so that what else happens does not depend on it
  std::uint64_t restore_count_ = 0;
  Instant paused_until_ = 0;
  std::vector<Pending> pending_;
  bool committing_ = false;
  SessionId next_session_ = 1;
  std::map<SessionId, int> session_worker_;  // of this boot
  std::set<SessionId> said_hello_;
  std::set<std::string> referred_;  // bytes that rows refer to, or did when bytes were removed last
};

}  // namespace longrun::coordinator
