// The runs and numbers that belong to a sweep according to its file. Used when a sweep is
// submitted, and again when the rows that list them are damaged.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/core.h"
#include "coordinator/store/reader.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// The names that a sweep file may use. `core` and `reader` must outlive the catalogue.
DatasetCatalogue Catalogue(std::vector<DatasetRow> datasets, Core& core, StoreReader& reader);

// Fills in the results that the sweep would have if nothing were known: each row has status
// missing.
void FillAsked(const Sweep& sweep, v1::GetResultsResponse* response);

// The body for a result that does not exist.
std::string OwedBody(const ExpectedCell& cell, const Json& params, std::string_view status);

// A sweep's table, parts of which may be damaged.
struct SweepNumbers {
  std::vector<SweepRunRow> runs;
  std::vector<ResultBody> results;
  std::vector<v1::ResultRow> missing;  // numbers that unfinished tasks must still deliver
};

// For a sweep with damaged rows: adds an entry for each run and each number that its file asks for,
// marked as damaged if nothing else is known. If the file no longer means what was submitted (a
// dataset or the program has changed), nobody can say which cells of the table lack a seed, and all
// numbers are marked.
Status MarkDamaged(Core& core, StoreReader& reader, const SweepBody& body, SweepNumbers& numbers);

// Adds entries, marked as damaged, for numbers that were stored but can no longer be read.
Status FillLost(std::vector<ResultBody> lost, std::vector<ResultBody>& results);

}  // namespace longrun::coordinator
