// The overrides that a sweep file of the tests asks for in its first lines: "# --set train.tokens=1M".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/str.h"

namespace longrun {

using Overrides = std::vector<std::pair<std::string, std::string>>;

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
