// The failpoints of this process, read once from the environment.
#include "base/failpoint.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/log.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr const char* kVariable = "LONGRUN_FAILPOINTS";

struct Armed {
  enum class Action { kExit, kAbort, kStop, kDelay, kWait };
  Action action = Action::kExit;
  std::int64_t delay_ms = 0;
  std::string file = {};
  std::int64_t at = 0;      // only at this pass; 0: at each one
  std::int64_t passed = 0;  // so far
};

std::optional<std::int64_t> ParseNumber(std::string_view text) {
  std::int64_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || number < 0) return {};
  return number;
}

// Parses "stop@3" or "delay_ms:50".
std::optional<Armed> ParseAction(std::string_view text) {
  Armed armed;
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    const auto pass = ParseNumber(text.substr(at + 1));
    if (!pass || *pass == 0) return {};
    armed.at = *pass;
    text = text.substr(0, at);
  }
  constexpr std::string_view kDelay = "delay_ms:", kWait = "wait_for:";
  if (text == "exit") {
    armed.action = Armed::Action::kExit;
  } else if (text == "abort") {
    armed.action = Armed::Action::kAbort;
  } else if (text == "stop") {
    armed.action = Armed::Action::kStop;
  } else if (text.substr(0, kDelay.size()) == kDelay) {
    const auto delay_ms = ParseNumber(text.substr(kDelay.size()));
    if (!delay_ms) return {};
    armed.action = Armed::Action::kDelay;
    armed.delay_ms = *delay_ms;
  } else if (text.starts_with(kWait) && text.size() > kWait.size()) {
    armed.action = Armed::Action::kWait;
    armed.file = text.substr(kWait.size());
  } else {
    return {};
  }
  return armed;
}

struct Failpoints {
  std::mutex mutex;  // guards `armed`
  std::map<std::string, Armed, std::less<>> armed;
};

void Sleep(std::int64_t ms) {
  timespec rest{.tv_sec = static_cast<time_t>(ms / 1000),
                .tv_nsec = static_cast<long>(ms % 1000) * 1'000'000};
  while (nanosleep(&rest, &rest) != 0) {
  }
}

// Ends the program if the variable does not parse.
Failpoints& TheFailpoints() {
  static Failpoints* const failpoints = [] {
    auto* made = new Failpoints;  // never freed: a failpoint may be passed while the program ends
    const char* const variable = std::getenv(kVariable);
    LR_CHECK(variable != nullptr);  // FailpointsArmed() saw it
    for (const std::string& entry : Split(variable, ',')) {
      const auto colon = entry.find(':');
      const auto action = colon == std::string::npos || colon == 0
                              ? std::nullopt
                              : ParseAction(std::string_view(entry).substr(colon + 1));
      if (!action) {
        LogError(
            "failpoints_invalid",
            {{"variable", kVariable},
             {"entry", entry},
             {"expected", "NAME:exit|abort|stop|delay_ms:N|wait_for:F, each with @K or without"}});
        _exit(78);
      }
      made->armed[entry.substr(0, colon)] = *action;
    }
    return made;
  }();
  return *failpoints;
}

}  // namespace

bool FailpointsArmed() {
  static const bool armed = std::getenv(kVariable) != nullptr;
  return armed;
}

void ReachFailpoint(const char* name) {
  Failpoints& failpoints = TheFailpoints();
  Armed armed;
  {
    const std::lock_guard lock(failpoints.mutex);
    const auto found = failpoints.armed.find(std::string_view(name));
    if (found == failpoints.armed.end()) return;
    found->second.passed += 1;
    armed = found->second;
  }
  if (armed.at != 0 && armed.at != armed.passed) return;
  switch (armed.action) {
    case Armed::Action::kExit:
      _exit(kFailpointExitCode);
    case Armed::Action::kAbort:
      std::abort();
    case Armed::Action::kStop:
      // raise, not kill: this thread takes the signal itself and goes no further, and all others
      // stop with it. SIGCONT continues them.
      raise(SIGSTOP);
      return;
    case Armed::Action::kDelay:
      Sleep(armed.delay_ms);
      return;
    case Armed::Action::kWait:
      while (access(armed.file.c_str(), F_OK) != 0) Sleep(1);
      return;
  }
}

}  // namespace longrun
