// The random numbers of a reading's noise (ReadingNoise). Each depends only on the seed, the layer,
// the head, and the places of query and key in the text: the batch and the division of a text into
// calls do not change it.
//
//   word[0..3] = Philox4x32-10(counter = (j / 4, i, head, layer), key = seed, low word first)
//   u_k        = (word[k] + 1/2) / 2^32
//   uniform    key j: u_k, k = j mod 4
//   gaussian   key j: sqrt(-2 ln u_k) cos(2 pi u_(k+1)) for even k, and for the odd k after it the
//              same with the sine (Box and Muller 1958)
#pragma once

#include <cstdint>
#include <span>

#include "model/extension/reading.h"

namespace longrun {

// The row of scores of query i in a layer and a head.
struct NoiseRow {
  std::int64_t layer = 0, head = 0, i = 0;
};

// Writes u or e of the keys 0, 1, ...
void DrawNoise(const ReadingNoise& noise, const NoiseRow& row, std::span<double> of_keys);

}  // namespace longrun
