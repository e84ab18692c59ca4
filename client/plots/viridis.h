// The colour map viridis, by Nathaniel Smith, Stefan van der Walt and Eric Firing (2015,
// https://github.com/BIDS/colormap, released under CC0): from dark violet to light yellow.
// Perceived lightness rises evenly, so that equal steps look equal, also in grey and to
// colour-blind people.
#pragma once

#include <array>
#include <cstdint>

namespace longrun::client {

// 0xRRGGBB, from the lowest to the highest: `_viridis_data` of colormaps.py, times 255, rounded.
extern const std::array<std::uint32_t, 256> kViridis;

}  // namespace longrun::client
