// See coordinator_address.h.
#include "sweeps/coordinator_address.h"

#include <sys/stat.h>

#include <optional>
#include <utility>

#include "base/checked_line.h"
#include "base/files.h"
#include "base/str.h"
#include "sweeps/coordinator_lock.h"

namespace longrun {
namespace {

constexpr std::size_t kBytesMax = 4096;
constexpr std::string_view kUnix = "unix:";

// RFC 3986 calls these unreserved. Even '/' is not among them: `//` would begin the name of a host.
bool IsPlainInUri(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9') ||
         std::string_view("-._~").find(letter) != std::string_view::npos;
}

}  // namespace

std::string CoordinatorAddressPath(const std::string& state_folder) {
  return JoinPath(state_folder, "coordinator.address");
}

Status WriteCoordinatorAddress(const std::string& state_folder, const std::string& address) {
  return WriteFileAtomic(CoordinatorAddressPath(state_folder), CheckedLine(address), 0600);
}

Result<std::string> ReadCoordinatorAddress(const std::string& state_folder) {
  const std::string path = CoordinatorAddressPath(state_folder);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kBytesMax));
  if (std::optional<std::string> address = ReadCheckedLine(text)) return std::move(*address);
  if (text.find(" crc32c=") == std::string::npos) return std::string(Trim(text));
  return Status(Code::kDataLoss,
                Str(path, " is damaged: start the coordinator again (`fuser -v ",
                    CoordinatorLockPath(state_folder), "` shows its pid), which writes the file"));
}

bool HasWrittenAddress(const std::string& state_folder) {
  struct stat address {};
  struct stat lock {};
  if (stat(CoordinatorAddressPath(state_folder).c_str(), &address) != 0 ||
      stat(CoordinatorLockPath(state_folder).c_str(), &lock) != 0) {
    return false;
  }
  // A coordinator writes its pid into the lock when it starts.
  return std::pair(address.st_mtim.tv_sec, address.st_mtim.tv_nsec) >=
         std::pair(lock.st_mtim.tv_sec, lock.st_mtim.tv_nsec);
}

Status CheckSocketPath(std::string_view path) {
  if (path.empty() || path.size() > kSocketPathBytesMax) {
    return Status(Code::kInvalidArgument, Str("the socket path \"", path, "\" has ", path.size(),
                                              " bytes: expected 1 to ", kSocketPathBytesMax));
  }
  if (path.find(',') == std::string_view::npos) return Status();
  return Status(Code::kInvalidArgument,
                Str("the path of the socket, ", path,
                    ", has a comma, and nobody could connect to it, since gRPC reads a comma as "
                    "the end of an address: choose a path without commas"));
}

std::string GrpcTarget(std::string_view address) {
  if (!address.starts_with(kUnix)) return std::string(address);
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string target(kUnix);
  for (const char letter : address.substr(kUnix.size())) {
    if (IsPlainInUri(letter)) {
      target += letter;
    } else {
      const auto byte = static_cast<unsigned char>(letter);
      target += {'%', kDigits[byte >> 4], kDigits[byte & 0xf]};
    }
  }
  return target;
}

}  // namespace longrun
