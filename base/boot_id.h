// Which boot of this machine it is: times of the boot clock (clock.h) can be compared within one alone.
#pragma once

#include <string>

namespace longrun {

// As the kernel names it; "" where it does not say.
std::string BootId();

}  // namespace longrun
