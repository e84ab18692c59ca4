// Open files, of which a process may have only so many.
#pragma once

#include "base/status.h"

namespace longrun {

// kResourceExhausted, with the limit to raise, unless `n_files` more files could be opened at this
// moment. Asked before a library opens files of its own, which would abort, or wait for ever for one
// that it may open. `who` needs them: "the coordinator".
Status CheckFileRoom(int n_files, std::string_view who);

}  // namespace longrun
