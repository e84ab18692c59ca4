// A scheduler with a store behind it, and workers that say what a test tells them to. After each
// step its writes are committed to a FoldedStore, which checks every transaction; Restart() reads
// the state back from there.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/str.h"
#include "coordinator/scheduler/scheduler.h"
#include "tests/simulation/folded_store.h"
#include "tests/simulation/sample_sweep.h"

namespace longrun::coordinator {

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() {
    state.boot = "boot-1";
    AfterLoad(state, now, 1);
  }

  StepResult Do(const SchedulerEvent& event) {
    StepResult result = Step(state, event, now, 1'700'000'000'000 + wall_set_ms + now);
    EXPECT_EQ(store.Commit(result.writes), "");
    for (const WorkerChange& change : result.workers) {
      worker_log.push_back(Str(change.is_missed ? "W " : "I ", change.worker, " ", change.state,
                               ": ", change.reason));
    }
    return result;
  }
  // Time goes on as in the daemon: TimePassed each second.
  StepResult Wait(std::int64_t ms) {
    StepResult all;
    for (std::int64_t end = now + ms; now < end;) {
      now = std::min(now + 1000, end);
      StepResult one = Do(TimePassed{});
      all.commands.insert(all.commands.end(), one.commands.begin(), one.commands.end());
    }
    return all;
  }
  void Restart(bool restored = false) {
    const std::string boot = state.boot;
    state = store.Load(state.limits, state.restore_count + (restored ? 1 : 0), now, 2, restored);
    state.boot = boot;
  }

  StepResult Submit(const SampleSweep& sample, const std::string& id = "sweep-1") {
    return Do(SweepSubmitted{.sweep_id = id,
                             .sweep = MakeSweep(sample),
                             .dataset_paths = SampleDatasets(),
                             .known_cells = store.cells});
  }
  static Slot CpuSlot(std::int64_t index = 0) {
    return {.index = index,
            .kind = DeviceKind::kCpu,
            .name = "EPYC",
            .memory_bytes = 4'000'000'000,
            .threads = 2,
            .simd = "avx2",
            .linear = "aten/AuthenticAMD"};
  }
  static WorkerArrived Arrival(const std::string& worker, std::vector<Slot> slots,
                               SessionId session, std::vector<LiveAttempt> attempts = {},
                               const std::string& incarnation = "A") {
    return {.session = session,
            .worker = {.id = worker,
                       .incarnation = incarnation,
                       .host = worker + ".example",
                       .version = "0.1.0",
                       .slots = std::move(slots),
                       .dataset_digests = {},
                       .session = {},
                       .busy = {},
                       .pauses = {}},
            .attempts = std::move(attempts)};
  }
  StepResult Arrive(const std::string& worker, std::vector<Slot> slots, SessionId session,
                    std::vector<LiveAttempt> attempts = {}, const std::string& incarnation = "A") {
    return Do(Arrival(worker, std::move(slots), session, std::move(attempts), incarnation));
  }

  // The one task of a kind.
  Task& TheTask(TaskKind kind) {
    for (auto& [id, task] : state.tasks) {
      if (task.kind == kind) return task;
    }
    ADD_FAILURE() << "there is no such task";
    std::abort();
  }
  Task& Train() { return TheTask(TaskKind::kTrain); }
  Task& Evaluate() { return TheTask(TaskKind::kEvaluate); }
  Attempt& Current(const Task& task) { return state.attempts.at(task.attempt); }

  StepResult Accept(const Attempt& attempt, SessionId session = 1) {
    return Do(AttemptAccepted{.session = session, .attempt = attempt.id, .epoch = attempt.epoch});
  }
  StepResult Deliver(const Attempt& attempt, const SampleJournal& journal, std::int64_t first_seq,
                     std::int64_t last_seq, SessionId session = 1) {
    JournalReceived event = {.session = session,
                             .attempt = attempt.id,
                             .epoch = attempt.epoch,
                             .first_seq = first_seq,
                             .records = {}};
    for (std::int64_t seq = first_seq; seq <= last_seq; ++seq) {
      const auto& entry = journal.entries.at(static_cast<std::size_t>(seq - 1));
      event.records.push_back({.record = entry.record, .line = entry.line});
    }
    return Do(event);
  }
  StepResult Deliver(const Attempt& attempt, const SampleJournal& journal) {
    return Deliver(attempt, journal, attempt.durable_seq + 1,
                   static_cast<std::int64_t>(journal.entries.size()));
  }
  StepResult Finish(const Attempt& attempt, const EndEvidence& evidence, SessionId session = 1) {
    return Do(AttemptFinished{.session = session,
                              .attempt = attempt.id,
                              .epoch = attempt.epoch,
                              .last_seq = attempt.durable_seq,
                              .evidence = evidence,
                              .log_tail = ""});
  }
  static EndEvidence Exit(int code) { return {.exit_known = true, .exit_code = code}; }
  static EndEvidence Signal(int number) { return {.exit_known = true, .signal = number}; }

  static SampleJournal Begun(const Attempt& attempt) {
    SampleJournal journal;
    journal.Append(RecordKind::kAttempt, {{"task", attempt.task}, {"resume", nullptr}});
    journal.Append(RecordKind::kStarted, Json::object());
    return journal;
  }
  // Accepted and running.
  SampleJournal Begin(const Attempt& attempt, SessionId session = 1) {
    Accept(attempt, session);
    SampleJournal journal = Begun(attempt);
    Deliver(attempt, journal, 1, 2, session);
    return journal;
  }
  // A whole training, or a whole evaluation, and the trainer's end.
  void Complete(const Attempt& attempt, SessionId session = 1) {
    SampleJournal journal = Begin(attempt, session);
    const Task& task = state.tasks.at(attempt.task);
    if (task.kind == TaskKind::kTrain) journal.Checkpoint(Sha256Hex("final"), 125, true);
    for (const ExpectedCell& cell : task.expected_cells) journal.Result(cell, 1.5);
    journal.Final();
    Deliver(attempt, journal, 3, static_cast<std::int64_t>(journal.entries.size()), session);
    Finish(attempt, Exit(0), session);
  }
  static LiveAttempt Listed(const Attempt& attempt, bool running = true) {
    return {.attempt = attempt.id,
            .task = attempt.task,
            .run_key = "",
            .epoch = attempt.epoch,
            .last_seq = 0,
            .running = running};
  }

  // Those of one kind: SendStart, CloseSession, or a message.
  template <typename T>
  static std::vector<T> Commands(const StepResult& result) {
    std::vector<T> out;
    for (const Command& command : result.commands) {
      if constexpr (std::is_same_v<T, SendStart> || std::is_same_v<T, CloseSession>) {
        if (const T* const found = std::get_if<T>(&command)) out.push_back(*found);
      } else if (const auto* const sent = std::get_if<SendMessage>(&command)) {
        if (const T* const found = std::get_if<T>(&sent->message)) out.push_back(*found);
      }
    }
    return out;
  }

  State state;
  FoldedStore store;
  std::vector<std::string> worker_log;  // what the log says about workers
  Instant now = 1'000'000;
  std::int64_t wall_set_ms = 0;  // how far somebody set the wall clock
};

}  // namespace longrun::coordinator
