// The checks of a machine: each has a name, a function, and a row of the table in checks.cc. Where
// possible, a check gets its input as values, so that a test can create every misconfiguration.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "client/doctor/machine.h"

namespace longrun::client {

enum class CheckVerdict { kOk, kWarn, kFail };
std::string_view VerdictName(CheckVerdict verdict);  // ok | warn | fail

struct Finding {
  CheckVerdict verdict = CheckVerdict::kOk;
  std::string found;            // what was seen
  std::string remedy;           // what to do about it; "" if all is well
  Json facts = Json::object();  // the same as values, for programs; empty for most checks
};

struct Check {
  std::string_view name;
  Finding (*run)(const MachineFacts& machine);
};

std::span<const Check> Checks();

// The end of the remedy for a damaged worker_id: what does not work until it is mended.
inline constexpr char kNoWorkerUntilThen[] = "`run` and `up` cannot start the worker until then";

}  // namespace longrun::client
