// The version of this build: its release and the commit it was built from.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

inline constexpr std::string_view kVersion = "0.1.0";
// Raised by hand when the mathematics change: results with different numerics are never mixed.
inline constexpr int kNumericsVersion = 1;
// The version of the protocol between coordinator, workers and clients.
inline constexpr int kProtocolVersion = 1;

// "3f2a91c0b7d4" with "-dirty" when the tree was changed, or "unknown" outside a checkout.
std::string_view BuildCommit();

}  // namespace longrun
