// Places in a worker's state folder that the client looks at, too:
//
//   WORKER/lock                            held by the worker
//   WORKER/attempts/ATTEMPT/checkpoints    written by the trainer; the store may not have them
//   WORKER/attempts/ATTEMPT/shim.lock      held by the trainer's parent until the trainer has ended
//
// The worker that `run` and `up` start on a state folder is in STATE/worker.
#pragma once

#include <string>

namespace longrun {

std::string OwnWorkerFolder(const std::string& state_folder);
std::string WorkerLockPath(const std::string& worker_folder);
std::string AttemptsFolder(const std::string& worker_folder);
std::string CheckpointsFolder(const std::string& attempt_folder);
std::string ShimLockPath(const std::string& attempt_folder);

}  // namespace longrun
