// Examples before a question, as in lm-evaluation-harness' fewshot_context:
//
//   context of an example + " " + its right choice, one after the other, each followed by "\n\n",
//   then the question's own context
//
// Examples are drawn without replacement from a file of their own. Without one they are drawn from
// the items whose line has "split": "train", which are then not asked as questions; if there are no
// such items, from the other questions. The choice depends only on the seed, the question's line
// and the file of the examples. The harness uses Python's generator and chooses other examples.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "model/evaluation/choice_items.h"

namespace longrun {

struct ShotRules {
  std::int64_t n_shots = 0;  // 0: the items stay unchanged
  std::uint64_t seed = 0;
};

// `examples` are those of a file of their own; nullptr: there is none. kInvalidArgument if there
// are fewer examples than shots. The check makes no contexts, which may be much longer than the
// files.
Status CheckShots(const ShotRules& rules, const std::vector<ChoiceItem>* examples,
                  const std::vector<ChoiceItem>& items);
Status AddShots(const ShotRules& rules, const std::vector<ChoiceItem>* examples,
                std::vector<ChoiceItem>& items);

}  // namespace longrun
