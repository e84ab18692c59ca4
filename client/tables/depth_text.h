// The depths of hidden keys in a text as people read them. A third is 0.3333333333333333.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace longrun::client {

// The text of each depth. It has two digits after the point, or as many more as tell all of these
// depths apart; a depth that needs at most three is exact. Leaves out values that are not numbers.
std::map<double, std::string> DepthTexts(const std::vector<Json>& depths);

}  // namespace longrun::client
