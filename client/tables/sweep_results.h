// The results of a sweep: an answer of GetResults, read once, with the JSON in it parsed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "client/tables/ancestry.h"
#include "client/tables/row_body.h"
#include "client/wire/messages.h"

namespace longrun::client {

struct ResultRun {
  std::string run_key;     // SHA-256 of the resolved run
  std::string dataset;     // name; "mybook@0e5a8f1c" where a name has several digests
  Json axes = {};          // axis path -> value
  Json resolved = {};      // the run with every default written out
  Ancestry ancestry = {};  // of a run that starts from another one; else its `run` is null
};

struct ResultRow {
  std::string run_key;
  std::string cell = {};     // the id of the cell: a SHA-256
  std::string attempt = {};  // ULID; "" if there is no result
  RowBody body = {};         // of the `result` record: metric, value, se, n, ...
  Json evaluation = {};      // the evaluation that asked for it: name -> parameters
};

struct SweepResults {
  std::string name = {};               // as the user wrote it; "" if unknown
  std::string state = {};              // of the sweep; "" for the results of a run
  std::vector<std::string> axes = {};  // axis paths in matrix order
  std::vector<ResultRun> runs = {};    // in matrix order
  std::vector<ResultRow> rows = {};
};

// Leaves out rows whose body has no metric or no status: a table has no place for them. Tells the
// answer's datasets apart.
SweepResults ReadResults(std::string name, const v1::GetResultsResponse& answer);
// Adds the beginning of the digest to a dataset's name if the results have several datasets of this
// name, for example because the name was registered again with other texts. A dataset that was
// evaluated under several names gets one of them everywhere.
void TellDatasetsApart(std::span<SweepResults> results);
// "mybook" of "mybook" and of "mybook@0e5a8f1c".
std::string_view DatasetName(std::string_view dataset);
// The digest of the run's dataset; "" if the run does not have it.
std::string DatasetDigest(const ResultRun& run);
// A run as GetSweep and GetRun describe it.
ResultRun ReadResultRun(const v1::RunInfo& run);

}  // namespace longrun::client
