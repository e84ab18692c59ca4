// The names by which a result is asked for (`longrun table --metric`, a claim's `metric`).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longrun {

// The metrics that can be computed from rows of the metric `source`: "nll" gives perplexity, nll,
// bits_per_token and bits_per_byte, "pseudo_nll" the same with "pseudo_" before each,
// "nll_by_position" the first three with "_by_position" after each, another metric itself.
std::vector<std::string> MetricNames(std::string_view source);

}  // namespace longrun
