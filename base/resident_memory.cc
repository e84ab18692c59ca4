// See resident_memory.h.
#include "base/resident_memory.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::int64_t kGrownBytesMin = 32 << 20;
constexpr int kCallsWaitMax = 64;

}  // namespace

std::int64_t ResidentBytes() {
  const Result<std::string> text = ReadFile("/proc/self/statm");  // pages: total, resident, ...
  if (!text.ok()) return 0;
  const std::vector<std::string> fields = Split(*text, ' ');
  return fields.size() < 2 ? 0 : std::atoll(fields[1].c_str()) * sysconf(_SC_PAGESIZE);
}

void ResidentMemory::GiveBackWhenGrown() {
  const std::int64_t now_bytes = ResidentBytes();
  if (least_bytes_ == 0 || now_bytes < least_bytes_) least_bytes_ = now_bytes;
  const std::int64_t bound = std::max(kGrownBytesMin, least_bytes_ / 8);
  if (now_bytes - least_bytes_ < bound) {
    n_calls_wait_ = 0;
    return;
  }
  if (n_calls_ < n_calls_wait_ && now_bytes - left_bytes_ < bound) {
    n_calls_ += 1;
    return;
  }
  malloc_trim(0);
  left_bytes_ = ResidentBytes();
  n_calls_ = 0;
  n_calls_wait_ =
      left_bytes_ - least_bytes_ < bound ? 0 : std::clamp(2 * n_calls_wait_, 1, kCallsWaitMax);
}

}  // namespace longrun
