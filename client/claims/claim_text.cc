#include "client/claims/claim_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/str.h"
#include "client/tables/table_format.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

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
             one.n_blocks > 0       ? Str(", ", one.n_blocks, " blocks")
             : one.is_text_unpaired ? ", text not paired"
                                    : "");
}

std::string RestText(const ClaimComparison& one) {
  if (!one.reason.empty()) return one.reason;
  return one.needed.empty() ? "" : Str("needs ", one.needed);
}

}  // namespace

std::vector<std::string> ComparisonHeads(const JudgedClaim& judged) {
  const double level = judged.claim.params.at("level").get<double>();
  return {"comparison", "effect", Str(Short(100.0 * level), " % interval"), "claimed", "verdict",
          "from",       ""};
}

std::vector<std::string> ComparisonFields(const ClaimComparison& one) {
  return {one.what,        one.effect ? Short(*one.effect) : "–", IntervalText(one),
          LimitsText(one), std::string(VerdictWord(one.verdict)), BasisText(one),
          RestText(one)};
}

std::string ClaimsSummary(const std::vector<JudgedClaim>& judged) {
  const auto count = [&judged](Verdict verdict) {
    return std::ranges::count(judged, verdict, &JudgedClaim::verdict);
  };
  std::size_t n_comparisons = 0;
  std::int64_t n_errors = 0;
  for (const JudgedClaim& one : judged) {
    n_comparisons += one.comparisons.size();
    n_errors += one.error.empty() ? 0 : 1;
  }
  return Str(count(Verdict::kSupported), " supported, ", count(Verdict::kRefuted), " refuted, ",
             count(Verdict::kUndecided), " undecided; ",
             Counted(static_cast<std::int64_t>(n_comparisons), "comparison"),
             n_errors > 0 ? Str("; ", Counted(n_errors, "claim"), " could not be judged") : "");
}

std::string ClaimsFootnote(const std::string& sweep, const std::vector<JudgedClaim>& judged,
                           const std::string& format) {
  std::vector<std::vector<std::string>> rows;
  for (const JudgedClaim& one : judged) {
    rows.push_back({std::string(VerdictWord(one.verdict)), one.statement});
  }
  if (rows.empty() || !IsForPeople(format)) return "";
  std::string out;
  if (format == "markdown") {
    for (const auto& row : rows) StrAppend(out, Str("- ", row[0], ": ", row[1], "\n"));
    return Str("\nClaims of ", sweep, ":\n\n", out);
  }
  const char* const begin = format == "latex" ? "% " : "";
  for (const auto& row : rows) StrAppend(out, Str(begin, row[0], "  ", row[1], "\n"));
  const std::string command = Str("longrun claims ", sweep);
  return Str("\n", begin, "claims of ", sweep, " (",
             format == "latex" ? command : Str("`", command, "`"), " shows why)\n", out);
}

}  // namespace longrun::client
