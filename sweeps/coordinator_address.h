// The address at which the coordinator of a state folder listens:
//
//   STATE/coordinator.address     unix:PATH crc32c=XXXXXXXX
//
// The file names the running coordinator, or the last one if it was killed. The checksum detects
// damage: with a wrong address, every command would wait in vain for a coordinator that is running.
//
// The address has the path as it is, which is not how gRPC wants it: see GrpcTarget.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

std::string CoordinatorAddressPath(const std::string& state_folder);
Status WriteCoordinatorAddress(const std::string& state_folder, const std::string& address);

// kNotFound if there is none; kDataLoss, with what to do, if it is damaged. An address without a
// checksum, as earlier releases wrote it, is returned as it is.
Result<std::string> ReadCoordinatorAddress(const std::string& state_folder);

// Whether the coordinator that holds the folder has written its address, which is the last step of
// its start. Else the address, if there is one, is that of an earlier coordinator that was killed.
bool HasWrittenAddress(const std::string& state_folder);

inline constexpr std::size_t kSocketPathBytesMax = 107;  // sun_path without its terminating zero

// kInvalidArgument if no client of gRPC can reach a socket with this path: it is empty or too long,
// or has a comma, which separates several addresses even if it is escaped.
Status CheckSocketPath(std::string_view path);

// What gRPC is given for an address. For unix:PATH, its clients take a URI, in which `#`, `?` and
// `%` are escaped; its server also reads escapes. HOST:PORT stays as it is.
std::string GrpcTarget(std::string_view address);

}  // namespace longrun
