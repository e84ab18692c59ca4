// longrun claims SWEEP: judges what its file claims.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/str.h"
#include "client/claims/claim_text.h"
#include "client/claims/judge.h"
#include "client/claims/sweep_claims.h"
#include "client/console/exit_code.h"
#include "client/console/input.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "sweeps/limits.h"

namespace longrun::client {
namespace {

struct ClaimsArguments {
  std::string sweep;
  std::optional<std::string> file;  // without: the sweep's own
};

std::string ClaimText(const JudgedClaim& judged) {
  const std::string out = Str(VerdictWord(judged.verdict), "  ", judged.statement, "\n");
  if (!judged.error.empty()) return Str(out, judged.error, "\n");
  std::vector<std::string> heads = ComparisonHeads(judged);
  heads.insert(heads.begin(), "");
  std::vector<Align> align(heads.size(), Align::kLeft);
  align[2] = Align::kRight;
  std::vector<std::vector<std::string>> rows;
  rows.reserve(judged.comparisons.size());
  for (const ClaimComparison& one : judged.comparisons) {
    rows.push_back(ComparisonFields(one));
    rows.back().insert(rows.back().begin(), "");
  }
  return out + RenderColumns(heads, align, rows);
}

Json Finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json ComparisonJson(const ClaimComparison& one) {
  Json json = {{"what", one.what},
               {"scale", one.is_ratio ? "ratio" : "difference"},
               {"limits", Json::array({Finite(one.low), Finite(one.high)})},
               {"verdict", VerdictWord(one.verdict)},
               {"effect", NumberOrNull(one.effect)},
               {"interval", nullptr},
               {"seeds", one.n_seeds},
               {"blocks", one.n_blocks},
               {"reason", one.reason.empty() ? Json() : Json(one.reason)},
               {"needed", one.needed.empty() ? Json() : Json(one.needed)}};
  if (one.interval) {
    json["interval"] = Json::array({Finite(one.interval->first), Finite(one.interval->second)});
  }
  return json;
}

Json ClaimJson(const JudgedClaim& judged) {
  Json comparisons = Json::array();
  for (const ClaimComparison& one : judged.comparisons) {
    comparisons.push_back(ComparisonJson(one));
  }
  return {{"claim", {{judged.claim.kind, judged.claim.params}}},
          {"statement", judged.statement},
          {"verdict", VerdictWord(judged.verdict)},
          {"error", judged.error.empty() ? Json() : Json(judged.error)},
          {"comparisons", std::move(comparisons)}};
}

// In a claim of a file, the place of the mistake as in the parser's errors; a file may have only
// claims.
std::string WithPlace(const JudgedClaim& judged, const std::string& file, bool has_only_claims) {
  constexpr std::string_view kSpec = "spec.";
  std::string error = judged.error;
  if (has_only_claims && error.starts_with(kSpec)) error.erase(0, kSpec.size());
  return judged.claim.line == 0
             ? Str(file, ": ", error)
             : Str(file, ":", judged.claim.line, ":", judged.claim.column, ": ", error);
}

// The claims of the file, or else of the sweep as it was submitted.
Result<std::vector<Claim>> FindClaims(RetryingClient& client, const ClaimsArguments& arguments,
                                      bool& has_only_claims) {
  if (arguments.file) {
    ASSIGN_OR_RETURN(const std::string yaml,
                     ReadGivenFile(*arguments.file, "sweep file", kSweepBytesMax));
    has_only_claims = Str("\n", yaml).find("\nclaims:") != std::string::npos;
    return SweepClaims(yaml, *arguments.file, {});
  }
  return ClaimsOfSweep(client, arguments.sweep);
}

int Claims(const ClaimsArguments& arguments, const std::string& output, const std::string& state) {
  RetryingClient client(state);
  bool has_only_claims = false;
  const Result<std::vector<Claim>> claims = FindClaims(client, arguments, has_only_claims);
  if (!claims.ok()) return client.ReportFailure(claims.status());
  if (claims->empty()) {
    return Report(Status(
        Code::kInvalidArgument,
        Str(arguments.file.value_or(arguments.sweep),
            " has no claims: list them in spec.claims (`longrun explain claims` describes them)")));
  }
  const Result<v1::GetResultsResponse> answer = client.GetResultsOfSweep(arguments.sweep);
  if (!answer.ok()) return client.ReportFailure(answer.status());
  const std::vector<SweepResults> results = {ReadResults(arguments.sweep, *answer)};
  std::vector<JudgedClaim> judged = JudgeClaims(*claims, results);
  for (JudgedClaim& one : judged) {
    if (one.error.empty() || !arguments.file) continue;
    one.error = WithPlace(one, *arguments.file, has_only_claims);
  }

  std::string text;
  Json json = Json::array();
  for (const JudgedClaim& one : judged) {
    StrAppend(text, Str(ClaimText(one), "\n"));
    json.push_back(ClaimJson(one));
  }
  const auto count = [&judged](Verdict verdict) {
    return std::ranges::count(judged, verdict, &JudgedClaim::verdict);
  };
  const auto n_refuted = count(Verdict::kRefuted), n_undecided = count(Verdict::kUndecided);
  if (output == "json") {
    Print(RenderJson({{"claims", std::move(json)},
                      {"supported", count(Verdict::kSupported)},
                      {"refuted", n_refuted},
                      {"undecided", n_undecided}}));
  } else {
    Print(Str(text, ClaimsSummary(judged), "\n"));
  }
  const bool has_error =
      !std::ranges::all_of(judged, [](const JudgedClaim& one) { return one.error.empty(); });
  if (n_refuted > 0) return kExitFailed;
  return has_error ? kExitUsage : n_undecided > 0 ? kExitIncomplete : kExitOk;
}

}  // namespace

void AddClaims(Verbs& verbs) {
  Verb verb = verbs.AddVerb("claims", "judge the claims of a sweep from its results");
  const auto arguments = std::make_shared<ClaimsArguments>();
  verb.AddArgument("SWEEP", arguments->sweep, "name or id").Required();
  verb.AddArgument(
      "--file", arguments->file,
      "judge the claims of this file, a sweep file or one that has only `claims`, instead "
      "of those that were submitted");
  verb.AddExamples({"longrun claims my-sweep", "longrun claims my-sweep --file my.yaml -o json"});
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, arguments, output] { return Claims(*arguments, *output, verbs.state); });
}

}  // namespace longrun::client
