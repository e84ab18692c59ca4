// Trainings that count as a success although they taught the model nothing: the loss diverged
// without becoming infinite, or the training was too short.
#pragma once

#include <string>
#include <vector>

#include "client/tables/sweep_results.h"

namespace longrun::client {

// Names the trained runs whose perplexity at their own train length is larger than the number of
// tokens in their vocabulary, which is the perplexity of guessing evenly, and says what to do. ""
// if there are none.
std::string WorseThanGuessing(const std::vector<SweepResults>& results);

}  // namespace longrun::client
