// The exit codes of our programs other than `longrun`, from sysexits(3). The process that started a
// program reads them: a worker those of its trainers (the rest of these are in sweeps/failure.h),
// `longrun run` those of its daemons.
#pragma once

namespace longrun {

inline constexpr int kExitBadUsage = 64;  // EX_USAGE
inline constexpr int kExitDamaged = 65;   // EX_DATAERR: stored data is damaged or was deleted
inline constexpr int kExitTaken = 69;  // EX_UNAVAILABLE: a coordinator's folder or address is taken
inline constexpr int kExitSoftware = 70;  // EX_SOFTWARE: a bug in the program
inline constexpr int kExitLimit = 71;     // EX_OSERR: a limit on file size or open files is too low
inline constexpr int kExitStorage = 74;   // EX_IOERR: a disk is full or failed, memory ran out
inline constexpr int kExitWorkerTaken = 75;    // EX_TEMPFAIL: a worker's folder or address is taken
inline constexpr int kExitNoPermission = 77;   // EX_NOPERM
inline constexpr int kExitConfiguration = 78;  // EX_CONFIG

}  // namespace longrun
