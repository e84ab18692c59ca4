// See measurement.h.
#include "base/measurement.h"

#include <time.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/exit_code.h"
#include "base/json.h"

namespace longrun {
namespace {

double Seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

void Print(const Measurement& measurement) {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  const Json line = {
      {"name", measurement.name},
      {"unit", measurement.unit},
      {"ours", measurement.ours},
      {"baseline", measurement.baseline.empty() ? Json() : Json(measurement.baseline)},
      {"what_baseline", or_null(measurement.what_baseline)},
      {"target", or_null(measurement.target)}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

double ThreadCpuSeconds() { return Seconds(CLOCK_THREAD_CPUTIME_ID); }
double ProcessCpuSeconds() { return Seconds(CLOCK_PROCESS_CPUTIME_ID); }

int IntArgument(int argc, char** argv, int index, int otherwise, int max) {
  if (index >= argc) return otherwise;
  const std::string_view text = argv[index];
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (whole && number >= 1 && number <= max) return number;
  std::fprintf(stderr, "%s: argument %d is \"%s\": expected a number from 1 to %d\n", argv[0],
               index, argv[index], max);
  std::exit(kExitBadUsage);
}

}  // namespace longrun
