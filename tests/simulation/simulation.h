// One simulated history: three workers, a coordinator, users who submit and cancel sweeps that
// share runs and cells, faults for a while, then healing,
// and at the end the table against the oracle.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulation/world.h"

namespace longrun::coordinator {

struct SimResult {
  std::string violation;  // "" when every promise was kept
  Instant ended_ms = 0;   // virtual time
  SimStats stats;
};

SimResult RunSimulation(std::uint64_t seed, Mutation mutation);

}  // namespace longrun::coordinator
