#include "client/claims/sweep_claims.h"

#include <cctype>
#include <cmath>
#include <ranges>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/letter_case.h"
#include "base/str.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {
namespace {

constexpr std::string_view kView = "claims";

Json Finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json OrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

// A sweep's part of each row.
struct SweepOfRows {
  std::string name;
  std::string id;
  bool is_newest = false;
};

// A sweep that was removed after it was listed.
bool IsRemoved(const Status& status) { return status.code() == Code::kNotFound; }

// A sweep whose file this version refuses: its claims are not known.
Json RowOfRefused(const SweepOfRows& sweep, const std::string& why) {
  constexpr int kBetween = 16;  // columns without a value
  Json row = {sweep.name, sweep.id, sweep.is_newest ? 1 : 0};
  for (int i = 0; i < kBetween; ++i) row.push_back(nullptr);
  row.push_back(Str("the sweep's file cannot be read: ", why));
  row.push_back(nullptr);
  return row;
}

// In the order of the view's columns.
Json RowOf(const SweepOfRows& sweep, std::size_t number, const JudgedClaim& claim,
           const ClaimComparison* comparison) {
  Json row = {sweep.name,
              sweep.id,
              sweep.is_newest ? 1 : 0,
              number,
              claim.claim.kind,
              claim.statement,
              claim.claim.params.at("metric"),
              claim.claim.params.at("level"),
              VerdictWord(claim.verdict)};
  if (comparison == nullptr) {
    constexpr int kOfComparison = 10;
    for (int i = 0; i < kOfComparison; ++i) row.push_back(nullptr);
    row.push_back(OrNull(claim.error));
    row.push_back(nullptr);
    return row;
  }
  const auto& interval = comparison->interval;
  row.push_back(comparison->what);
  row.push_back(VerdictWord(comparison->verdict));
  row.push_back(comparison->is_ratio ? "ratio" : "difference");
  row.push_back(comparison->effect ? Finite(*comparison->effect) : Json());
  row.push_back(interval ? Finite(interval->first) : Json());
  row.push_back(interval ? Finite(interval->second) : Json());
  row.push_back(Finite(comparison->low));
  row.push_back(Finite(comparison->high));
  row.push_back(comparison->n_seeds);
  row.push_back(comparison->n_blocks);
  row.push_back(OrNull(comparison->reason));
  row.push_back(OrNull(comparison->needed));
  return row;
}

// Whether the claim is about what only results have: buckets by position, or how a number was
// averaged.
bool NeedsResults(const Claim& claim) {
  const auto& metric = claim.params.at("metric").get_ref<const std::string&>();
  const auto names_averaging = [&claim](const char* where_key) {
    return claim.params.value(where_key, "").find("averaging=") != std::string::npos;
  };
  return metric.ends_with("_by_position") || names_averaging("where") ||
         names_averaging("than_where");
}

// `plan`: with the rows that the sweep asks for.
Status CheckAsked(const std::string& file, const std::vector<Claim>& claims,
                  const v1::PlanSweepResponse& plan) {
  std::vector<std::string> problems;
  const auto judged = JudgeClaims(claims, {ReadResults(plan.name(), plan.asked())});
  for (std::size_t i = 0; i < judged.size(); ++i) {
    const Claim& claim = claims[i];
    if (NeedsResults(claim)) continue;
    const std::string place =
        claim.line == 0 ? Str(file, ": ") : Str(file, ":", claim.line, ":", claim.column, ": ");
    if (!judged[i].error.empty()) problems.push_back(Str(place, judged[i].error));
    for (const ClaimComparison& one : judged[i].comparisons) {
      if (!one.is_unasked) continue;
      problems.push_back(Str(place, "spec.claims[", i, "].", claim.kind, ": ", one.reason));
    }
  }
  return problems.empty() ? Status() : Status(Code::kInvalidArgument, Join(problems, "\n"));
}

}  // namespace

Result<std::vector<Claim>> ClaimsOfSweep(SweepCalls& client, const std::string& sweep) {
  ASSIGN_OR_RETURN(const v1::GetSweepResponse file, client.GetSweepFile(sweep));
  return SweepClaims(file.yaml(), sweep, OverridesOf(file));
}

template <typename Request>
Status CheckClaims(SweepCalls& client, const Request& request) {
  if (request.overrides_size() > 0) return Status();
  const Result<std::vector<Claim>> claims = SweepClaims(request.yaml(), request.file_name(), {});
  if (!claims.ok() || claims->empty()) return Status();
  v1::PlanSweepRequest plan;
  plan.set_yaml(request.yaml());
  plan.set_file_name(request.file_name());
  plan.set_with_rows(true);
  const Result<v1::PlanSweepResponse> answer = client.PlanSweep(plan);
  // A service of an earlier build does not say what the sweep asks for.
  if (!answer.ok() || !answer->has_asked()) return Status();
  return CheckAsked(request.file_name(), *claims, *answer);
}
template Status CheckClaims(SweepCalls&, const v1::PlanSweepRequest&);
template Status CheckClaims(SweepCalls&, const v1::SubmitSweepRequest&);

bool MentionsClaims(const std::string& sql) {
  std::string word;
  for (std::size_t i = 0; i <= sql.size(); ++i) {
    const auto c = static_cast<unsigned char>(i < sql.size() ? sql[i] : ' ');
    if (std::isalnum(c) != 0 || c == '_') {
      word += static_cast<char>(ToLower(c));
      continue;
    }
    if (word == kView) return true;
    word.clear();
  }
  return false;
}

Result<std::string> ClaimRows(SweepCalls& client, std::int64_t timeout_ms) {
  const std::int64_t deadline_ms = BootMs() + timeout_ms;
  ASSIGN_OR_RETURN(const v1::ListSweepsResponse sweeps, client.ListSweeps());
  Json rows = Json::array();
  std::set<std::string> names;
  for (const v1::SweepInfo& info : std::views::reverse(sweeps.sweeps())) {  // the newest first
    if (BootMs() > deadline_ms) {
      return Status(Code::kDeadlineExceeded,
                    Str("judging the claims of ", sweeps.sweeps_size(),
                        " sweeps takes longer than --timeout: give a longer one, or judge one "
                        "sweep with `longrun claims SWEEP`"));
    }
    const SweepOfRows sweep{
        .name = info.name(), .id = info.sweep_id(), .is_newest = names.insert(info.name()).second};
    const Result<std::vector<Claim>> claims = ClaimsOfSweep(client, sweep.id);
    // One sweep must not keep the others from an answer.
    if (IsRemoved(claims.status())) continue;
    if (claims.status().code() == Code::kInvalidArgument) {
      rows.push_back(RowOfRefused(sweep, claims.status().message()));
      continue;
    }
    RETURN_IF_ERROR(claims.status());
    if (claims->empty()) continue;
    const Result<v1::GetResultsResponse> answer = client.GetResultsOfSweep(sweep.id);
    if (IsRemoved(answer.status())) continue;
    RETURN_IF_ERROR(answer.status());
    const auto judged = JudgeClaims(*claims, {ReadResults(sweep.name, *answer)});
    for (std::size_t i = 0; i < judged.size(); ++i) {
      for (const ClaimComparison& one : judged[i].comparisons) {
        rows.push_back(RowOf(sweep, i, judged[i], &one));
      }
      if (judged[i].comparisons.empty()) rows.push_back(RowOf(sweep, i, judged[i], nullptr));
    }
  }
  return CanonicalJson(rows);
}

}  // namespace longrun::client
