#include "client/words/countdowns.h"

namespace longrun::client {

v1::WatchSweepResponse WithoutCountdowns(v1::WatchSweepResponse message) {
  for (v1::RunInfo& run : *message.mutable_runs()) {
    for (v1::TaskInfo& task : *run.mutable_tasks()) task.clear_not_before_in_ms();
  }
  for (v1::WorkerInfo& worker : *message.mutable_workers()) {
    worker.clear_heard_ms_ago();
    if (worker.has_drain_left_ms()) worker.set_drain_left_ms(0);
    if (worker.has_work_left_ms()) worker.set_work_left_ms(0);
  }
  return message;
}

}  // namespace longrun::client
