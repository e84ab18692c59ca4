// The version of this build: its release and the commit it was built from.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

inline constexpr std::string_view kVersion = "0.1.0";
// Raised by hand when the mathematics change: results with different numerics are never mixed.
inline constexpr int kNumericsVersion = 1;
// The versions of the session's protocol that this build speaks (sweeps/protocol.h). Raise the
// newest one with a change that the other side must know of, and the oldest one when support for
// older releases ends.
inline constexpr int kProtocolOldest = 1;
inline constexpr int kProtocolNewest = 2;

// "3f2a91c0b7d4" with "-dirty" when the tree was changed, or "unknown" outside a checkout.
std::string_view BuildCommit();

}  // namespace longrun
