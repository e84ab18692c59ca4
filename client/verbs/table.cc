// longrun table SWEEP...: results by any axes.
#include <cstdio>
#include <utility>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/tables/pivot.h"
#include "client/tables/pivot_arguments.h"
#include "client/tables/table_format.h"
#include "client/verb.h"

namespace longrun::client {
namespace {

int Table(const PivotArguments& arguments, const std::string& output, const std::string& state) {
  Result<PivotRequest> request = ReadPivotRequest(arguments);
  if (!request.ok()) return Report(request.status());
  if (!arguments.buckets_max && IsForPeople(output)) request->buckets_max = kBucketsShown;
  // Never destroyed: with 10,000 runs, that would take a quarter of the client's time.
  static const auto& results = *new auto(AskResults(state, arguments.sweeps));
  if (!results.ok()) return Report(results.status());
  const Result<std::vector<PivotTable>> tables = BuildPivot(*results, *request);
  if (!tables.ok()) return Report(tables.status());
  if (tables->empty()) {
    std::fprintf(stderr, "%s evaluates nothing: its file has no `evaluate`\n",
                 Join(arguments.sweeps, ", ").c_str());
  }
  Print(RenderTables(*tables, output));
  const bool is_for_people = output == "table" || output == "wide";
  if (is_for_people && request->metrics.empty()) {
    const std::string note = OtherMetricsNote(*results);
    if (!note.empty()) std::fprintf(stderr, "%s\n", note.c_str());
  }
  std::vector<std::string> states;
  states.reserve(results->size());
  for (const SweepResults& result : *results) states.push_back(result.state);
  return SweepExitCode(states);
}

}  // namespace

void AddTable(Verbs& verbs) {
  Verb verb = verbs.AddVerb("table", "perplexity by context length, or any pivot");
  verb.AddExamples({"longrun table my-sweep",
                    "longrun table my-sweep --rows position --cols train_length,context_length",
                    "longrun table my-sweep --relative -o markdown",
                    "longrun table my-sweep --metric nll_by_position"});
  const auto arguments = AddPivot(verb);
  const auto output = AddOutput(verb, TableFormatNames());
  verb.SetRun([&verbs, arguments, output] { return Table(*arguments, *output, verbs.state); });
}

}  // namespace longrun::client
