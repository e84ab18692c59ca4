// A state of which rows were left out since they are damaged, made whole enough to go on with: whatever
// refers to one of them stands still or is tried again, and says why; everything else goes on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/scheduler/state.h"
#include "coordinator/store/damage.h"

namespace longrun {

// Why nothing of a run is placed whose configuration is damaged.
inline constexpr std::string_view kRunDamaged = "its stored configuration is damaged";

struct Mended {
  // The attempts that lived and can no longer: their rows still say so, and must not.
  std::vector<std::string> ended;
  // Runs and tasks that something refers to and that are not there.
  std::vector<DamagedRow> lost;
};

// Changes nothing in a state that is whole.
Mended MendReferences(State& state);

}  // namespace longrun
