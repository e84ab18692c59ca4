// The name of a worker and the id of its folder, which are stored in this folder:
//
//   STATE/worker_id     NAME crc32c=XXXXXXXX
//   STATE/folder_id     ULID crc32c=XXXXXXXX
//
// The checksum protects the name, so that damage is noticed at the start. A worker with a damaged
// name would count as another worker, and the attempts of the first one would be given up only at
// the end of the lease. A name without a checksum, as written by earlier releases and by people, is
// accepted.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

std::string WorkerIdText(std::string_view id);
// kDataLoss, with the remedy, if `text`, the content of the file `path`, has neither form.
Result<std::string> ParseWorkerId(std::string_view text, const std::string& path);
// The id in the file `path`; kNotFound if there is no such file, and kDataLoss, with the remedy, if
// it is a folder, too long or damaged.
Result<std::string> ReadWorkerId(const std::string& path);
// The folder's id in the file `path`; kDataLoss if the file holds no ULID with its checksum.
Result<std::string> ReadFolderId(const std::string& path);

}  // namespace longrun
