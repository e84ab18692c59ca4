// Failure classes: one row of one table each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/shortage.h"

namespace longrun {

enum class FailureClass {
  kLost,         // the lease ended: the worker or its machine is gone
  kVanished,     // the trainer ended and left no evidence at all
  kKilled,       // SIGKILL, neither ours nor the kernel's for memory
  kCrashed,      // another signal (SIGSEGV, SIGABRT) or an unknown exit code
  kNumerical,    // NaN or infinity
  kOutOfMemory,  // of the device or the host
  kInvalid,      // a task that can never work: configuration, an operator that is missing
  kData,         // a dataset or a checkpoint that is missing or damaged
  kStorage,      // disk full, I/O errors, a folder that may not be written
  kLimit,        // a limit of the process: the size of a file, the number of open ones
  kIncomplete,   // the trainer said final, but rows are missing
  kPreempted,    // yielded when asked to (checkpointed, exit 75)
  kCancelled,    // stopped because the user cancelled
};

enum class CountedAs { kFailure, kLoss, kNothing };

struct FailureRow {
  FailureClass failure_class;
  std::string_view name;  // "out_of_memory"
  CountedAs counted_as;   // against failures_max, losses_max or nothing
  bool retryable;
  bool back_off;            // waits before the next attempt
  bool avoid_worker;        // prefers another worker next time, where there is one
  int exit_code;            // of a trainer that says so by itself; 0: found by other evidence
  std::string_view advice;  // what the user is told to do
};

std::span<const FailureRow> FailureTable();
const FailureRow& FailureOf(FailureClass failure_class);
// By name; null when unknown.
const FailureRow* FindFailure(std::string_view name);

// What a task ends as that met a shortage.
FailureClass ClassOfShortage(Shortage shortage);

struct BackOffRange {
  std::int64_t base_ms = 10'000;
  std::int64_t limit_ms = 600'000;
};
// min(2^n * base, limit), jittered by +-50 % from `random64`; n counts earlier counted failures.
std::int64_t BackOffMs(std::int64_t n, std::uint64_t random64, const BackOffRange& range = {});

// How an attempt ended, as the worker and the coordinator saw it. Not asked for an attempt that
// gave all its rows: that is a success, however it exited.
struct EndEvidence {
  bool lease_ended = false;       // the worker was not heard of in time
  bool cancel_requested = false;  // the user wanted it gone
  bool exit_known = false;        // exit.json was there
  int exit_code = -1;
  int signal = 0;
  bool oom_kill = false;
  std::string failed_class = {};  // of the journal's `failed` record, "" when there is none
  std::string failed_message = {};
  bool final_seen = false;
  bool stop_requested = false;  // yield, to go on later
  std::string log_tail = {};    // the last that the trainer wrote to its log
};
// The class by evidence, strongest first: what we asked for, what the worker saw itself (signal,
// oom_kill), the trainer's `failed` record, its exit code. The log counts for what ends a program before
// or beside its own code: the loader, a static initialiser, the threads' library.
FailureClass ClassifyEnd(const EndEvidence& evidence);

}  // namespace longrun
