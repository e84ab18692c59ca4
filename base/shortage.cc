// See shortage.h.
#include "base/shortage.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

namespace longrun {
namespace {

struct Row {
  int error_number;
  Shortage shortage;
  std::string_view remedy;
};

constexpr Row kRows[] = {
    {ENOSPC, Shortage::kDisk, ""},
    {EDQUOT, Shortage::kDisk, ""},
    {EFBIG, Shortage::kFileSize,
     "the limit on file size is reached: raise it (`ulimit -f`, or LimitFSIZE= of the unit); the "
     "disk is not full"},
    {EMFILE, Shortage::kOpenFiles,
     "the limit on open files is reached: raise it (`ulimit -n`, or LimitNOFILE= of the unit)"},
    {ENFILE, Shortage::kOpenFiles,
     "the machine has reached its limit on open files; end programs that have many files open, or "
     "raise fs.file-max (`sysctl`)"},
    {ENOMEM, Shortage::kMemory,
     "the memory of the machine or of its cgroup is used up, or the limit of this process is "
     "reached (`ulimit -v`)"},
};

}  // namespace

std::optional<Shortage> ShortageOf(int error_number) {
  const auto row = std::ranges::find(kRows, error_number, &Row::error_number);
  if (row == std::end(kRows)) return std::nullopt;
  return row->shortage;
}

std::optional<Shortage> ShortageOf(const Status& status) {
  if (status.code() != Code::kResourceExhausted) return std::nullopt;
  for (const Row& row : kRows) {
    const std::string words = std::generic_category().message(row.error_number);
    if (status.message().find(words) != std::string::npos) return row.shortage;
  }
  return std::nullopt;
}

bool IsProcessLimit(const Status& status) {
  const std::optional<Shortage> shortage = ShortageOf(status);
  return shortage == Shortage::kFileSize || shortage == Shortage::kOpenFiles;
}

std::string_view ShortageRemedy(int error_number) {
  const auto row = std::ranges::find(kRows, error_number, &Row::error_number);
  return row == std::end(kRows) ? std::string_view() : row->remedy;
}

}  // namespace longrun
