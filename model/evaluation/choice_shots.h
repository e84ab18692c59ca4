// Examples in front of a question, as lm-evaluation-harness' fewshot_context puts them there:
//
//   context of an example + " " + its right choice, one after the other, each followed by "\n\n",
//   then the question's own context
//
// They are drawn without putting back from the items whose line has "split": "train", which are then not
// asked themselves; where there are none, from the other questions. Which ones depends on the seed, the
// question's line and the file alone (the harness draws by Python's generator: other ones).
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "model/evaluation/choice_items.h"

namespace longrun {

struct ShotRules {
  std::int64_t n_shots = 0;  // 0: the items stay as they are
  std::uint64_t seed = 0;
};

// kInvalidArgument when there are fewer examples than shots.
Status AddShots(const ShotRules& rules, std::vector<ChoiceItem>& items);

}  // namespace longrun
