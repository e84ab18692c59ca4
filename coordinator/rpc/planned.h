// What a sweep's file says: which runs and numbers belong to it. Asked when it is submitted, and
// again when rows that say so are damaged.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/core.h"
#include "coordinator/store/reader.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun {

// What a sweep file may name. `core` and `reader` must outlive it.
DatasetCatalogue Catalogue(std::vector<DatasetRow> datasets, Core& core, StoreReader& reader);

// The body of a number that is not there.
std::string OwedBody(const ExpectedCell& cell, const Json& params, std::string_view status);

// A sweep's table, of which something may be damaged.
struct SweepNumbers {
  std::vector<SweepRunRow> runs;
  std::vector<ResultBody> results;
  std::vector<v1::ResultRow> missing;  // what unfinished tasks owe
};

// Of a sweep that is not whole: each run and each number of its file has its place, marked as
// damaged where there is nothing else. Where the file does not mean any more what was submitted (a
// dataset has changed, or the program), nobody can say which cells of the table lack a seed, and
// all numbers are marked.
Status MarkDamaged(Core& core, StoreReader& reader, const SweepBody& body, SweepNumbers& numbers);

// Numbers that were stored and cannot be had any more: their places are marked.
Status FillLost(std::vector<ResultBody> lost, std::vector<ResultBody>& results);

}  // namespace longrun
