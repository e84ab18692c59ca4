// longrun table SWEEP...: results by any axes.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/claims/claim_text.h"
#include "client/claims/judge.h"
#include "client/claims/sweep_claims.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/tables/pivot.h"
#include "client/tables/pivot_arguments.h"
#include "client/tables/published.h"
#include "client/tables/published_format.h"
#include "client/tables/table_format.h"
#include "client/tables/worse_than_guessing.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/signs.h"
#include "client/words/submission.h"

namespace longrun::client {
namespace {

// What the sweeps claim about the metrics shown. Tables are of use without them, so a sweep whose
// file cannot be had has none.
std::string Footnotes(const PivotArguments& arguments, const std::vector<SweepResults>& results,
                      const std::vector<PivotTable>& tables, const std::string& output,
                      RetryingClient& client) {
  std::set<std::string> metrics;
  for (const PivotTable& table : tables) {
    for (const ResultMetric& metric : table.metrics) metrics.insert(metric.name);
  }
  std::string out;
  for (std::size_t i = 0; i < arguments.sweeps.size(); ++i) {
    const std::string& sweep = arguments.sweeps[i];
    const Result<std::vector<Claim>> all = ClaimsOfSweep(client, sweep);
    if (!all.ok()) continue;
    std::vector<Claim> claims;
    for (const Claim& claim : *all) {
      if (metrics.contains(claim.params.at("metric").get<std::string>())) claims.push_back(claim);
    }
    if (claims.empty()) continue;
    out += ClaimsFootnote(sweep, JudgeClaims(claims, {results[i]}), output);
  }
  return out;
}

int StateCode(const std::vector<SweepResults>& results) {
  std::vector<std::string> states;
  states.reserve(results.size());
  for (const SweepResults& result : results) states.push_back(result.state);
  return SweepExitCode(states);
}

// The sweep's numbers beside published ones.
int Published(const PivotArguments& arguments, const PivotRequest& request, const std::string& name,
              const std::string& output, RetryingClient& client) {
  if (const Status form = CheckPublishedFormat(output); !form.ok()) return Report(form);
  Result<PublishedTable> published = ReadPublishedTable(name);
  if (!published.ok()) return Report(published.status());
  const Result<std::vector<SweepResults>> results = AskResults(client, arguments.sweeps);
  if (!results.ok()) return Report(results.status());
  const Result<PublishedComparison> comparison =
      CompareWithPublished(*results, *std::move(published), request);
  if (!comparison.ok()) return Report(comparison.status());
  const std::string text = RenderPublished(*comparison, output);
  Print(output == "table" ? ForTerminal(text) : text);
  return StateCode(*results);
}

int Table(const PivotArguments& arguments, const std::optional<std::string>& published,
          const std::string& output, const std::string& state) {
  Result<PivotRequest> request = ReadPivotRequest(arguments);
  if (!request.ok()) return Report(request.status());
  RetryingClient client(state);
  if (published) return Published(arguments, *request, *published, output, client);
  const PivotRequest shown = ShownRequest(output);
  if (!arguments.buckets_max) request->buckets_max = shown.buckets_max;
  request->over_all_depths = shown.over_all_depths;
  // Never destroyed: with 10,000 runs, that would take a quarter of the client's time.
  static const auto& results = *new auto(AskResults(client, arguments.sweeps));
  if (!results.ok()) return Report(results.status());
  const Result<std::vector<PivotTable>> tables = BuildPivot(*results, *request);
  if (!tables.ok()) return Report(tables.status());
  if (tables->empty()) {
    SayLine(EvaluatesNothing(Join(arguments.sweeps, ", ")));
  }
  PrintTables(*tables, output);
  const bool is_for_people = output == "table" || output == "wide";
  // Other formats go into papers, which no folder of this machine belongs in.
  if (is_for_people) {
    PrintText(Footnotes(arguments, *results, *tables, output, client));
  } else if (IsForPeople(output)) {
    Print(Footnotes(arguments, *results, *tables, output, client));
  }
  if (const std::string note = WorseThanGuessing(*results); !note.empty()) SayLine(note);
  if (const std::string note = LeftOutDepthsNote(*tables, Join(arguments.sweeps, " "));
      !note.empty()) {
    SayLine(note);
  }
  if (const std::string note = LeftOutBaselinesNote(*tables, Join(arguments.sweeps, " "));
      is_for_people && !note.empty()) {
    SayLine(note);
  }
  if (is_for_people && request->metrics.empty()) {
    const std::string note = OtherMetricsNote(*results);
    if (!note.empty()) std::fprintf(stderr, "%s\n", note.c_str());
  }
  return StateCode(*results);
}

}  // namespace

void AddTable(Verbs& verbs) {
  Verb verb = verbs.AddVerb("table", "show perplexity by context length, or any other pivot table");
  verb.AddExamples({"longrun table my-sweep",
                    "longrun table my-sweep --rows position --cols train_length,context_length",
                    "longrun table my-sweep --relative -o markdown",
                    "longrun table my-sweep --metric nll_by_position",
                    "longrun table my-sweep --published alibi-wikitext103"});
  const auto arguments = AddPivot(verb);
  const auto published = std::make_shared<std::optional<std::string>>();
  verb.AddArgument("--published", *published,
                   "show the sweep's numbers beside published ones; give a name that `longrun "
                   "explain published`\nlists, or a file (a path with a slash, or ending in "
                   ".yaml)");
  const auto output = AddOutput(verb, TableFormatNames());
  verb.SetRun([&verbs, arguments, published, output] {
    return Table(*arguments, *published, *output, verbs.state);
  });
}

}  // namespace longrun::client
