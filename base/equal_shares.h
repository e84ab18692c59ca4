// Tests of shares of right answers that hold for any number of answers: no normal distribution is
// assumed.
//
//   Fisher (1935)    two shares of different answers. Given the number of all right answers, the
//                    first share's is hypergeometric if the two are equal. p is the probability of
//                    all numbers that are at most as probable as the observed one.
//   sign flips       two sets of answers to the same questions. d_i is the difference of the two at
//                    question i. If the two are equal, each d_i could as well be -d_i:
//                    p = P(|sum of ± d_i| >= |sum of d_i|) with independent fair signs. For d_i of
//                    -1, 0 and 1 this is the exact form of McNemar's (1947) test.
#pragma once

#include <cstdint>
#include <span>

namespace longrun {

// The two-sided p of `right_a` of `n_a` against `right_b` of `n_b` answers.
double FisherP(std::int64_t right_a, std::int64_t n_a, std::int64_t right_b, std::int64_t n_b);

// The two-sided p of the differences. Its time grows with their number times the sum of their
// sizes.
double SignFlipP(std::span<const std::int64_t> differences);

}  // namespace longrun
