// The jobs of all pilots, as their managers last reported them.
#pragma once

#include <string>

#include "client/wire/messages.h"

namespace longrun::client {

// "" if there is no pilot.
std::string PilotTable(const Repeated<v1::PilotInfo>& pilots);

}  // namespace longrun::client
