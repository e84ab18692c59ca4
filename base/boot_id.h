// The current boot of this machine: times of the boot clock (clock.h) can be compared only
// within one boot.
#pragma once

#include <string>

namespace longrun {

// The kernel's id of this boot; "" if the kernel gives none.
std::string BootId();

}  // namespace longrun
