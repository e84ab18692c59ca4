// One attempt, as the trainer sees it: its task, its journal, and its progress.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "sweeps/event.h"
#include "sweeps/task.h"

namespace longrun::trainer {

// Called with each record of an attempt that a user runs by hand.
using RecordWatcher = std::function<void(const RecordBody& body, std::int64_t step)>;

class Session {
 public:
  // Creates the journal and writes record 1, `attempt`. kAlreadyExists if there is a journal
  // already.
  static Result<Session> Begin(TaskFile task, RecordWatcher watcher = {});

  const TaskFile& task() const { return task_; }
  JournalWriter& journal() { return journal_; }
  // Writes to the journal, and calls the watcher.
  template <typename Body>
  Status Record(const Body& body, std::int64_t step) {
    RETURN_IF_ERROR(journal_.Append(body, step));
    if (watcher_) watcher_(body, step);
    return Status();
  }

  // The current place, for a failure's message: "step 12", "evaluation at 512".
  void SetPlace(std::string place) { place_ = std::move(place); }
  const std::string& place() const { return place_; }

  struct Work {
    std::string_view phase;  // train | validate | evaluate | checkpoint
    std::int64_t done = 0;
    std::int64_t of = 0;
    double tokens_per_s = 0.0;
    std::optional<std::int64_t> step = std::nullopt;
    // The time left; empty: estimated from the work done since the phase began.
    std::optional<double> left_ms = std::nullopt;
  };
  // Writes a `progress` record if the last one is a second old, or the phase is new.
  Status Progress(const Work& work);

 private:
  Session(TaskFile task, JournalWriter journal, RecordWatcher watcher)
      : task_(std::move(task)), journal_(std::move(journal)), watcher_(std::move(watcher)) {}

  TaskFile task_;
  JournalWriter journal_;
  RecordWatcher watcher_;  // may be empty
  std::string place_ = "start";
  std::string phase_;
  std::int64_t phase_begin_ms_ = 0;
  std::int64_t phase_begin_done_ = 0;
  std::map<std::string, double> pace_ms_;  // by phase: milliseconds per unit of work
  std::int64_t reported_ms_ = 0;
};

}  // namespace longrun::trainer
