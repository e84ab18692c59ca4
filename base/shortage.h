// What ran out: a disk, a limit of the process, memory. All are kResourceExhausted, and each wants
// something else from the user.
#pragma once

#include <optional>
#include <string_view>

#include "base/status.h"

namespace longrun {

// What is said of EAGAIN where a thread was asked for; elsewhere that number tells of no shortage.
inline constexpr const char* kOutOfThreads =
    "no thread can be started: the limit on processes (`ulimit -u`, or TasksMax= of the unit) or "
    "on "
    "memory (`ulimit -v`) is reached";

enum class Shortage {
  kDisk,       // ENOSPC, EDQUOT
  kFileSize,   // EFBIG: a limit of the process, whatever the disk has
  kOpenFiles,  // EMFILE, ENFILE
  kMemory,     // ENOMEM
};

// Of an errno; nothing for one that tells of no shortage.
std::optional<Shortage> ShortageOf(int error_number);
// Of an error that ErrnoStatus made, here or on the other side of the wire: there a Status has its
// code and its message alone, so the system's words in the message are what is looked for.
std::optional<Shortage> ShortageOf(const Status& status);

// Whether the process reached a limit of its own, which every process that is started like it reaches
// again: on the size of a file, or on open files.
bool IsProcessLimit(const Status& status);

// What ErrnoStatus says behind the system's words, with what to do; "" for a disk, whose words say it.
std::string_view ShortageRemedy(int error_number);

}  // namespace longrun
