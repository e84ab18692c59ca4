// Room for open files: the number that a process may have open is limited.
#pragma once

#include "base/status.h"

namespace longrun {

// kResourceExhausted, with the limit to raise, unless `n_files` more files could be opened now.
// Call it before a library opens files of its own: without room, the library would abort or wait
// forever. `who` needs the files: "the coordinator".
Status CheckFileRoom(int n_files, std::string_view who);

}  // namespace longrun
