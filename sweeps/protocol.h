// The versions of the session's protocol (proto/longrun/v1/session.proto) that coordinator and
// worker speak. Each side speaks a range of versions, so that neighbouring releases work together;
// a session uses the newest version that both speak. What a side understands besides its versions
// are its capabilities: names, of which the other side ignores those that it does not know.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/version.h"

namespace longrun {

struct ProtocolRange {
  int oldest = kProtocolOldest;
  int newest = kProtocolNewest;
};

// "version 1", "versions 1 to 2"
std::string ProtocolText(const ProtocolRange& range);

// The version of a session between a worker that speaks `worker` and a coordinator that speaks
// `coordinator`. kFailedPrecondition: there is none; the message says which side to update.
Result<int> AgreeOnProtocol(const ProtocolRange& worker, const ProtocolRange& coordinator);

// The worker understands Hold.
inline constexpr std::string_view kHoldCapability = "hold";
// The worker gets datasets and the files of evaluations by digest (Start.datasets); the coordinator
// understands DatasetsHeld.
inline constexpr std::string_view kDatasetsCapability = "datasets";
// The worker's trainers take over what earlier attempts measured (TaskFile::earlier).
inline constexpr std::string_view kEarlierResultsCapability = "earlier-results";
// `longrun workers` lists it for a worker that sees the shared folder of the artifact store. It is
// not said in Hello, but proved (SharedSeen).
inline constexpr std::string_view kSharedCapability = "shared-artifacts";
// The metadata of a worker's calls about artifacts: its id. It tells the coordinator that the bytes
// come from a worker of its own machine, which has no certificate, and not from a person.
inline constexpr const char* kWorkerMetadata = "longrun-worker";
// The capabilities of this build, on either side.
std::vector<std::string> OwnCapabilities();

}  // namespace longrun
