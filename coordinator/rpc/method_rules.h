// Who may call what over the network: one row per method of every service. A method without a row
// is refused, so that a new one is closed until somebody has decided.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "coordinator/access.h"

namespace longrun::coordinator {

struct MethodRule {
  std::string_view path;            // as HTTP/2 has it
  std::optional<Role> people = {};  // the least role that may call it; none: no person may
  // What a person does with it, for a refusal; "" if every person may, or none.
  std::string_view does = {};
  bool workers = false;  // workers may call it
  bool anyone = false;   // callers without token and certificate may, too
  bool changes = false;  // a person's call is written to the audit log
};

std::span<const MethodRule> MethodRules();
// Null: nobody may call it over the network.
const MethodRule* FindMethodRule(std::string_view path);
// The same by the method's name, which is unique among our services.
const MethodRule* FindRuleOfMethod(std::string_view method);
bool Allows(const MethodRule& rule, const Principal& principal);
// Says why the rule does not allow a call, and which role does. `rule`: null if there is none for
// `path`.
std::string WhyNotAllowed(const Principal& caller, const MethodRule* rule, std::string_view path);

}  // namespace longrun::coordinator
