// See coordinator_address.h.
#include "sweeps/coordinator_address.h"

#include <optional>

#include "base/checked_line.h"
#include "base/files.h"
#include "base/str.h"
#include "sweeps/coordinator_lock.h"

namespace longrun {
namespace {

constexpr std::size_t kBytesMax = 4096;

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

}  // namespace longrun
