// What can be wrong with a machine, one check each: a name, a function, a row of the table in
// checks.cc. What a check judges is handed to it as a value where it can be, so that a test can seed
// every misconfiguration.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "client/doctor/machine.h"

namespace longrun {

enum class Verdict { kOk, kWarn, kFail };
std::string_view VerdictName(Verdict verdict);  // ok | warn | fail

struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string found;            // what was seen
  std::string remedy;           // what to do about it; "" when it is well
  Json facts = Json::object();  // what was seen as values, for programs; none for most checks
};

struct Check {
  std::string_view name;
  Finding (*run)(const Machine& machine);
};

std::span<const Check> Checks();

}  // namespace longrun
