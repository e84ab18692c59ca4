// What a submission is told about evaluations that read another dataset than the run's: how much of
// that text the run is trained on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/store/store.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// Of longer texts only the beginning is read, so that a submission does not wait; a note says so.
inline constexpr std::int64_t kOverlapTextMax = std::int64_t{1} << 22;
inline constexpr std::int64_t kOverlapSearchedMax = std::int64_t{1} << 27;

// A note for each pair of an evaluated text and a training split that share text
// (docs/evaluation.md has the definition), and for each that cannot be compared. Reads the
// datasets' folders.
std::vector<std::string> OverlapNotes(const std::vector<DatasetRow>& datasets, const Sweep& sweep);

}  // namespace longrun::coordinator
