// The rules, each defined in the file of its name.
#pragma once

#include "model/data/synthetic/rule.h"

namespace longrun {

const SyntheticRule& UniformRule();
const SyntheticRule& MarkovRule();
const SyntheticRule& CopyRule();
const SyntheticRule& InductionRule();
const SyntheticRule& PasskeyTokensRule();
const SyntheticRule& PasskeyRule();

}  // namespace longrun
