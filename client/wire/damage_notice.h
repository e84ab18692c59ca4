// Reports what the coordinator left out of an answer because it is damaged: once on standard error,
// with the remedy, and through the exit code. May be called from any thread.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace longrun::client {

// `method` of SweepService: the call whose answer lacks these objects.
void NoticeDamage(const std::string& method, const std::vector<std::string>& objects);

// Everything reported so far.
std::set<std::string> DamageNoticed();

// The exit code of a command that would otherwise end with `code`: kExitPartial if the command
// succeeded but its answers lack something, or if it did not find something that may be damaged.
int ExitCodeWithDamage(int code);

}  // namespace longrun::client
