// Whether a model under an extension gives more or fewer right answers than under a plain window
// (sweeps/window_baseline.h). All extensions answer the same questions. The error over the
// questions comes from an exact test (base/equal_shares.h), which also holds for few answers, for
// shares of 0 and 1, and for the small p-values on which a correction for many tests depends:
//
//   paired      sign flips of d_i, the sum over seeds of (right with the extension - right with the
//               window) at question i, if all rows keep their scores
//   unpaired    else Fisher's test of the mean numbers of right answers, rounded towards each
//               other: the mean answer of several seeds varies no more than a single one
//
// With one seed, p is that of the test. With several, the test's p is turned into the error over
// the text, |x| / z(p), and joined with the error over seeds as in estimate.h.
#pragma once

#include <optional>
#include <vector>

#include "client/tables/estimate.h"

namespace longrun::client {

// The p-values of the difference between shares, over the seeds that both have. nullopt without
// such seeds, or without the numbers of answers.
std::optional<PValues> DiffersFromWindow(const std::vector<SeedReading>& window,
                                         const std::vector<SeedReading>& extended);

}  // namespace longrun::client
