// An accepted task whose trainer has not started: the datasets and the checkpoints that it needs
// are looked for or fetched first.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "sweeps/session_messages.h"
#include "sweeps/task.h"
#include "worker/agent/attempt_folder.h"
#include "worker/agent/devices.h"
#include "worker/agent/transfer.h"

namespace longrun::agent {

struct Order {
  StartMessage start;
  TaskFile task;  // of `start`
  int tries = 0;
  bool is_busy = false;       // a job is fetching what it needs
  std::int64_t again_ms = 0;  // when to try again, unless it is busy
  bool unwanted = false;      // stopped or withdrawn before it was started
};

// Checks that everything that can change bits is the same as in the run's first attempt.
// kInvalidArgument, kFailedPrecondition.
Status CheckStart(const StartMessage& start, const TaskFile& task, const Slot& slot);

// The datasets and the checkpoints that an order needs, as paths of this machine.
struct Prepared {
  std::string dataset_path;
  std::string evaluated_dataset_path;              // "": the evaluation reads the run's own
  std::map<std::string, std::string> checkpoints;  // sha256 -> folder
};
// Blocks; may be called from any thread. `state`: the worker's folder.
Result<Prepared> PrepareOrder(const StartMessage& start, const TaskFile& task,
                              const std::string& state, ArtifactTransfer& artifacts);

// The order's task file with this machine's paths. kInvalidArgument if the task file names a
// checkpoint that the order does not have.
Result<TaskFile> PlacedTask(const Order& order, const Prepared& prepared,
                            const AttemptFolder& folder, const std::string& state);

std::vector<std::string> TrainerEnvironment(const TaskFile& task, int device_index);

}  // namespace longrun::agent
