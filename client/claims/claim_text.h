// Judged claims in words, for the terminal and the report.
#pragma once

#include <string>
#include <vector>

#include "client/claims/judge.h"

namespace longrun::client {

// The heads of the columns in which a claim's comparisons are listed, and a comparison's fields.
std::vector<std::string> ComparisonHeads(const JudgedClaim& judged);
std::vector<std::string> ComparisonFields(const ClaimComparison& comparison);

// "3 supported, 1 refuted, 0 undecided; 12 comparisons"
std::string ClaimsSummary(const std::vector<JudgedClaim>& judged);

// The footnote of a table in the output form `format` (table_format.h): a line for each claim, with
// its verdict. "" if there are no claims, or if the form is for programs.
std::string ClaimsFootnote(const std::string& sweep, const std::vector<JudgedClaim>& judged,
                           const std::string& format);

}  // namespace longrun::client
