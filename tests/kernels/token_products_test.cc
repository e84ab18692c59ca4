// The products of a single token against plain loops in double, at random shapes.
#include "kernels/token_products.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "tests/commit_seed.h"
#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Draw;
using testing::Guarded;

constexpr double kRounding = 0x1p-24;  // of one fp32 operation

class TokenProductsTest : public testing::SimdTest {};

TEST_P(TokenProductsTest, EveryElementIsWhatTheFormulasSay) {
  SeededRandom random(testing::CommitSeed());
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random.Below(n)); };
  for (int draw = 0; draw < 60; ++draw) {
    const std::int64_t group = 1 + below(3), n_matrix = 1 + below(4);
    TokenProductShape s = {.n_row = group * n_matrix,
                           .group = group,
                           .n_key = below(draw % 10 == 0 ? 3000 : 150),
                           .head_dim = 1 + below(140)};
    s.matrix_step = (s.n_key + below(5)) * s.head_dim;
    s.row_step = s.n_key + below(5);
    const auto seed = static_cast<std::uint64_t>(draw);
    const auto k = Draw<float>(n_matrix * s.matrix_step + 1, 3 * seed);
    const auto q = Draw<float>(s.n_row * s.head_dim, 3 * seed + 1);
    const auto p = Draw<float>(s.n_row * s.row_step + 1, 3 * seed + 2);
    Guarded<float> scores(s.n_row * s.row_step), o(s.n_row * s.head_dim);
    std::copy(q.begin(), q.end(), o.data());
    TokenScores({.shape = s, .q = q.data(), .k = k.data(), .scores = scores.data()}, options(3));
    TokenMix({.shape = s, .p = p.data(), .v = k.data(), .o = o.data()}, options(3));
    scores.ExpectBandsWhole();
    o.ExpectBandsWhole();
    const auto at = [](const std::vector<float>& x, std::int64_t i) {
      return static_cast<double>(x[static_cast<std::size_t>(i)]);
    };
    for (std::int64_t row = 0; row < s.n_row; ++row) {
      const std::int64_t matrix = row / group * s.matrix_step;
      for (std::int64_t j = 0; j < s.n_key; ++j) {
        double expected = 0.0, size = 0.0;
        for (std::int64_t c = 0; c < s.head_dim; ++c) {
          const double term = at(q, row * s.head_dim + c) * at(k, matrix + j * s.head_dim + c);
          expected += term;
          size += std::abs(term);
        }
        // At most one rounding for each channel and each step of the sum over lanes.
        ASSERT_NEAR(scores.data()[row * s.row_step + j], expected,
                    static_cast<double>(s.head_dim + 8) * kRounding * size + 1e-37);
      }
      for (std::int64_t c = 0; c < s.head_dim; ++c) {
        double expected = at(q, row * s.head_dim + c), size = std::abs(expected);
        for (std::int64_t j = 0; j < s.n_key; ++j) {
          const double term = at(p, row * s.row_step + j) * at(k, matrix + j * s.head_dim + c);
          expected += term;
          size += std::abs(term);
        }
        // Half of a chain, the sum of its parts, and the chains.
        const double n_roundings = 64.0 / 2.0 + 8.0 + static_cast<double>(s.n_key) / 64.0;
        ASSERT_NEAR(o.data()[row * s.head_dim + c], expected,
                    n_roundings * kRounding * size + 1e-37)
            << "draw " << draw << ", seed " << testing::CommitSeed();
      }
    }
  }
}

TEST_P(TokenProductsTest, WhatHasNoMemoryIsABug) {
  const TokenProductShape shape = {
      .n_row = 1, .n_key = 1, .head_dim = 1, .matrix_step = 1, .row_step = 1};
  EXPECT_DEATH(TokenScores({.shape = shape}, options()), "scores");
  EXPECT_DEATH(TokenMix({.shape = shape}, options()), "call.o");
}

INSTANTIATE_TEST_SUITE_P(, TokenProductsTest,
                         ::testing::ValuesIn(RunnableSimds().begin(), RunnableSimds().end()),
                         testing::SimdTestName);

}  // namespace
}  // namespace longrun
