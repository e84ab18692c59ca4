#include "client/claims/sweep_claims.h"

#include <cctype>
#include <cmath>
#include <set>
#include <utility>

#include "base/json.h"
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

}  // namespace

Result<std::vector<Claim>> ClaimsOfSweep(SweepCalls& client, const std::string& sweep) {
  ASSIGN_OR_RETURN(const v1::GetSweepResponse file, client.GetSweepFile(sweep));
  return SweepClaims(file.yaml(), sweep, OverridesOf(file));
}

bool MentionsClaims(const std::string& sql) {
  std::string word;
  for (std::size_t i = 0; i <= sql.size(); ++i) {
    const auto c = static_cast<unsigned char>(i < sql.size() ? sql[i] : ' ');
    if (std::isalnum(c) != 0 || c == '_') {
      word += static_cast<char>(std::tolower(c));
      continue;
    }
    if (word == kView) return true;
    word.clear();
  }
  return false;
}

Result<std::string> ClaimRows(SweepCalls& client) {
  ASSIGN_OR_RETURN(const v1::ListSweepsResponse sweeps, client.ListSweeps());
  Json rows = Json::array();
  std::set<std::string> names;
  for (const v1::SweepInfo& info : sweeps.sweeps()) {  // the newest first
    const SweepOfRows sweep{
        .name = info.name(), .id = info.sweep_id(), .is_newest = names.insert(info.name()).second};
    const Result<std::vector<Claim>> claims = ClaimsOfSweep(client, sweep.id);
    // Removed since it was listed, or its file is one that this version refuses: `longrun claims`
    // says why. One sweep must not keep the others from an answer.
    const auto is_left_out = [](const Status& status) {
      return status.code() == Code::kNotFound || status.code() == Code::kInvalidArgument;
    };
    if (!claims.ok() && is_left_out(claims.status())) continue;
    RETURN_IF_ERROR(claims.status());
    if (claims->empty()) continue;
    const Result<v1::GetResultsResponse> answer = client.GetResultsOfSweep(sweep.id);
    if (!answer.ok() && is_left_out(answer.status())) continue;
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
