// The names by which a result is asked for (`longrun table --metric`, a claim's `metric`).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longrun {

// The metrics that can be computed from rows of the metric `source`. "nll" gives perplexity, nll,
// bits_per_token and bits_per_byte; "pseudo_nll" gives the same, each with "pseudo_" before it;
// "nll_by_position" gives the first three, each with "_by_position" after it. Any other metric
// gives only itself.
std::vector<std::string> MetricNames(std::string_view source);

}  // namespace longrun
