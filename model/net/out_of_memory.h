// Turns LibTorch's exceptions for exhausted memory into a status.
#pragma once

#include <functional>

#include "base/status.h"

namespace longrun {

// Returns what `body` returns; kResourceExhausted if the device or the host has too little memory.
// Passes on other exceptions.
Status WithinMemory(const std::function<Status()>& body);

}  // namespace longrun
