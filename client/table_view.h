// The table: perplexity by context length, one row per point of the matrix (seeds folded together).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace longrun {

// From the answer of GetResults. One object per evaluation (split and protocol):
//
//   {"metric":"perplexity","split":"validation","protocol":"nonoverlap","context_lengths":[64,...],
//    "axes":["position","train_length","dataset"],
//    "rows":[{"position":"cable","train_length":64,"dataset":"austen","seeds":[1],
//             "cells":[{"context_length":64,"perplexity":6.69,"se":0.1,"nll":..,"n":16384,
//                       "bits_per_byte":2.7,"seeds":1,"of":1,"status":"ok","at_train_length":true,
//                       "best":false}]}],
//    "baselines":[{"name":"unigram","dataset":"austen","cells":[...]}]}
//
// Perplexity is exp(sum of nll / n), its standard error perplexity * se(nll) for one seed, the
// standard error of the mean over seeds for several. `status` is "ok", "missing" (not measured yet),
// or the row's own ("not_applicable", "diverged", ...).
Json BuildTables(const Json& results);

// True when every cell that the sweep wants is there.
bool TablesComplete(const Json& tables);

std::string RenderTables(const Json& tables);     // for people
std::string RenderTablesCsv(const Json& tables);  // one line a cell

}  // namespace longrun
