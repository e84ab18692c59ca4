#include "worker/agent/host_usage.h"

#include <charconv>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"

namespace longrun::agent {
namespace {

std::optional<std::int64_t> IntOf(std::string_view text) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

// "cpu user nice system idle iowait irq softirq steal guest guest_nice":
// user and nice include the guests.
std::optional<CpuTicks> ParseCpuTicks(std::string_view stat) {
  constexpr std::string_view kCpu = "cpu ";
  if (!stat.starts_with(kCpu)) return std::nullopt;
  const std::string_view line = stat.substr(kCpu.size(), stat.find('\n') - kCpu.size());
  const std::vector<std::string> words = Split(Trim(line), ' ');
  constexpr std::size_t kIdle = 3, kIoWait = 4, kFields = 8;
  if (words.size() < kFields) return std::nullopt;
  CpuTicks ticks;
  for (std::size_t i = 0; i < kFields; ++i) {
    const auto number = IntOf(words[i]);
    if (!number) return std::nullopt;
    ticks.all += *number;
    if (i != kIdle && i != kIoWait) ticks.busy += *number;
  }
  return ticks;
}

std::optional<double> HostUsage::CpuRatio() {
  const Result<std::string> stat = ReadFile("/proc/stat");
  const auto now = stat.ok() ? ParseCpuTicks(*stat) : std::nullopt;
  if (!now || now->all <= before_.all) return std::nullopt;
  const double ratio =
      static_cast<double>(now->busy - before_.busy) / static_cast<double>(now->all - before_.all);
  before_ = *now;
  return ratio;
}

}  // namespace longrun::agent
