// Failure classes: one row of one table each (contracts.md section 7).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace longrun {

enum class FailureClass {
  kLost,         // the lease ended: the worker or its machine is gone
  kVanished,     // the trainer ended and left no evidence at all
  kCrashed,      // a signal (SIGSEGV, SIGABRT, SIGKILL by somebody) or an unknown exit code
  kNumerical,    // NaN or infinity
  kOutOfMemory,  // of the device or the host
  kInvalid,      // a task that can never work: configuration, an operator that is missing
  kData,         // a dataset or a checkpoint that is missing or damaged
  kStorage,      // disk full, I/O errors
  kIncomplete,   // the trainer said final, but rows are missing
  kPreempted,    // yielded when asked to (checkpointed, exit 75)
  kCancelled,    // stopped because the user cancelled
};

enum class CountedAs { kFailure, kLoss, kNothing };

struct FailureRow {
  FailureClass failure_class;
  std::string_view name;      // "out_of_memory"
  CountedAs counted_as;       // against failures_max, losses_max or nothing
  bool retryable;
  bool back_off;              // waits before the next attempt
  bool avoid_worker;          // prefers another worker next time, where there is one
  int exit_code;              // of a trainer that says so by itself; 0: found by other evidence
  std::string_view advice;    // what the user is told to do
};

std::span<const FailureRow> FailureTable();
const FailureRow& FailureOf(FailureClass failure_class);
// By name; null when unknown.
const FailureRow* FindFailure(std::string_view name);

// min(2^n * base, limit), jittered by +-50 % from `random64`; n counts earlier counted failures.
std::int64_t BackOffMs(std::int64_t n, std::uint64_t random64);

// How an attempt ended, as the worker saw it.
struct EndEvidence {
  bool exit_known = false;    // exit.json was there
  int exit_code = -1;
  int signal = 0;
  bool oom_kill = false;
  std::string failed_class;   // of the journal's `failed` record, "" when there is none
  std::string failed_message;
  bool final_seen = false;
  bool stop_requested = false;
};
// The class by evidence: the worker's own (signal, oom_kill) outranks the trainer's word.
FailureClass ClassifyEnd(const EndEvidence& evidence);

}  // namespace longrun
