// Repairs a loaded state from which damaged rows were left out. Tasks and attempts that refer to
// such a row are stopped or retried, with a reason; everything else continues.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/scheduler/state.h"
#include "coordinator/store/damage.h"

namespace longrun::coordinator {

// The reason why a run with a damaged configuration is not placed.
inline constexpr std::string_view kRunDamaged = "its stored configuration is damaged";

struct Mended {
  // Attempts that were live and cannot continue: their rows still say that they are live,
  // and must be changed.
  std::vector<std::string> ended;
  // Runs and tasks that are referred to but missing.
  std::vector<DamagedRow> lost;
};

// Changes nothing in an undamaged state.
Mended MendReferences(State& state);

}  // namespace longrun::coordinator
