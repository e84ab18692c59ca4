// What all parts of a simulation share: virtual time, one source of randomness, the fault switch,
// the network, the artifact store, and the first violation that somebody found.
//
// A seed is the whole reproduction: nothing here reads a clock, a pointer value or a hash order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/random.h"
#include "coordinator/scheduler/state.h"

namespace longrun::coordinator {

// A rule that is taken away, to see that the checkers notice. Each is a bug that somebody could
// write; the scheduler itself is not touched, the simulated server around it breaks the rule.
enum class Mutation {
  kNone,
  kNoFencing,          // a stale attempt's records are applied as if it were current
  kNoDedupe,           // records that are stored already are stored again
  kNoGapCheck,         // records after a gap are stored
  kEarlyAck,           // commands are sent before the commit
  kCommitNotDurable,   // the last commits vanish with a power loss of the coordinator
  kNoCompleteness,     // `final` succeeds whatever rows are there
  kCheckpointEarly,    // a checkpoint counts before its bytes are in the store
  kShipUnsynced,       // the worker sends records before they are on disk
  kCancelIgnored,      // a cancellation is confirmed, but not done
  kDoubleSlot,         // slots are offered although an attempt is on them
  kFreeRetries,        // failures and losses are not counted
  kLostTransition,     // a state change is written without its event
  kPutFirstIgnored,    // that a sweep is put first is confirmed, but not done
  kRemovedEarly,       // a sweep that is not over is removed
  kEpochFloorLost,     // what was collected leaves no trace in the epochs that follow
  kRefreshForgets,     // what is measured again has no numbers until then
  kParentsForgotten,   // garbage is collected without asking which runs others go on from
  kBasesForgotten,     // a run that is to start from another's weights starts from its own
  kPauseIgnored,       // a pause is confirmed and stored, and its tasks go on
  kDrainForgotten,     // a drain is stored, and forgotten at once
  kDeadlineIgnored,    // trainers go on after the deadline of a drain
  kDatasetsIgnored,    // tasks are placed as if no worker had any dataset
  kQuarantineIgnored,  // a quarantine is stored, and forgotten at once
  kAllocationIgnored,  // that a worker's allocation ends is forgotten
  kOfferBinds,         // a run is bound by its first offer, whether or not that starts
  kFolderIgnored,      // whoever has a worker's id is that worker
  kUnpreparedFree,     // that workers die while they prepare a task is never the task's doing
  kUnfinishedKept,     // what a crash leaves of a submission in parts is a sweep like others
  kOrderForgotten,     // what a crash leaves of an order in steps is never ended
};
struct MutationRow {
  Mutation mutation;
  std::string_view name;
};
const std::vector<MutationRow>& Mutations();

struct SimCheckpoint {
  std::int64_t step = 0;
  std::uint64_t value = 0;
};

struct SimStats {
  std::map<std::string, std::int64_t> fired;  // fault or event -> how often
};

struct World {
  explicit World(std::uint64_t seed, Mutation removed) : random(seed), mutation(removed) {}

  // ---- time
  Instant now = 0;
  // Somebody sets it a day back, and forward again: no result and no duration may follow it.
  std::int64_t WallMs() const;
  void After(Instant delay_ms, std::function<void()> action);
  bool RunNext();  // false when nothing is left

  // ---- chance
  SeededRandom random;
  const Mutation mutation;
  bool faults = true;
  bool mixed = false;      // the slots of one worker are of another kind
  bool has_older = false;  // one worker's release knows fewer ways of computing a run
  bool kills = false;      // preparing a task may kill its worker
  // A fault that happens with this probability, while there are faults at all.
  bool Fault(const std::string& name, double probability);
  std::int64_t Between(std::int64_t low, std::int64_t high);  // both included

  // ---- network: loss, repetition, reordering, delay, partitions; each message stands alone, which
  // is harsher than the ordered streams of gRPC
  std::set<int> cut_up, cut_down;  // workers whose messages do not pass
  void Carry(int worker, bool up, std::function<void()> deliver);

  // ---- artifact store: bytes by hash, and what a trainer wrote under it
  std::set<std::string> uploaded;
  std::map<std::string, SimCheckpoint> checkpoints;

  // ---- verdict
  std::string violation;  // the first one
  void Violate(std::string what);
  SimStats stats;

 private:
  struct Later {
    Instant when;
    std::uint64_t n;
    std::function<void()> action;
    bool operator<(const Later& other) const {
      return std::tie(other.when, other.n) < std::tie(when, n);  // the earliest on top
    }
  };
  std::priority_queue<Later> heap_;
  std::uint64_t n_ = 0;
};

// What training and evaluating give, by definition: the oracle.
std::uint64_t TrainedValue(const std::string& run_key, std::int64_t step);
std::uint64_t FinalValue(const std::string& run_key, const Run& run);
// What a run begins with that starts from other weights: as new for each run.
std::uint64_t BegunValue(const std::string& run_key, std::uint64_t weights);
std::uint64_t NextValue(std::uint64_t value, std::int64_t step);
std::int64_t SimStepsOf(const Run& run);
double EvaluatedValue(std::uint64_t trained, std::int64_t context_length);
inline constexpr std::int64_t kSimSteps = 12;  // a run that goes on has as many again
inline constexpr std::int64_t kSimCheckpointSteps = 4;

}  // namespace longrun::coordinator
