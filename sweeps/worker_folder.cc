// See worker_folder.h.
#include "sweeps/worker_folder.h"

#include "base/files.h"

namespace longrun {

std::string OwnWorkerFolder(const std::string& state_folder) {
  return JoinPath(state_folder, "worker");
}

std::string WorkerLockPath(const std::string& worker_folder) {
  return JoinPath(worker_folder, "lock");
}

std::string AttemptsFolder(const std::string& worker_folder) {
  return JoinPath(worker_folder, "attempts");
}

std::string CheckpointsFolder(const std::string& attempt_folder) {
  return JoinPath(attempt_folder, "checkpoints");
}

std::string ShimLockPath(const std::string& attempt_folder) {
  return JoinPath(attempt_folder, "shim.lock");
}

}  // namespace longrun
