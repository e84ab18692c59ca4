// The list of protocols: one line each.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "model/evaluation/protocol.h"

namespace longrun {

const Protocol& NonOverlapProtocol();
const Protocol& SlidingBosProtocol();
const Protocol& RollingProtocol();
const Protocol& LastKProtocol();
const Protocol& PerPositionProtocol();
const Protocol& PrefixCurveProtocol();

std::span<const Protocol* const> Protocols() {
  static const std::array kProtocols = {
      &NonOverlapProtocol(), &SlidingBosProtocol(),  &RollingProtocol(),
      &LastKProtocol(),      &PerPositionProtocol(), &PrefixCurveProtocol(),
  };
  return kProtocols;
}

const Protocol& FindProtocol(std::string_view name) {
  const auto protocols = Protocols();
  const auto found = std::ranges::find(protocols, name, &Protocol::name);
  LR_CHECK(found != protocols.end());
  return **found;
}

}  // namespace longrun
