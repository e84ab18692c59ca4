// LibTorch throws when memory is short; here that is a status.
#pragma once

#include <functional>

#include "base/status.h"

namespace longrun {

// What `body` returns; kResourceExhausted when the device or the host has too little memory. Other
// exceptions pass through.
Status WithinMemory(const std::function<Status()>& body);

}  // namespace longrun
