// The overrides that a sweep file of the tests asks for in its first lines:
// "# --set train.tokens=1M".
#pragma once

#include <string>
#include <string_view>

#include "base/str.h"
#include "sweeps/spec.h"

namespace longrun {

inline Overrides OverridesOf(std::string_view yaml) {
  constexpr std::string_view kMark = "# --set ";
  Overrides overrides;
  for (const std::string& line : Split(yaml, '\n')) {
    if (!line.starts_with(kMark)) break;
    const std::size_t equals = line.find('=');
    overrides.emplace_back(line.substr(kMark.size(), equals - kMark.size()),
                           line.substr(equals + 1));
  }
  return overrides;
}

}  // namespace longrun
