// An accepted task whose trainer has not started: the datasets, checkpoints and files that it needs
// are looked for or fetched first.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "sweeps/session_messages.h"
#include "sweeps/task.h"
#include "worker/agent/attempt_folder.h"
#include "worker/agent/cache.h"
#include "worker/agent/devices.h"
#include "worker/agent/transfer.h"

namespace longrun::agent {

struct Order {
  StartMessage start;
  TaskFile task;  // of `start`
  int tries = 0;
  bool is_busy = false;       // a job is fetching what it needs
  std::int64_t again_ms = 0;  // when to try again, unless it is busy
  // Stopped or withdrawn before it was started: a job that is fetching ends then.
  std::shared_ptr<std::atomic<bool>> unwanted = std::make_shared<std::atomic<bool>>(false);
};

// Checks that everything that can change bits is the same as in the run's first attempt.
// kInvalidArgument, kFailedPrecondition.
Status CheckStart(const StartMessage& start, const TaskFile& task, const Slot& slot);

// What an order needs, as paths of this machine.
struct Prepared {
  bool waits = false;  // for what another order is fetching: ask again later
  std::map<std::string, std::string> datasets;     // digest -> folder
  std::map<std::string, std::string> checkpoints;  // sha256 -> folder
  std::map<std::string, std::string> input_files;  // "sha256:HEX" -> path
};
struct Preparation {
  Result<Prepared> prepared;
  // What the order takes of the cache, all its items together; 0 if all of them are there.
  std::int64_t cache_bytes = 0;
};
// Looks for all of it, or fetches it. A dataset is taken from the worker's own folder, else from
// the cache, else from the folder that the coordinator names, else it is fetched. Nothing is
// fetched if the cache could not hold all of it: kResourceExhausted. Blocks; may be called from any
// thread. `state`: the worker's folder. Once `unwanted` is true, it ends with kCancelled.
Preparation PrepareOrder(const StartMessage& start, const TaskFile& task, const std::string& state,
                         Cache& cache, ArtifactTransfer& artifacts,
                         const std::atomic<bool>& unwanted);

// The order's task file with this machine's paths. kInvalidArgument if the task file names
// something that the order does not have.
Result<TaskFile> PlacedTask(const Order& order, const Prepared& prepared,
                            const AttemptFolder& folder, const std::string& state);

// `gpu`: the UUID of the slot's GPU or MIG device; unused on a CPU.
std::vector<std::string> TrainerEnvironment(const TaskFile& task, const std::string& gpu);

}  // namespace longrun::agent
