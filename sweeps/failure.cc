// The table of failure classes, and the reasons for its rows:
//
//   numerical   training is deterministic: another attempt would meet the same NaN,
//               so there is none
//   killed      by someone else, for example the kernel: not the run's fault,
//               so it counts as a loss
//   data        another machine may have a good copy
//   storage     a full disk is not the run's fault: it counts as a loss,
//               and is retried on another worker
//   limit       a setting of one machine: another worker may have a higher limit,
//               a retry here would not
//   preempted   we asked for it: no cost, no wait
//   crashed, out_of_memory
//               may be the fault of the slot: of a broken device, or of another program that uses
//               the device's memory
#include "sweeps/failure.h"

#include <algorithm>
#include <csignal>

#include "base/check.h"

namespace longrun {
namespace {

constexpr FailureRow kTable[] = {
    {.failure_class = FailureClass::kLost,
     .name = "lost",
     .counted_as = CountedAs::kLoss,
     .retryable = true,
     .back_off = false,
     .avoid_worker = true,
     .blames_slot = false,
     .exit_code = 0,
     .advice = "the worker was not heard from in time: check that its machine and its daemon are "
               "running"},
    {.failure_class = FailureClass::kVanished,
     .name = "vanished",
     .counted_as = CountedAs::kLoss,
     .retryable = true,
     .back_off = true,
     .avoid_worker = true,
     .blames_slot = false,
     .exit_code = 0,
     .advice = "the trainer ended without a trace: the machine rebooted, the trainer's shim was "
               "killed, or somebody removed the attempt's folder; look at the system log of the "
               "worker's machine",
     .remedies = {"look at the system log of the worker's machine"}},
    {.failure_class = FailureClass::kKilled,
     .name = "killed",
     .counted_as = CountedAs::kLoss,
     .retryable = true,
     .back_off = true,
     .avoid_worker = true,
     .blames_slot = false,
     .exit_code = 0,
     .advice =
         "the trainer was killed with signal 9, but not by the kernel for lack of memory: find out "
         "on the worker's machine who sent the signal (a user, a batch system, a supervisor)"},
    {.failure_class = FailureClass::kCrashed,
     .name = "crashed",
     .counted_as = CountedAs::kFailure,
     .retryable = true,
     .back_off = true,
     .avoid_worker = true,
     .blames_slot = true,
     .exit_code = 70,
     .advice = "the trainer crashed: `longrun logs` of the task shows its last lines"},
    {.failure_class = FailureClass::kNumerical,
     .name = "numerical",
     .counted_as = CountedAs::kFailure,
     .retryable = false,
     .back_off = false,
     .avoid_worker = false,
     .blames_slot = false,
     .exit_code = 80,
     .advice = "training gave NaN or infinity, and would do so again: lower train.optimizer.lr, "
               "lengthen train.schedule.warmup_tokens, or clip at a smaller "
               "train.optimizer.grad_clip (0 clips nothing)"},
    {.failure_class = FailureClass::kOutOfMemory,
     .name = "out_of_memory",
     .counted_as = CountedAs::kFailure,
     .retryable = true,
     .back_off = true,
     .avoid_worker = true,
     .blames_slot = true,
     .exit_code = 81,
     .advice = "the device or the host has too little memory, or the worker's limit on memory "
               "(`ulimit -v`) is too low: use more memory or a higher limit, a smaller model, a "
               "shorter train_length or context length, or, in training, "
               "train.activation_checkpointing: true"},
    {.failure_class = FailureClass::kInvalid,
     .name = "invalid",
     .counted_as = CountedAs::kNothing,
     .retryable = false,
     .back_off = false,
     .avoid_worker = false,
     .blames_slot = false,
     .exit_code = 78,
     .advice = "this task cannot succeed as written: the message says what to change"},
    {.failure_class = FailureClass::kData,
     .name = "data",
     .counted_as = CountedAs::kFailure,
     .retryable = true,
     .back_off = true,
     .avoid_worker = true,
     .blames_slot = false,
     .exit_code = 65,
     .advice = "a dataset or a stored file is missing or damaged: import the dataset again, or "
               "restore the file from a backup",
     .remedies = {"import the dataset again", "import it again", "restore a backup"}},
    {.failure_class = FailureClass::kStorage,
     .name = "storage",
     .counted_as = CountedAs::kLoss,
     .retryable = true,
     .back_off = true,
     .avoid_worker = true,
     .blames_slot = false,
     .exit_code = 74,
     .advice = "the worker cannot write: its disk is full or failing, or a folder belongs to "
               "another user; free space there, or return the folder to the worker's user"},
    {.failure_class = FailureClass::kLimit,
     .name = "limit",
     .counted_as = CountedAs::kFailure,
     .retryable = true,
     .back_off = true,
     .avoid_worker = true,
     .blames_slot = false,
     .exit_code = 71,
     .advice =
         "a limit of the worker's process is too low, on the size of a file (`ulimit -f`), on "
         "open files (`-n`) or on threads (`-u`): raise it, and start the worker again"},
    {.failure_class = FailureClass::kIncomplete,
     .name = "incomplete",
     .counted_as = CountedAs::kFailure,
     .retryable = true,
     .back_off = true,
     .avoid_worker = false,
     .blames_slot = false,
     .exit_code = 0,
     .advice = "the trainer ended as if it had finished, but rows are missing: please report this "
               "with `longrun logs` of the task"},
    {.failure_class = FailureClass::kPreempted,
     .name = "preempted",
     .counted_as = CountedAs::kNothing,
     .retryable = true,
     .back_off = false,
     .avoid_worker = false,
     .blames_slot = false,
     .exit_code = 75,
     .advice = "the trainer was asked to stop and wrote a checkpoint; the task continues from it "
               "automatically"},
    {.failure_class = FailureClass::kCancelled,
     .name = "cancelled",
     .counted_as = CountedAs::kNothing,
     .retryable = false,
     .back_off = false,
     .avoid_worker = false,
     .blames_slot = false,
     .exit_code = 0,
     .advice = "cancelled; submit the sweep again to continue from the last checkpoint"},
};

// Maps the codes of sysexits.h that the table does not have.
FailureClass ClassOfExitCode(int exit_code) {
  constexpr int kUsage = 64, kNoInput = 66, kCannotCreate = 73;
  switch (exit_code) {
    case 0:
      return FailureClass::kIncomplete;
    case kUsage:
      return FailureClass::kInvalid;
    case kNoInput:
      return FailureClass::kData;
    case kCannotCreate:
      return FailureClass::kStorage;
  }
  for (const FailureRow& row : kTable) {
    if (row.exit_code == exit_code) return row.failure_class;
  }
  return FailureClass::kCrashed;
}

bool LogSays(const EndEvidence& evidence, std::string_view words) {
  return evidence.log_tail.find(words) != std::string::npos;
}

// std::terminate after an uncaught bad_alloc, or too little memory to load a library.
bool EndedWithoutMemory(const EndEvidence& evidence) {
  constexpr int kNotLoaded = 127;
  if (evidence.signal == SIGABRT) return LogSays(evidence, "'std::bad_alloc'");
  return evidence.exit_code == kNotLoaded &&
         LogSays(evidence, "error while loading shared libraries") &&
         LogSays(evidence, "failed to map segment") &&
         !LogSays(evidence, "Operation not permitted");  // a file system mounted noexec
}

bool EndedWithoutThread(const EndEvidence& evidence) {
  return evidence.exit_code == 1 && LogSays(evidence, "libgomp: Thread creation failed");
}

}  // namespace

std::span<const FailureRow> FailureTable() { return kTable; }

const FailureRow& FailureOf(FailureClass failure_class) {
  const auto row = std::ranges::find(kTable, failure_class, &FailureRow::failure_class);
  LR_CHECK(row != std::end(kTable));
  return *row;
}

const FailureRow* FindFailure(std::string_view name) {
  const auto row = std::ranges::find(kTable, name, &FailureRow::name);
  return row == std::end(kTable) ? nullptr : row;
}

FailureClass ClassOfShortage(Shortage shortage) {
  switch (shortage) {
    case Shortage::kDisk:
      return FailureClass::kStorage;
    case Shortage::kFileSize:
    case Shortage::kOpenFiles:
      return FailureClass::kLimit;
    case Shortage::kMemory:
      return FailureClass::kOutOfMemory;
  }
  LR_CHECK(false);
}

std::int64_t BackOffMs(std::int64_t n, std::uint64_t random64, const BackOffRange& range) {
  LR_CHECK(n >= 0 && range.base_ms >= 0 && range.limit_ms >= range.base_ms);
  std::int64_t wait_ms = range.base_ms;
  for (std::int64_t i = 0; i < n && wait_ms < range.limit_ms; ++i) {
    wait_ms = std::min(2 * wait_ms, range.limit_ms);
  }
  // Uniform in [wait / 2, wait * 3 / 2].
  return wait_ms - wait_ms / 2 +
         static_cast<std::int64_t>(random64 % (static_cast<std::uint64_t>(wait_ms) + 1));
}

FailureClass ClassifyEnd(const EndEvidence& evidence) {
  if (evidence.cancel_requested) return FailureClass::kCancelled;
  if (evidence.lease_ended) return FailureClass::kLost;
  if (evidence.oom_kill) return FailureClass::kOutOfMemory;
  if (evidence.exit_known && EndedWithoutMemory(evidence)) return FailureClass::kOutOfMemory;
  if (evidence.exit_known && EndedWithoutThread(evidence)) return FailureClass::kLimit;
  if (evidence.exit_known && evidence.signal != 0) {
    // We kill a trainer that does not stop within its grace time.
    if (evidence.stop_requested) return FailureClass::kPreempted;
    return evidence.signal == SIGKILL ? FailureClass::kKilled : FailureClass::kCrashed;
  }
  if (const FailureRow* const said = FindFailure(evidence.failed_class)) return said->failure_class;
  if (evidence.exit_known) return ClassOfExitCode(evidence.exit_code);
  return evidence.final_seen ? FailureClass::kIncomplete : FailureClass::kVanished;
}

}  // namespace longrun
