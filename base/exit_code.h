// How our programs other than `longrun` end: the codes of sysexits(3). Who started a program reads
// them: a worker its trainers' (sweeps/failure.h has the rest of those), `longrun run` its
// daemons'.
#pragma once

namespace longrun {

inline constexpr int kExitBadUsage = 64;  // EX_USAGE
inline constexpr int kExitDamaged = 65;   // EX_DATAERR: what is stored is damaged or was deleted
inline constexpr int kExitTaken = 69;  // EX_UNAVAILABLE: a coordinator's folder or address is taken
inline constexpr int kExitSoftware = 70;  // EX_SOFTWARE: the program itself is wrong
inline constexpr int kExitLimit = 71;    // EX_OSERR: a limit on file size or open files is too low
inline constexpr int kExitStorage = 74;  // EX_IOERR: a disk is full or failed, memory ran out
inline constexpr int kExitWorkerTaken = 75;    // EX_TEMPFAIL: a worker's folder or address is taken
inline constexpr int kExitNoPermission = 77;   // EX_NOPERM
inline constexpr int kExitConfiguration = 78;  // EX_CONFIG

}  // namespace longrun
