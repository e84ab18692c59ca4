// How many typing mistakes lie between two words.
#pragma once

#include <cstddef>
#include <string_view>

namespace longrun {

// Damerau-Levenshtein distance (optimal string alignment: neighbours may be swapped once).
std::size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace longrun
