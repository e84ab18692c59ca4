// Random numbers of a few distributions, for intervals and forecasts by simulation.
#pragma once

#include <cstddef>

#include "base/random.h"

namespace longrun::client {

// Box and Muller (1958).
double DrawNormal(SeededRandom& random);
// The sum of `df` squares of normal numbers.
double DrawChiSquared(std::size_t df, SeededRandom& random);
// Student's t. df > 0.
double DrawStudent(std::size_t df, SeededRandom& random);

}  // namespace longrun::client
