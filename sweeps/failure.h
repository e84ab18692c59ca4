// Failure classes: one table, with one row per class.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/shortage.h"

namespace longrun {

enum class FailureClass {
  kLost,         // the lease ended: the worker or its machine is gone
  kVanished,     // the trainer ended without any evidence
  kKilled,       // SIGKILL, sent neither by us nor by the kernel for memory
  kCrashed,      // another signal (SIGSEGV, SIGABRT) or an unknown exit code
  kNumerical,    // NaN or infinity
  kOutOfMemory,  // of the device or the host
  kInvalid,      // a task that can never work: wrong configuration, a missing operator
  kData,         // a missing or damaged dataset or checkpoint
  kStorage,      // disk full, I/O errors, a folder that is not writable
  kLimit,        // a limit of the process: file size or open files
  kIncomplete,   // the trainer wrote `final`, but rows are missing
  kPreempted,    // yielded when asked to (checkpointed, exit 75)
  kCancelled,    // stopped because the user cancelled
};

enum class CountedAs { kFailure, kLoss, kNothing };

struct FailureRow {
  FailureClass failure_class;
  std::string_view name;  // "out_of_memory"
  CountedAs counted_as;   // against failures_max, losses_max or nothing
  bool retryable;
  bool back_off;      // waits before the next attempt
  bool avoid_worker;  // prefers another worker next time, if there is one
  bool blames_slot;   // may be the fault of the slot's device: several such ends put it in doubt
  int exit_code;      // with which a trainer reports this class; 0: found by other evidence
  std::string_view advice;  // what the user should do
  // A message with one of these already says what to do, and the advice is left out.
  std::array<std::string_view, 3> remedies = {};
};

std::span<const FailureRow> FailureTable();
const FailureRow& FailureOf(FailureClass failure_class);
// Finds a class by its name; null if unknown.
const FailureRow* FindFailure(std::string_view name);

// The failure class of a task that met a shortage.
FailureClass ClassOfShortage(Shortage shortage);

struct BackOffRange {
  std::int64_t base_ms = 10'000;
  std::int64_t limit_ms = 600'000;
};
// min(2^n * base, limit), jittered by +-50 % from `random64`; n counts earlier counted failures.
std::int64_t BackOffMs(std::int64_t n, std::uint64_t random64, const BackOffRange& range = {});

// How an attempt ended, as seen by the worker and the coordinator. Not used for an attempt that
// delivered all its rows: that is a success, however its process exited.
struct EndEvidence {
  bool lease_ended = false;       // the worker was silent for too long
  bool cancel_requested = false;  // the user cancelled it
  bool exit_known = false;        // exit.json existed
  int exit_code = -1;
  int signal = 0;
  bool oom_kill = false;
  std::string failed_class = {};  // from the journal's `failed` record; "" if there is none
  std::string failed_message = {};
  bool final_seen = false;
  bool stop_requested = false;  // asked to yield, to continue later
  std::string log_tail = {};    // the end of the trainer's log
};
// The class by the strongest evidence, in this order: a cancellation, the end of the lease, what
// the worker itself saw (oom_kill, the signal), the trainer's `failed` record, its exit code. The
// log counts before the signal, but only for ends that the trainer's own code cannot report: the
// loader has too little memory, an uncaught std::bad_alloc aborts the trainer, or the thread
// library cannot create a thread.
FailureClass ClassifyEnd(const EndEvidence& evidence);

}  // namespace longrun
