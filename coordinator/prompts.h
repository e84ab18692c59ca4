// The lengths of the prompts that evaluations make from text: they depend on the dataset's
// tokenizer, which the database does not have, and memory and time depend on them.
#pragma once

#include <string>
#include <vector>

#include "coordinator/store/store.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// Fills in ExpectedCell::prompt_tokens of a sweep. If a dataset's tokenizer cannot be read here,
// its cells stay as if their prompts were as long as the context length. Returns what the user
// should know: which prompts are much longer than their context length, and which cannot fit.
std::vector<std::string> MeasurePrompts(const std::vector<DatasetRow>& datasets, Sweep& sweep);

}  // namespace longrun::coordinator
