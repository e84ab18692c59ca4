#include "client/words/countdowns.h"

namespace longrun::client {

v1::WatchSweepResponse WithoutCountdowns(v1::WatchSweepResponse message) {
  for (v1::RunInfo& run : *message.mutable_runs()) {
    for (v1::TaskInfo& task : *run.mutable_tasks()) task.clear_not_before_in_ms();
  }
  for (v1::WorkerInfo& worker : *message.mutable_workers()) {
    worker.clear_heard_ms_ago();
    worker.clear_drain_left_ms();
    worker.clear_work_left_ms();
  }
  return message;
}

}  // namespace longrun::client
