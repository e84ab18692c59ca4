// Resources that can run out: disk space, a limit of the process, memory. All are
// kResourceExhausted, but each needs another remedy.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace longrun {

// The message for EAGAIN from starting a thread; anywhere else EAGAIN does not mean a shortage.
inline constexpr const char* kOutOfThreads =
    "no thread can be started: the limit on processes (`ulimit -u`, or TasksMax= of the unit) or "
    "on "
    "memory (`ulimit -v`) is reached";

// What to do about a full disk whose files are longrun's. Only what writes such files knows that
// they are, so it adds this to its message.
inline constexpr std::string_view kMakeRoom =
    "make room there (`longrun gc --dry-run` shows what can be removed)";

// For so long, a trainer waits for room on a full disk. Then its write fails, and the task may go
// on at a worker that has room.
inline constexpr std::int64_t kRoomPatienceMs = 10 * 60 * 1000;

enum class Shortage {
  kDisk,       // ENOSPC, EDQUOT
  kFileSize,   // EFBIG: a limit of the process, whatever the disk has
  kOpenFiles,  // EMFILE, ENFILE
  kMemory,     // ENOMEM
};

// From an errno; nullopt if it does not mean a shortage.
std::optional<Shortage> ShortageOf(int error_number);
// From an error that ErrnoStatus made, here or on the other side of the wire. A Status that crossed
// the wire has only its code and its message, so this looks for the system's words in the message.
std::optional<Shortage> ShortageOf(const Status& status);

// Whether the process reached a limit of its own (file size or open files), which every process
// started in the same way will reach again.
bool IsProcessLimit(const Status& status);

// The remedy that ErrnoStatus adds after the system's words; "" for a full disk,
// where the system's words suffice.
std::string_view ShortageRemedy(int error_number);

}  // namespace longrun
