// The axes of a pivot: the values of a run and a result row on each,
// and the names that users write.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {

// A run of a sweep.
struct RunRef {
  std::string sweep;               // label
  const ResultRun* run = nullptr;  // outlives this
  std::string folded = {};  // the run as text, without its seed: equal for all seeds of a run
  Json seed = {};
  // The seed; if ancestors have other seeds, a list of it and theirs. Tells the runs of one row
  // apart, and pairs them with those of another row.
  Json seeds = {};
  // By the path of a link (ancestry.h), the ids of the runs from which it and the runs like it
  // start: those that differ only in seeds. Has no links to unknown runs.
  std::map<std::string, std::string, std::less<>> starts_from = {};
  std::int64_t train_length = 0;

  const std::string& run_key() const { return run->run_key; }
  const std::string& dataset() const { return run->dataset; }
};

RunRef MakeRunRef(std::string sweep, const ResultRun& run);

// The runs of all sweeps, in their order; `starts_from` names the runs of all of them. `results`
// must outlive them. A sweep without a name is "sweep 1", by its place.
std::vector<RunRef> RunRefsOf(const std::vector<SweepResults>& results);

// The axes of the sweeps' matrices, each once, after `sweep` if there are several sweeps. Leaves
// out an axis that names the runs from which runs start, if it follows from the other axes and the
// seed: each key of these runs has the same value everywhere, or that of the run itself.
std::vector<std::string> MatrixAxes(const std::vector<SweepResults>& results,
                                    const std::vector<RunRef>& runs);

// The dataset that an evaluation read. Null for the run's own, unless a run of the results was
// trained on an evaluated dataset: then the own ones have their names, too.
inline constexpr std::string_view kEvaluatedDatasetAxis = "evaluated_dataset";

// The axes of an evaluation, in the order in which a table's title names them.
bool IsEvaluationAxis(std::string_view axis);
const std::vector<std::string>& EvaluationAxes();

// The run's value on one of its axes; null if it has none.
Json RunValue(const RunRef& run, const std::string& axis);

// "lr" -> "train.optimizer.lr": a full name, or the last part of a name that only one axis has.
// `axes`: those of the sweeps' matrices. kInvalidArgument lists the candidates, or similar names.
Result<std::string> ResolveAxis(const std::string& name, const std::vector<std::string>& axes,
                                const std::vector<RunRef>& runs);

// The values of an axis of the matrix in the order of the sweep's file. `runs` are in matrix order;
// if `exclude` removes points, the first value in it need not be the first one in the file.
std::vector<Json> ValuesInOrder(const std::vector<RunRef>& runs,
                                const std::vector<std::string>& axes, const std::string& axis);

// Whether a value on an axis matches what a user wrote: "64", "1e-3", "cable",
// "rope(base=500000)", "rope"; "mybook" for "mybook@0e5a8f1c".
bool IsWritten(const Json& value, const std::string& text);
// Whether the text is the value's whole name. If an axis has such a value, the text means only this
// value: beside rope(base=500), "rope" is the method with its defaults.
bool IsWholeName(const Json& value, const std::string& text);

}  // namespace longrun::client
