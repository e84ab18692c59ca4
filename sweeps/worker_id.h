// The name of a worker, which its folder keeps:
//
//   STATE/worker_id     NAME crc32c=XXXXXXXX
//
// The check sum is the name's, so that damage is told at the start: under another name it would be another
// worker, and what it has under way would be waited for until the lease is over. A name alone, as earlier
// releases wrote it and people write it, is taken as it stands.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

std::string WorkerIdText(std::string_view id);
// kDataLoss, with what to do, when `text`, which stands in the file `path`, is neither.
Result<std::string> ParseWorkerId(std::string_view text, const std::string& path);

}  // namespace longrun
