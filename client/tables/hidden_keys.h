// Keys of runs that differ although no axis of a table shows it.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "client/tables/pivot_axes.h"

namespace longrun::client {

// The run without its seed and without what follows from its other keys: WithoutInherited().
Json WithoutDerivedKeys(const ResultRun& run);

// The keys of the resolved runs, without the seed, in which two runs differ: "train.optimizer.lr",
// "dataset". Leaves out the keys below `except`, the path of an axis ("" for none).
std::vector<std::string> KeysThatDiffer(const ResultRun& a, const ResultRun& b,
                                        const std::string& except);

// The path of an axis in the resolved run: "train.train_length" for "train_length".
std::string PathOfAxis(const std::string& axis);

// The keys in which these runs differ and that no axis shows: two runs have the same values on
// `axes` but differ in the key, or each sweep has a single value of the key, and these values
// differ. `axes`: those that the table shows, without `sweep` and `seed`.
std::vector<std::string> HiddenKeys(const std::vector<const RunRef*>& runs,
                                    const std::vector<std::string>& axes);

}  // namespace longrun::client
