// The name of this machine, as its users and other machines know it.
#pragma once

#include <string>

namespace longrun {

// As gethostname() says; "" if the machine has no name.
std::string HostName();

}  // namespace longrun
