// The exit codes of our programs other than `longrun`, from sysexits(3). They are read by the
// process that started the program: a worker reads those of its trainers (which have more codes, in
// sweeps/failure.h), and `longrun run` reads those of its daemons.
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
