// Random numbers of a few distributions, for forecasts by simulation.
#pragma once

#include "base/random.h"

namespace longrun::client {

// Box and Muller (1958).
double DrawNormal(SeededRandom& random);
// With real degrees of freedom, above 0.
double DrawChiSquared(double df, SeededRandom& random);

}  // namespace longrun::client
