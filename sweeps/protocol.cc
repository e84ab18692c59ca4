#include "sweeps/protocol.h"

#include <algorithm>

#include "base/str.h"

namespace longrun {

std::string ProtocolText(const ProtocolRange& range) {
  if (range.oldest == range.newest) return Str("version ", range.oldest);
  return Str("versions ", range.oldest, " to ", range.newest);
}

Result<int> AgreeOnProtocol(const ProtocolRange& worker, const ProtocolRange& coordinator) {
  const int newest = std::min(worker.newest, coordinator.newest);
  if (newest >= std::max(worker.oldest, coordinator.oldest)) return newest;
  const bool worker_is_older = worker.newest < coordinator.oldest;
  return Status(
      Code::kFailedPrecondition,
      Str("the worker speaks ", ProtocolText(worker), " of the protocol, but this coordinator (",
          kVersion, ") speaks ", ProtocolText(coordinator), ": update the ",
          worker_is_older ? "worker" : "coordinator", " to a release that speaks version ",
          worker_is_older ? coordinator.oldest : worker.oldest));
}

std::vector<std::string> OwnCapabilities() {
  return {std::string(kHoldCapability), std::string(kDatasetsCapability),
          std::string(kEarlierResultsCapability)};
}

}  // namespace longrun
