// What the coordinator has left out of an answer since it is damaged: told once on standard error, with
// its remedy, and by the exit code. Any thread.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace longrun {

// `method` of SweepService, whose answer lacks these.
void NoticeDamage(const std::string& method, const std::vector<std::string>& objects);

// All that was told so far.
std::set<std::string> DamageNoticed();

// The exit code of a command that would end with `code`: kExitPartial when all went well but for what the
// shown answers lack.
int ExitCodeWithDamage(int code);

}  // namespace longrun
