// The number of typing mistakes that turn one word into another.
#pragma once

#include <cstddef>
#include <string_view>

namespace longrun {

// Damerau-Levenshtein distance (optimal string alignment: neighbours may be swapped once).
std::size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace longrun
