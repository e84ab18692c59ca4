// Claims and losses by block that tests judge.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "client/claims/judge.h"

namespace longrun::client {

inline constexpr std::size_t kBlocks = 16;

// A text that is easy in some blocks and hard in others, read by a model that loses `more`.
// `luck` is the seed's; `own` varies from block to block.
inline std::vector<double> Losses(double more, double luck = 0.0, double own = 0.002) {
  std::vector<double> nll;
  for (std::size_t b = 0; b < kBlocks; ++b) {
    nll.push_back(2.0 + 0.5 * static_cast<double>(b % 4) + more + luck + (b % 2 == 0 ? own : -own));
  }
  return nll;
}

inline std::vector<Claim> ClaimsOf(const std::string& lines) {
  const auto claims = SweepClaims("spec:\n  claims:\n" + lines, "test.yaml", {});
  EXPECT_TRUE(claims.ok()) << claims.status().message();
  return claims.ok() ? *claims : std::vector<Claim>();
}

inline JudgedClaim JudgeOne(const std::string& claim, const SweepResults& results) {
  const auto judged = JudgeClaims(ClaimsOf("    - " + claim + "\n"), {results});
  return judged.empty() ? JudgedClaim() : judged[0];
}

inline std::string VerdictOf(const std::string& claim, const SweepResults& results) {
  return std::string(VerdictWord(JudgeOne(claim, results).verdict));
}

}  // namespace longrun::client
