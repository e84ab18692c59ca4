// How many CPUs this process may keep busy.
#pragma once

#include <optional>
#include <string>

namespace longrun {

// The CPUs of our affinity mask or, if fewer, the whole CPUs of the smallest quota of our cgroup
// and of those above it; at least 1. A container's limit of CPUs is such a quota: with more threads
// than that, all of them would stand still for a part of each period.
int UsableCpus();

// The whole CPUs of that quota, at least 1; nullopt if there is none. `groups` is the text of
// /proc/self/cgroup, `mount` the folder of the cgroup file system (version 2).
std::optional<int> CgroupCpusMax(const std::string& groups, const std::string& mount);

}  // namespace longrun
