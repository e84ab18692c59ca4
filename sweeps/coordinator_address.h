// The address at which the coordinator of a state folder listens:
//
//   STATE/coordinator.address     unix:PATH crc32c=XXXXXXXX
//
// The file names the running coordinator, or the last one if it was killed. The checksum detects
// damage: with a wrong address, every command would wait in vain for a coordinator that is running.
#pragma once

#include <string>

#include "base/status.h"

namespace longrun {

std::string CoordinatorAddressPath(const std::string& state_folder);
Status WriteCoordinatorAddress(const std::string& state_folder, const std::string& address);

// kNotFound if there is none; kDataLoss, with what to do, if it is damaged. An address without a
// checksum, as earlier releases wrote it, is returned as it is.
Result<std::string> ReadCoordinatorAddress(const std::string& state_folder);

}  // namespace longrun
