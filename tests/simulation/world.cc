#include "tests/simulation/world.h"

#include "base/hash.h"

namespace longrun::coordinator {

const std::vector<MutationRow>& Mutations() {
  static const std::vector<MutationRow> rows = {
      {Mutation::kNoFencing, "nofencing"},
      {Mutation::kNoDedupe, "nodedupe"},
      {Mutation::kNoGapCheck, "nogapcheck"},
      {Mutation::kEarlyAck, "earlyack"},
      {Mutation::kCommitNotDurable, "commitnotdurable"},
      {Mutation::kNoCompleteness, "nocompleteness"},
      {Mutation::kCheckpointEarly, "checkpointearly"},
      {Mutation::kShipUnsynced, "shipunsynced"},
      {Mutation::kCancelIgnored, "cancelignored"},
      {Mutation::kDoubleSlot, "doubleslot"},
      {Mutation::kFreeRetries, "freeretries"},
      {Mutation::kLostTransition, "losttransition"},
      {Mutation::kPutFirstIgnored, "putfirstignored"},
      {Mutation::kRemovedEarly, "removedearly"},
      {Mutation::kRefreshForgets, "refreshforgets"},
      {Mutation::kEpochFloorLost, "epochfloorlost"},
      {Mutation::kParentsForgotten, "parentsforgotten"},
      {Mutation::kBasesForgotten, "basesforgotten"},
      {Mutation::kPauseIgnored, "pauseignored"},
      {Mutation::kDatasetsIgnored, "datasetsignored"},
      {Mutation::kAllocationIgnored, "allocationignored"},
      {Mutation::kDrainForgotten, "drainforgotten"},
      {Mutation::kQuarantineIgnored, "quarantineignored"},
      {Mutation::kDeadlineIgnored, "deadlineignored"},
      {Mutation::kOfferBinds, "offerbinds"},
      {Mutation::kFolderIgnored, "folderignored"},
      {Mutation::kUnpreparedFree, "unpreparedfree"},
      {Mutation::kUnfinishedKept, "unfinishedkept"},
      {Mutation::kOrderForgotten, "orderforgotten"},
  };
  return rows;
}

void World::After(Instant delay_ms, std::function<void()> action) {
  heap_.push({.when = now + delay_ms, .n = ++n_, .action = std::move(action)});
}

std::int64_t World::WallMs() const {
  constexpr std::int64_t kDayMs = 86'400'000, kStayMs = 45'000;
  return 1'700'000'000'000 + now + (now / kStayMs % 3 - 1) * kDayMs;
}

bool World::RunNext() {
  if (heap_.empty()) return false;
  const Later next = heap_.top();
  heap_.pop();
  now = next.when;
  next.action();
  return true;
}

bool World::Fault(const std::string& name, double probability) {
  if (!faults || !random.Chance(probability)) return false;
  stats.fired[name] += 1;
  return true;
}

std::int64_t World::Between(std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(high - low + 1)));
}

void World::Carry(int worker, bool up, std::function<void()> deliver) {
  const int n_copies = Fault("message repeated", 0.05) ? 2 : 1;
  for (int i = 0; i < n_copies; ++i) {
    if (Fault("message lost", 0.03)) continue;
    const bool slow = Fault("message late", 0.03);
    const Instant delay = slow ? Between(2'000, 40'000) : Between(1, 200);
    After(delay, [this, worker, up, deliver] {
      if ((up ? cut_up : cut_down).contains(worker)) {
        stats.fired["message cut off"] += 1;
        return;
      }
      deliver();
    });
  }
}

void World::Violate(std::string what) {
  if (violation.empty()) violation = std::move(what);
}

std::uint64_t NextValue(std::uint64_t value, std::int64_t step) {
  return Sm64(value ^ Sm64(static_cast<std::uint64_t>(step)));
}

namespace {

std::uint64_t ValueAfter(std::uint64_t value, std::int64_t n_steps) {
  for (std::int64_t s = 1; s <= n_steps; ++s) value = NextValue(value, s);
  return value;
}

}  // namespace

std::uint64_t TrainedValue(const std::string& run_key, std::int64_t step) {
  return ValueAfter(Fnv1a64(run_key), step);
}

std::uint64_t BegunValue(const std::string& run_key, std::uint64_t weights) {
  return weights ^ Fnv1a64(run_key);
}

std::uint64_t FinalValue(const std::string& run_key, const Run& run) {
  const std::string base = run.BaseKey();
  if (base.empty()) {
    return TrainedValue(run.parent.empty() ? run_key : run.parent, SimStepsOf(run));
  }
  return ValueAfter(BegunValue(run_key, TrainedValue(base, kSimSteps)), SimStepsOf(run));
}

std::int64_t SimStepsOf(const Run& run) { return run.parent.empty() ? kSimSteps : 2 * kSimSteps; }

double EvaluatedValue(std::uint64_t trained, std::int64_t context_length) {
  return static_cast<double>(NextValue(trained, context_length) % 1'000'000) / 1000.0;
}

}  // namespace longrun::coordinator
