// longrun claims SWEEP: judges what its file claims.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "client/claims/judge.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

struct ClaimsArguments {
  std::string sweep;
  std::string file;  // "": the sweep's own
};

std::string Short(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// "below 0.95", "0.95 to 1.05", "above 1"
std::string LimitsText(const ClaimComparison& one) {
  const bool has_low = std::isfinite(one.low) && !(one.is_ratio && one.low <= 0.0);
  const bool has_high = std::isfinite(one.high);
  if (has_low && has_high) return Str(Short(one.low), " to ", Short(one.high));
  return has_low ? Str("above ", Short(one.low)) : Str("below ", Short(one.high));
}

std::string IntervalText(const ClaimComparison& one) {
  if (!one.interval) return "–";
  return Str(Short(one.interval->first), " to ", Short(one.interval->second));
}

std::string BasisText(const ClaimComparison& one) {
  if (!one.interval) return "";
  return Str(Counted(static_cast<std::int64_t>(one.n_seeds), "seed"),
             one.n_blocks > 0 ? Str(", ", one.n_blocks, " blocks") : "");
}

std::string RestText(const ClaimComparison& one) {
  if (!one.reason.empty()) return one.reason;
  return one.needed.empty() ? "" : Str("needs ", one.needed);
}

std::string ClaimText(const JudgedClaim& judged) {
  std::string out = Str(VerdictWord(judged.verdict), "  ", judged.statement, "\n");
  std::vector<std::vector<std::string>> rows;
  rows.reserve(judged.comparisons.size());
  for (const ClaimComparison& one : judged.comparisons) {
    rows.push_back({"", one.what, one.effect ? Short(*one.effect) : "–", IntervalText(one),
                    LimitsText(one), std::string(VerdictWord(one.verdict)), BasisText(one),
                    RestText(one)});
  }
  const std::string level =
      Str(Short(100.0 * judged.claim.params.at("level").get<double>()), " % interval");
  std::vector<Align> align(8, Align::kLeft);
  align[2] = Align::kRight;
  return out + RenderColumns({"", "comparison", "effect", level, "claimed", "verdict", "from", ""},
                             align, rows);
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
          {"comparisons", std::move(comparisons)}};
}

// The claims of the file, or else of the sweep as it was submitted.
Result<std::vector<Claim>> FindClaims(RetryingClient& client, const ClaimsArguments& arguments) {
  if (!arguments.file.empty()) {
    ASSIGN_OR_RETURN(const std::string yaml, ReadFile(arguments.file));
    return SweepClaims(yaml, arguments.file, {});
  }
  ASSIGN_OR_RETURN(const v1::GetSweepResponse sweep, client.GetSweep(arguments.sweep));
  return SweepClaims(sweep.yaml(), arguments.sweep, {});
}

int Claims(const ClaimsArguments& arguments, const std::string& output, const std::string& state) {
  RetryingClient client(state);
  const Result<std::vector<Claim>> claims = FindClaims(client, arguments);
  if (!claims.ok()) return client.ReportFailure(claims.status());
  if (claims->empty()) {
    return Report(Status(Code::kInvalidArgument,
                         Str(arguments.file.empty() ? arguments.sweep : arguments.file,
                             " claims nothing: spec.claims lists what it sets out to show "
                             "(longrun explain claims)")));
  }
  const Result<v1::GetResultsResponse> answer = client.GetResultsOfSweep(arguments.sweep);
  if (!answer.ok()) return client.ReportFailure(answer.status());
  const std::vector<SweepResults> results = {ReadResults(arguments.sweep, *answer)};
  const Result<std::vector<JudgedClaim>> judged = JudgeClaims(*claims, results);
  if (!judged.ok()) return Report(judged.status());

  std::size_t n_refuted = 0, n_undecided = 0, n_comparisons = 0;
  std::string text;
  Json json = Json::array();
  for (const JudgedClaim& one : *judged) {
    n_refuted += one.verdict == Verdict::kRefuted ? 1 : 0;
    n_undecided += one.verdict == Verdict::kUndecided ? 1 : 0;
    n_comparisons += one.comparisons.size();
    StrAppend(text, Str(ClaimText(one), "\n"));
    json.push_back(ClaimJson(one));
  }
  const std::size_t n_supported = judged->size() - n_refuted - n_undecided;
  if (output == "json") {
    Print(RenderJson({{"claims", std::move(json)},
                      {"supported", n_supported},
                      {"refuted", n_refuted},
                      {"undecided", n_undecided}}));
  } else {
    Print(Str(text, n_supported, " supported, ", n_refuted, " refuted, ", n_undecided,
              " undecided; ", n_comparisons, " comparisons\n"));
  }
  return n_refuted > 0 ? kExitFailed : n_undecided > 0 ? kExitIncomplete : kExitOk;
}

}  // namespace

void AddClaims(Verbs& verbs) {
  Verb verb = verbs.AddVerb("claims", "judge what a sweep claims, from its results");
  const auto arguments = std::make_shared<ClaimsArguments>();
  verb.AddArgument("SWEEP", arguments->sweep, "its name or id").Required();
  verb.AddArgument("--file", arguments->file,
                   "a sweep file whose claims are judged instead of those that were submitted");
  verb.AddExamples({"longrun claims my-sweep", "longrun claims my-sweep --file my.yaml -o json"});
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, arguments, output] { return Claims(*arguments, *output, verbs.state); });
}

}  // namespace longrun::client
